"""Which form of the hot path runs: compiled by mypyc, or the same source in pure Python.

The modules of the hot path are compiled when the package is built (`hatch_build.py`) into
`pipeline/_native/`, where a C compiler is found; where none is, everything works without. The
compiled form is used only while it was made from the very sources that lie here, by this Python,
and `MILEPOST_PURE` is not set. Must never change what a module means: there is one source.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import sysconfig
from importlib import import_module
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from typing import Final

PURE: Final = "MILEPOST_PURE"
GROUP: Final = "milepost__mypyc"
"""The library that holds the code of all modules."""
_PACKAGE: Final = Path(__file__).parent
FOLDER: Final = _PACKAGE / "_native"
MANIFEST: Final = FOLDER / "manifest.json"
PACKAGES: Final = ("governance", "contract", "streams")
_STREAMS: Final = ("arriving", "entity_bytes", "state", "topology")
SUFFIX: Final = str(sysconfig.get_config_var("EXT_SUFFIX"))


def sources() -> list[Path]:
    """The files of the hot path, relative to the folder of `pipeline`."""
    governance = sorted(path.name for path in (_PACKAGE / "governance").glob("*.py"))
    found = [Path("governance", name) for name in governance if name != "__init__.py"]
    found += [Path("contract", f"{name}.py") for name in ("canonical", "codec")]
    return found + [Path("streams", f"{name}.py") for name in _STREAMS]


def digest() -> str:
    """Of all sources of the hot path: SHA-256, hex."""
    hashed = hashlib.sha256()
    for path in sources():
        hashed.update(f"{path.as_posix()}\0".encode())
        hashed.update((_PACKAGE / path).read_bytes())
    return hashed.hexdigest()


def install() -> str:
    """Have the compiled form imported from here on, if there is one that fits.

    Returns:
        Why not; empty: it is used.

    """
    if os.environ.get(PURE, "").lower() not in {"", "0", "false"}:
        return f"{PURE} is set"
    try:
        made = json.loads(MANIFEST.read_text("utf-8"))
    except OSError:
        return "it was not compiled: no C compiler was found when Milepost was installed"
    if made["suffix"] != SUFFIX or made["digest"] != digest():
        return "it was compiled from other sources or by another Python: install Milepost again"
    group = str(FOLDER / f"{GROUP}{SUFFIX}")
    spec = ModuleSpec(GROUP, ExtensionFileLoader(GROUP, group), origin=group)
    try:
        sys.modules[GROUP] = library = module_from_spec(spec)
        ExtensionFileLoader(GROUP, group).exec_module(library)
    except ImportError as error:
        sys.modules.pop(GROUP, None)
        return f"its library can't be loaded: {error}"
    for package in PACKAGES:
        import_module(f"pipeline.{package}").__path__.insert(0, str(FOLDER / package))
    return ""


PURE_BECAUSE: Final = install()
"""Why the hot path runs in pure Python; empty: its compiled form runs."""
