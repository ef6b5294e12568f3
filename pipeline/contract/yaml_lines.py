"""YAML files that people edit: parsed, with the line of every value for errors to point at.

Must never know what a file means.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from pydantic import ValidationError

Location = tuple[str | int, ...]
_DURATION: Final = "Write a duration, such as PT4H (four hours) or P3D (three days)"
_REMEDIES: Final = {
    "extra_forbidden": "Remove it, or correct the spelling",
    "time_delta_parsing": _DURATION,
    "time_delta_type": _DURATION,
}
"""What to do about what pydantic has against a value, by its name for that."""


class Finding(NamedTuple):
    """Something in a file that a person should change."""

    file: str
    line: int
    what: str
    why: str
    remedy: str

    def __str__(self) -> str:
        """One line for a terminal."""
        return f"{self.file}:{self.line}: {self.what} ({self.why}). {self.remedy}"


class InvalidFileError(ValueError):
    """A file that can't be used; `findings` say where and why."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = list(findings)


class Document(NamedTuple):
    """A parsed file."""

    file: str
    content: Any
    lines: dict[Location, int]

    def line(self, location: Location) -> int:
        """Line of a value, or of the nearest thing around it."""
        while location:
            if location in self.lines:
                return self.lines[location]
            location = location[:-1]
        return 1

    def findings(self, error: ValidationError) -> list[Finding]:
        """What pydantic has against the content, by line."""
        found = []
        for item in error.errors():
            location = tuple(part for part in item["loc"] if not str(part).startswith("function-"))
            name = ".".join(str(part) for part in location) or "the file"
            remedy = _REMEDIES.get(item["type"], "Correct the value")
            found.append(Finding(self.file, self.line(location), name, item["msg"], remedy))
        return found


def read(path: Path, root: Path) -> Document:
    """Parse a file.

    Args:
        path: the file.
        root: folder that findings name it relative to.

    Raises:
        InvalidFileError: it is missing or no YAML.

    """
    name = path.relative_to(root).as_posix()
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except FileNotFoundError:
        finding = Finding(name, 1, "missing", "the bundle needs it", f"Create {name}")
        raise InvalidFileError([finding]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = 1 if mark is None else mark.line + 1
        finding = Finding(name, line, "no YAML", str(error.problem), "Correct the syntax")
        raise InvalidFileError([finding]) from None
    lines: dict[Location, int] = {}
    twice: list[Finding] = []
    if node is not None:
        _index(node, (), lines)
        twice = list(_twice(node, name))
    if twice:
        raise InvalidFileError(twice)
    return Document(name, content, lines)


def _twice(node: yaml.Node, file: str) -> Iterator[Finding]:
    """Keys that a mapping has twice: YAML would take the last one and say nothing."""
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            text, line = str(key.value), key.start_mark.line + 1
            if text in first and text != "<<":
                why = f"given twice: it is in line {first[text]} already"
                yield Finding(file, line, text, why, "Keep one of them")
            first.setdefault(text, line)
            yield from _twice(value, file)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _twice(value, file)


def _index(node: yaml.Node, location: Location, lines: dict[Location, int]) -> None:
    lines[location] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*location, str(key.value))
            _index(value, inner, lines)
            lines[inner] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            _index(value, (*location, position), lines)
