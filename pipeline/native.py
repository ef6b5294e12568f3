"""Which form of the hot path runs: compiled by mypyc, or the same source in pure Python.

And whether the plain path goes before it (`pipeline/streams/plainly.py`).

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
from collections.abc import Iterable
from importlib import import_module
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any, Final

PURE: Final = "MILEPOST_PURE"
GROUP: Final = "milepost__mypyc"
"""The library that holds the code of all modules."""
_PACKAGE: Final = Path(__file__).parent
FOLDER: Final = _PACKAGE / "_native"
MANIFEST: Final = FOLDER / "manifest.json"
PACKAGES: Final = ("governance", "contract", "streams")
_STREAMS: Final = (
    "arriving",
    "blocks",
    "entity_bytes",
    "entity_values",
    "plainly",
    "state",
    "topology",
)
PLAIN_NAME: Final = "milepost_plain"
"""The library of the plain path, made of `native/` (`pipeline/streams/plainly.py`)."""
PLAIN_FILE: Final = FOLDER / f"{PLAIN_NAME}.abi3.so"
PLAIN_SOURCES: Final = _PACKAGE.parent / "native"
SUFFIX: Final = str(sysconfig.get_config_var("EXT_SUFFIX"))


def sources() -> list[Path]:
    """The files of the hot path, relative to the folder of `pipeline`."""
    governance = sorted(path.name for path in (_PACKAGE / "governance").glob("*.py"))
    found = [Path("governance", name) for name in governance if name != "__init__.py"]
    found += [Path("contract", f"{name}.py") for name in ("canonical", "codec")]
    return found + [Path("streams", f"{name}.py") for name in _STREAMS]


def digest() -> str:
    """Of all sources of the hot path: SHA-256, hex."""
    return _digest(_PACKAGE, sources())


def plain_digest() -> str:
    """Of the sources of the plain path; empty: they are not here, as in an installed package."""
    found = sorted(PLAIN_SOURCES.glob("src/*.rs"))
    return _digest(PLAIN_SOURCES, [Path("Cargo.toml"), *found]) if found else ""


def _digest(folder: Path, paths: Iterable[Path]) -> str:
    hashed = hashlib.sha256()
    for path in paths:
        hashed.update(f"{path.relative_to(folder) if path.is_absolute() else path}\0".encode())
        hashed.update((folder / path).read_bytes())
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


def install_plain() -> tuple[Any, str]:
    """The library of the plain path, if the compiled form runs and there is one.

    Returns:
        The library, or None and why not.

    """
    if PURE_BECAUSE:
        return None, PURE_BECAUSE
    made = json.loads(MANIFEST.read_text("utf-8")).get("plain", "")
    if not made or not PLAIN_FILE.exists():
        return None, "it was not compiled: no Rust compiler was found when Milepost was installed"
    if plain_digest() not in {"", made}:
        return None, "it was compiled from other sources: install Milepost again"
    loader = ExtensionFileLoader(PLAIN_NAME, str(PLAIN_FILE))
    try:
        library = module_from_spec(ModuleSpec(PLAIN_NAME, loader, origin=str(PLAIN_FILE)))
        loader.exec_module(library)
    except ImportError as error:
        return None, f"its library can't be loaded: {error}"
    return library, ""


PURE_BECAUSE: Final = install()
"""Why the hot path runs in pure Python; empty: its compiled form runs."""
PLAIN, PLAIN_BECAUSE = install_plain()
"""The plain path's library; None, and why."""
FORM: Final = (
    f"in pure Python ({PURE_BECAUSE})"
    if PURE_BECAUSE
    else f"compiled, without the plain path ({PLAIN_BECAUSE})"
    if PLAIN_BECAUSE
    else "compiled, with the plain path"
)
"""How the hot path runs, in words."""
