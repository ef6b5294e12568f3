"""Build hook: compiles the hot path by mypyc into `pipeline/_native/` where there is a C compiler.

Everything works without: then, or with MILEPOST_PURE set, the package is built pure. By hand, after
a change of the hot path: `python hatch_build.py`. Must never fail a build.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent


def native() -> Any:
    """`pipeline.native`, without what it would install."""
    sys.path.insert(0, str(ROOT))
    try:
        return importlib.import_module("pipeline.native")
    finally:
        sys.path.remove(str(ROOT))


def compile_hot_path() -> str:
    """Compile what has changed.

    Returns:
        Why there is no compiled form; empty: there is one, of these sources.

    """
    names = native()
    if os.environ.get(names.PURE):
        return f"{names.PURE} is set"
    made = {"suffix": names.SUFFIX, "digest": names.digest()}
    if names.MANIFEST.exists() and json.loads(names.MANIFEST.read_text("utf-8")) == made:
        return ""
    shutil.rmtree(names.FOLDER, ignore_errors=True)
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        try:
            os.chdir(ROOT)
            _compile([str(Path("pipeline") / path) for path in names.sources()], Path(folder))
        except (Exception, SystemExit) as error:  # noqa: BLE001  no compiler, no headers, no mypy
            return f"{type(error).__name__}: {error}"
        finally:
            os.chdir(here)
        library = Path(folder) / "lib"
        shutil.copytree(library / "pipeline", names.FOLDER)
        shutil.copy(library / f"{names.GROUP}{names.SUFFIX}", names.FOLDER)
    names.MANIFEST.write_text(json.dumps(made) + "\n", "utf-8")
    return ""


def _compile(files: list[str], folder: Path) -> None:
    """Translate to C and compile; the libraries are in `lib` of the folder afterwards."""
    import setuptools  # noqa: PLC0415  only here: a pure build needs neither
    from mypyc.build import mypycify  # noqa: PLC0415

    options = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent"]
    extensions = mypycify(
        [*options, *files],
        opt_level="1",
        debug_level="0",
        group_name="milepost",
        target_dir=str(folder / "c"),
        verbose=False,
    )
    places = {"build_lib": str(folder / "lib"), "build_temp": str(folder / "temp")}
    setuptools.setup(
        name="milepost-native",
        packages=[],
        ext_modules=extensions,
        options={"build_ext": places},
        script_args=["--quiet", "build_ext"],
    )


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Compiles before the wheel, or the editable install, is put together."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Compile; a wheel with the compiled form is of this platform only."""
        missing = compile_hot_path()
        if missing:
            self.app.display_warning(f"The hot path will run in pure Python ({missing})")
            return
        build_data["artifacts"].append("pipeline/_native/**")
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


if __name__ == "__main__":
    sys.exit(compile_hot_path() or None)
