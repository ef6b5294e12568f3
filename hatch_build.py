"""Build hook: compiles the hot path by mypyc into `pipeline/_native/` where there is a C compiler,
and the plain path from `native/` where there is a Rust compiler, too.

Everything works without: then, or with MILEPOST_PURE set, the package is built pure. By hand, after
a change of the hot path: `python hatch_build.py`. Must never fail a build.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
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
    wanted = {"suffix": names.SUFFIX, "digest": names.digest()}
    made = json.loads(names.MANIFEST.read_text("utf-8")) if names.MANIFEST.exists() else {}
    if {name: made.get(name) for name in wanted} != wanted:
        shutil.rmtree(names.FOLDER, ignore_errors=True)
        missing = _compile_modules(names)
        if missing:
            return missing
        made = wanted
    if made.get("plain") != names.plain_digest():
        missing = _compile_plain(names)
        if missing:
            print(f"The plain path will not run ({missing})", file=sys.stderr)  # noqa: T201
        made = wanted | {"plain": "" if missing else names.plain_digest()}
        names.MANIFEST.write_text(json.dumps(made) + "\n", "utf-8")
    return ""


def _compile_modules(names: Any) -> str:
    """The modules of the hot path; why not, or nothing."""
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
    return ""


def _compile_plain(names: Any) -> str:
    """The library of the plain path; why not, or nothing."""
    command = ["cargo", "build", "--release", "--quiet", "--manifest-path", "native/Cargo.toml"]
    try:
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        built = next((ROOT / "native/target/release").glob(f"lib{names.PLAIN_NAME}.*o"))
    except subprocess.CalledProcessError as error:
        return str(error.stderr).strip()[-300:] or str(error)
    except (OSError, StopIteration) as error:  # no cargo, or a system with other names
        return f"{type(error).__name__}: {error}"
    shutil.copy(built, names.PLAIN_FILE)
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
