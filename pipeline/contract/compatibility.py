"""Whether data written with one schema can be read with another, offline and with reasons.

Avro's rules of resolution, and stricter where a reader would get another meaning without noticing:
names and logical types never change, aliases don't count. Must never ask a registry: registries
have been wrong about this, so both are asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple

from pipeline.contract.schema_tree import Type, build

MODES: Final = frozenset(
    f"{kind}{reach}" for kind in ("BACKWARD", "FORWARD", "FULL") for reach in ("", "_TRANSITIVE")
)
"""Modes that keep readers and writers together; NONE is not among them on purpose."""
_PROMOTIONS: Final = {
    ("int", "long"),
    ("int", "float"),
    ("int", "double"),
    ("long", "float"),
    ("long", "double"),
    ("float", "double"),
    ("string", "bytes"),
    ("bytes", "string"),
}
"""(written, read)"""
_MEANING: Final = attrgetter("logical", "precision", "scale")


class Breach(NamedTuple):
    """One reason why some data can't be read."""

    path: str
    why: str
    direction: Literal["backward", "forward"]
    """backward: this schema can't read older data; forward: an older reader can't read ours."""
    version: int
    """Which earlier version, counted from 1."""

    def __str__(self) -> str:
        """One line for a terminal."""
        if self.direction == "backward":
            return f"{self.path}: {self.why}, so data of version {self.version} can't be read"
        return f"{self.path}: {self.why}, so readers of version {self.version} can't read it"


def check(definition: Any, previous: Sequence[Any], mode: str) -> list[Breach]:
    """Compare a schema with its earlier versions.

    Args:
        definition: the new schema as JSON gives it.
        previous: every earlier version, oldest first; those that are equal don't matter.
        mode: BACKWARD, FORWARD or FULL, with `_TRANSITIVE` for all earlier versions instead of
            the newest alone.

    Returns:
        What the mode forbids; empty if it is compatible.

    Raises:
        MalformedSchemaError: one of them is no Avro schema.
        ValueError: no such mode.

    """
    kind, _, reach = mode.partition("_")
    if mode not in MODES:
        raise ValueError(f"{mode} is no mode that keeps readers and writers compatible")
    new = build(definition)
    numbered = list(enumerate(map(build, previous), start=1))
    breaches: list[Breach] = []
    for version, old in numbered if reach else numbered[-1:]:
        if kind in {"BACKWARD", "FULL"}:
            found = unreadable(reader=new, writer=old)
            breaches += [Breach(path, why, "backward", version) for path, why in found]
        if kind in {"FORWARD", "FULL"}:
            found = unreadable(reader=old, writer=new)
            breaches += [Breach(path, why, "forward", version) for path, why in found]
    return breaches


def unreadable(reader: Type, writer: Type) -> list[tuple[str, str]]:
    """Why a reader can't read everything that a writer may write: (path, reason)."""
    return list(_Resolution().compare(reader, writer, reader.unqualified or reader.kind))


class _Resolution:
    """Remembers the pairs of named types under comparison: recursive schemas end."""

    def __init__(self) -> None:
        self._seen: set[tuple[Type, Type]] = set()

    def compare(self, reader: Type, writer: Type, path: str) -> Iterator[tuple[str, str]]:
        if writer.kind == "union":
            for branch in writer.branches:
                yield from self.compare(reader, branch, path)
        elif reader.kind == "union":
            yield from self._into_union(reader, writer, path)
        elif reader.kind != writer.kind:
            if (writer.kind, reader.kind) not in _PROMOTIONS or reader.logical or writer.logical:
                yield path, f"{writer} is written, {reader} is expected"
        else:
            yield from self._same_kind(reader, writer, path)

    def _into_union(self, reader: Type, writer: Type, path: str) -> Iterator[tuple[str, str]]:
        """Judge the branch that a reader would take, so that it can be named in the reason."""
        alike = [
            branch
            for branch in reader.branches
            if branch.kind == writer.kind and branch.name == writer.name
        ]
        if alike:
            yield from self.compare(alike[0], writer, path)
            return
        if all(any(self.compare(branch, writer, path)) for branch in reader.branches):
            yield path, f"{writer} is written, which is not in the {reader}"

    def _same_kind(self, reader: Type, writer: Type, path: str) -> Iterator[tuple[str, str]]:
        if reader.name != writer.name:
            yield path, f"{writer.kind} {writer.name} is called {reader.name}"
            return
        if _MEANING(reader) != _MEANING(writer):
            yield path, f"{writer} is written, {reader} is expected"
            return
        if reader.kind == "fixed" and reader.size != writer.size:
            yield path, f"{writer.size} bytes are written, {reader.size} are expected"
        elif reader.kind == "enum":
            lost = [symbol for symbol in writer.symbols if symbol not in reader.symbols]
            if lost and reader.symbol_default is None:
                yield path, f"symbol {', '.join(lost)} is not known and the enum has no default"
        elif reader.kind == "record":
            yield from self._records(reader, writer, path)
        elif reader.items is not None and writer.items is not None:
            inner = f"{path}[]" if reader.kind == "array" else f"{path}{{}}"
            yield from self.compare(reader.items, writer.items, inner)

    def _records(self, reader: Type, writer: Type, path: str) -> Iterator[tuple[str, str]]:
        if (reader, writer) in self._seen:
            return
        self._seen.add((reader, writer))
        written = {field.name: field for field in writer.fields}
        for field in reader.fields:
            inner = f"{path}.{field.name}"
            if field.name in written:
                yield from self.compare(field.type, written[field.name].type, inner)
            elif not field.has_default:
                yield inner, "the field is not written and has no default"
