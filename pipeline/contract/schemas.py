"""The Avro schemas of the contract: judged one by one, and against their committed versions.

`schemas/<name>.avsc` is what is written with now; `schemas/history/<name>/v<n>.avsc` are the
versions that data may have been written with. Must never ask a registry.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipeline.contract import compatibility
from pipeline.contract.schema_safety import Flaw, dangers, unsafe
from pipeline.contract.schema_style import style
from pipeline.contract.schema_tree import Location, build
from pipeline.contract.topics import FILE, Declared
from pipeline.contract.yaml_lines import Finding, InvalidFileError, read

__all__ = ["Flaw", "SchemaFinding", "check", "history", "lint", "parse", "unsafe", "unversioned"]

_VERSION: Final = re.compile(r"^v([1-9][0-9]*)$")


class SchemaFinding(NamedTuple):
    """Something in a schema that a person should change."""

    file: str
    line: int
    path: str
    why: str
    remedy: str

    def __str__(self) -> str:
        """One line for a terminal."""
        where = f"{self.path}: " if self.path else ""
        return f"{self.file}:{self.line}: {where}{self.why}. {self.remedy}"


def lint(definition: Any) -> list[Flaw]:
    """What is wrong with a schema by itself: its safety, else the house rules.

    Args:
        definition: the schema as JSON gives it.

    """
    return dangers(definition) or style(build(definition)) or unsafe(definition)


def check(folder: Path, declared: Declared) -> list[SchemaFinding]:
    """Judge every schema of a folder, alone and against its committed versions.

    Args:
        folder: holds `*.avsc` and `history/`.
        declared: topics, which say in which mode each schema must stay compatible.

    """
    modes: dict[str, set[str]] = {}
    for _, name, mode in declared.subjects():
        modes.setdefault(name, set()).add(mode)
    findings: list[SchemaFinding] = []
    present = {path.stem: path for path in sorted(folder.glob("*.avsc"))}
    for name in sorted(modes.keys() - present.keys()):
        why = f"{FILE} names schema {name}, which is not there"
        findings.append(SchemaFinding(f"{name}.avsc", 1, "", why, "Add it or correct the name"))
    for name in sorted(_history_names(folder) - present.keys()):
        why = "its versions are committed, but the schema is gone"
        remedy = "Bring it back: consumers may still read its data"
        findings.append(SchemaFinding(f"history/{name}", 1, "", why, remedy))
    for name, path in present.items():
        findings += _one(folder, path, modes.get(name, set()))
    return findings


def parse(path: Path, folder: Path) -> Any:
    """Definition in a schema's file, as JSON gives it.

    Args:
        path: the file.
        folder: that findings name it relative to.

    Raises:
        InvalidFileError: it is missing or no JSON.

    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        file = path.relative_to(folder).as_posix()
        why = "a topic has this schema"
        raise InvalidFileError([Finding(file, 1, "missing", why, "Add the file")]) from None
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
        file = path.relative_to(folder).as_posix()
        detail = str(error) if isinstance(error, ValueError) else "nested too deeply"
        finding = Finding(file, line, "no JSON", detail, "Correct the syntax")
        raise InvalidFileError([finding]) from None


def history(folder: Path, name: str) -> list[Any]:
    """Definitions of a schema's committed versions, oldest first.

    Raises:
        InvalidFileError: a version is missing in between, or is no JSON.

    """
    home = folder / "history" / name
    numbered: dict[int, Path] = {}
    for path in home.glob("*.avsc"):
        match = _VERSION.match(path.stem)
        if match:
            numbered[int(match[1])] = path
    for number in range(1, len(numbered) + 1):
        if number not in numbered:
            why = "versions count from 1 without a gap"
            file = f"history/{name}/v{number}.avsc"
            raise InvalidFileError([Finding(file, 1, "missing", why, "Restore the file")])
    return [parse(numbered[number], folder) for number in sorted(numbered)]


def unversioned(folder: Path, names: Iterable[str]) -> list[str]:
    """Schemas with committed versions, none of which is the newest one's equal: not released yet.

    Raises:
        InvalidFileError: a file is no JSON.

    """
    return [
        name
        for name in names
        if (versions := history(folder, name))
        and versions[-1] != parse(folder / f"{name}.avsc", folder)
    ]


def _one(folder: Path, path: Path, modes: set[str]) -> Iterator[SchemaFinding]:
    file = path.relative_to(folder).as_posix()
    try:
        definition = parse(path, folder)
    except InvalidFileError as error:
        for item in error.findings:
            yield SchemaFinding(item.file, item.line, "", f"{item.what}, {item.why}", item.remedy)
        return
    for flaw in lint(definition):
        line = _line(folder, path, flaw.location)
        yield SchemaFinding(file, line, flaw.path, flaw.why, flaw.remedy)
    if not modes:
        why = f"no topic in {FILE} has this schema"
        yield SchemaFinding(file, 1, "", why, "Declare its topic, or remove the file")
    if not dangers(definition):
        yield from _compared(folder, path, definition, modes)


def _compared(
    folder: Path, path: Path, definition: Any, modes: set[str]
) -> Iterator[SchemaFinding]:
    file = path.relative_to(folder).as_posix()
    try:
        previous = history(folder, path.stem)
    except InvalidFileError as error:
        for item in error.findings:
            yield SchemaFinding(item.file, item.line, "", f"{item.what}, {item.why}", item.remedy)
        return
    told: set[str] = set()
    for mode in sorted(modes):
        for breach in compatibility.check(definition, previous, mode):
            if str(breach) not in told:
                told.add(str(breach))
                why = str(breach).partition(": ")[2]
                yield SchemaFinding(file, 1, breach.path, f"{why} ({mode})", _REMEDY)


_REMEDY = "Undo it and add an optional field instead, or start a new topic (schemas/README.md)"


def _line(folder: Path, path: Path, location: Location) -> int:
    try:
        return read(path, folder).line(location)  # JSON is YAML, and that reader knows lines
    except InvalidFileError:
        return 1


def _history_names(folder: Path) -> set[str]:
    home = folder / "history"
    return {path.name for path in home.iterdir() if path.is_dir()} if home.is_dir() else set()
