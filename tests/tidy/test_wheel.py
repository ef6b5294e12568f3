"""The wheel works in an environment of its own, away from this checkout, with its data files."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest
from repository import ROOT

TRAVELS = (
    "pipeline/data/schemas/raw-event.avsc",
    "pipeline/data/policy/ownership.yaml",
    "pipeline/data/policy/dialects/x12-214.yaml",
    "pipeline/data/partners/scac-carrier/profile.yaml",
    "pipeline/data/topics.yaml",
    "pipeline/data/docker-compose.kafka.yml",
    "pipeline/local/artifacts.json",
    "pipeline/py.typed",
    "connectors/py.typed",
)


def run(*command, cwd):
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder)
    code, told = run(*build, cwd=ROOT)
    assert code == 0, told
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def elsewhere(wheel, tmp_path_factory):
    """A folder whose environment has the wheel, and the dependencies of this one."""
    folder = tmp_path_factory.mktemp("elsewhere")
    environment = folder / "environment"
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    install = ("install", "--quiet", "--no-deps", "--no-index", wheel)
    code, told = run(sys.executable, "-m", "pip", "--python", python, *install, cwd=folder)
    assert code == 0, told
    site = next((environment / "lib").glob("python*")) / "site-packages"
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    return folder


def test_the_files_that_people_edit_travel_in_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert not set(TRAVELS) - set(names)
    source = {
        path.relative_to(ROOT).as_posix()
        for package in ("pipeline", "connectors")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert source <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "docs/"))]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("--help",), ("policy", "check"), ("schemas", "check")])
def test_commands_work_away_from_the_checkout(elsewhere, arguments):
    code, told = run(elsewhere / "environment" / "bin" / "milepost", *arguments, cwd=elsewhere)
    assert code == 0, told


def test_the_package_that_runs_there_is_the_wheels(elsewhere):
    where = "import connectors, pipeline; print(pipeline.__file__, connectors.__file__)"
    code, told = run(elsewhere / "environment" / "bin" / "python", "-c", where, cwd=elsewhere)
    assert code == 0
    assert all(path.startswith(str(elsewhere.resolve())) for path in told.split())
