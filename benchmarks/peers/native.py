"""Builds the compiled form of the spliced step: Cython and a C compiler, in a folder of its own."""

import hashlib
import importlib
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from benchmarks.peers import spliced
from benchmarks.peers.scanning import NativeScanner
from pipeline.contract import codec

TEMPLATE = Path(__file__).with_name("spliced_native.pyx.in")
CYTHON = "3.3.1"
NAME = "spliced_native"


class NotBuiltError(Exception):
    """It can't be compiled here; says why."""


def folder_of(kept):
    """The folder that holds the compiled module, built if it was not.

    Raises:
        NotBuiltError: no compiler, or no Cython.

    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NotBuiltError("no C compiler here")
    scan = NativeScanner(codec.definition("raw-event"), spliced.MARKS).source()
    text = TEMPLATE.read_text("utf-8").replace("@SCAN@", scan)
    named = hashlib.sha256(f"{text}{sys.version}".encode()).hexdigest()[:12]
    folder = kept / f"spliced-{named}"
    target = folder / f"{NAME}{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{NAME}.pyx").write_text(text, "utf-8")
        _run([*_cython(kept), "-3", f"{NAME}.pyx"], folder)
        include = sysconfig.get_paths()["include"]
        flags = ["-O2", "-shared", "-fPIC", f"-I{include}"]
        _run([compiler, *flags, f"{NAME}.c", "-o", "made.so"], folder)
        (folder / "made.so").rename(target)
    return folder


def _cython(kept):
    """How Cython is called; installed beside, if this environment has none."""
    if importlib.util.find_spec("Cython") is not None:
        return [sys.executable, "-m", "cython"]
    home = kept / f"cython-{CYTHON}"
    if not (home / "cython.py").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(home)]
        _run([*pip, f"cython=={CYTHON}"], kept)
    return [sys.executable, str(home / "cython.py")]


def _run(argv, folder):
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotBuiltError(f"{Path(argv[0]).name} failed: {(done.stderr or done.stdout)[-1000:]}")
