"""What the tidy tests look at: the files of this repository, parsed once. Must never judge."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("pipeline", "connectors")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Module:
    """One Python file."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def where(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def name(self) -> str:
        """Its dotted name, as an import says it."""
        parts = list(self.path.relative_to(ROOT).with_suffix("").parts)
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def nodes(self, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
        return (node for node in ast.walk(self.tree) if not kinds or isinstance(node, kinds))

    def at(self, node: ast.AST) -> str:
        return f"{self.where}:{getattr(node, 'lineno', 1)}"


@cache
def files() -> tuple[Path, ...]:
    """Every file that is committed, or would be by adding all."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    paths = (ROOT / name for name in sorted(set(listed.split("\0"))) if name)
    return tuple(path for path in paths if path.is_file())


@cache
def texts() -> dict[Path, str]:
    """Every file that is UTF-8 text."""
    found = {}
    for path in files():
        try:
            found[path] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return found


@cache
def modules() -> tuple[Module, ...]:
    """Every Python file."""
    return tuple(
        Module(path, text, ast.parse(text, filename=str(path)))
        for path, text in texts().items()
        if path.suffix == ".py"
    )


@cache
def below(*tops: str) -> tuple[Module, ...]:
    """Those of some top folders."""
    return tuple(module for module in modules() if module.where.split("/")[0] in tops)


def product() -> tuple[Module, ...]:
    return below(*PACKAGES)


def listed(findings: Iterable[str]) -> str:
    """Findings as a message: one a line."""
    return "".join(f"\n  {finding}" for finding in findings)
