"""The hot path compiled and in pure Python: one source, the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import native

ROOT = Path(__file__).parents[2]
SEEDS = "9000..9039"
WHICH = "from pipeline import native; print(native.PURE_BECAUSE)"
PLAIN = "from pipeline import native; print(native.PLAIN_BECAUSE)"


def python(*arguments, root=ROOT, **environment):
    """What a fresh Python prints, run in a checkout."""
    told = subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return told.stdout.strip()


def simulated(**environment):
    command = ("-m", "pipeline.cli.main", "simulate", "--seeds", SEEDS, "--json", "--quiet")
    return json.loads(python(*command, **environment))


@pytest.fixture
def checkout(tmp_path):
    """A copy of the package that can be changed."""
    skip = shutil.ignore_patterns("__pycache__", "target")
    for name in ("pipeline", "native"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=skip)
    return tmp_path


needs_compiled = pytest.mark.skipif(
    bool(native.PURE_BECAUSE), reason=f"runs in pure Python: {native.PURE_BECAUSE}"
)


@needs_compiled
def test_both_forms_write_the_same_bytes():
    """Claims late and twice, damaged records, links, policies in flight, crashes: forty worlds."""
    assert simulated() == simulated(MILEPOST_PURE="1")


@needs_compiled
def test_it_runs_in_pure_python_where_that_is_asked_for():
    assert "MILEPOST_PURE" in python("-c", WHICH, MILEPOST_PURE="1")
    assert python("-c", WHICH, MILEPOST_PURE="0") == ""


@needs_compiled
def test_a_source_that_has_changed_since_is_what_runs(checkout):
    """Nobody edits a rule and runs the old one."""
    assert python("-c", WHICH, root=checkout) == ""
    with (checkout / "pipeline/governance/clock.py").open("a") as source:
        source.write("\n# changed\n")
    assert "other sources" in python("-c", WHICH, root=checkout)


def test_it_runs_in_pure_python_where_nothing_was_compiled(checkout):
    shutil.rmtree(checkout / "pipeline/_native", ignore_errors=True)
    assert "not compiled" in python("-c", WHICH, root=checkout)


@needs_compiled
def test_it_runs_in_pure_python_where_the_library_can_not_be_loaded(checkout):
    library = checkout / "pipeline/_native" / f"{native.GROUP}{native.SUFFIX}"
    library.write_bytes(b"no library")
    assert "can't be loaded" in python("-c", WHICH, root=checkout)


def test_the_build_goes_on_where_there_is_no_compiler(checkout):
    """The README's two commands need none."""
    shutil.rmtree(checkout / "pipeline/_native", ignore_errors=True)
    shutil.copy(ROOT / "hatch_build.py", checkout)
    build = "import hatch_build; print(hatch_build.compile_hot_path())"
    told = python("-c", build, root=checkout, CC="/nonexistent/cc")
    assert "nonexistent" in told or "Error" in told
    assert not (checkout / "pipeline/_native").exists()
    assert "not compiled" in python("-c", WHICH, root=checkout)


needs_plain = pytest.mark.skipif(
    bool(native.PLAIN_BECAUSE), reason=f"no plain path: {native.PLAIN_BECAUSE}"
)


@needs_plain
def test_the_plain_path_runs_only_before_the_compiled_hot_path():
    assert python("-c", PLAIN) == ""
    assert "MILEPOST_PURE" in python("-c", PLAIN, MILEPOST_PURE="1")


@needs_plain
def test_a_plain_path_of_other_sources_does_not_run(checkout):
    assert python("-c", PLAIN, root=checkout) == ""
    with (checkout / "native/src/judge.rs").open("a") as source:
        source.write("\n// changed\n")
    assert "other sources" in python("-c", PLAIN, root=checkout)
    assert python("-c", WHICH, root=checkout) == ""


@needs_plain
def test_an_installed_package_runs_its_plain_path_without_its_sources(checkout):
    shutil.rmtree(checkout / "native")
    assert python("-c", PLAIN, root=checkout) == ""


@needs_plain
def test_no_plain_path_runs_whose_library_can_not_be_loaded(checkout):
    (checkout / native.PLAIN_FILE.relative_to(ROOT)).write_bytes(b"no library")
    assert "can't be loaded" in python("-c", PLAIN, root=checkout)
    assert python("-c", WHICH, root=checkout) == ""


@needs_compiled
def test_the_build_goes_on_where_there_is_no_cargo(checkout):
    """The hot path is compiled, and runs without the plain path."""
    (checkout / native.PLAIN_FILE.relative_to(ROOT)).unlink(missing_ok=True)
    manifest = checkout / native.MANIFEST.relative_to(ROOT)
    made = json.loads(manifest.read_text()) | {"plain": ""}
    manifest.write_text(json.dumps(made))
    shutil.copy(ROOT / "hatch_build.py", checkout)
    build = "import hatch_build; print(hatch_build.compile_hot_path())"
    assert python("-c", build, root=checkout, PATH="/nonexistent") == ""
    assert "no Rust compiler" in python("-c", PLAIN, root=checkout)
    assert python("-c", WHICH, root=checkout) == ""
