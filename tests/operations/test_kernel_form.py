"""What doctor says of the form in which the hot path runs, each cause brought about."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import native

ROOT = Path(__file__).parents[2]

SAID = """
import json
from types import SimpleNamespace
from pipeline.operations import kernel_form
from pipeline.settings import load
found = kernel_form.compiled(SimpleNamespace(settings=load()))
print(json.dumps([(finding.what, finding.remedy) for finding in found]))
"""
compiled = pytest.mark.skipif(bool(native.PURE_BECAUSE), reason=native.PURE_BECAUSE)
plain = pytest.mark.skipif(bool(native.PLAIN_BECAUSE), reason=native.PLAIN_BECAUSE)


def said(folder, **env):
    """What the check finds in a fresh process that runs the package of a folder."""
    kept = {name: value for name, value in os.environ.items() if name != native.PURE}
    run = subprocess.run(
        [sys.executable, "-c", SAID],
        cwd=folder,
        env=kept | env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture
def installed(tmp_path):
    """A copy of the package as it is installed here."""
    for folder in ("pipeline", "native", "schemas", "policy"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "target")
        )
    return tmp_path


@plain
def test_all_is_compiled(installed):
    assert said(installed) == []


@compiled
def test_pure_python_that_was_asked_for(installed):
    ((what, remedy),) = said(installed, MILEPOST_PURE="1")
    assert what == "The hot path runs in pure Python: MILEPOST_PURE is set"
    assert remedy.startswith("Unset MILEPOST_PURE")


def test_no_c_compiler_was_there(installed):
    shutil.rmtree(installed / "pipeline" / "_native", ignore_errors=True)
    ((what, remedy),) = said(installed)
    assert "pure Python: it was not compiled: no C compiler was found" in what
    assert remedy.startswith("Install a C compiler")


@compiled
def test_a_source_was_edited_since(installed):
    with (installed / "pipeline" / "governance" / "kernel.py").open("a") as source:
        source.write("# edited\n")
    ((what, _),) = said(installed)
    assert "pure Python: it was compiled from other sources" in what


@plain
def test_no_rust_compiler_was_there(installed):
    (installed / "pipeline" / "_native" / native.PLAIN_FILE.name).unlink()
    ((what, remedy),) = said(installed)
    assert what.startswith("The plain path does not run: it was not compiled: no Rust compiler")
    assert remedy.startswith("Install Rust")


@plain
def test_a_library_that_cannot_be_loaded(installed):
    (installed / "pipeline" / "_native" / native.PLAIN_FILE.name).write_bytes(b"no library")
    ((what, _),) = said(installed)
    assert what.startswith("The plain path does not run: its library can't be loaded")
