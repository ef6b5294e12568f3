"""Schemas that could crash or exhaust the process that decodes with them.

A producer chooses the schema id of a record, so any schema that anybody registered may be met at
run time. A recursive one lets five kilobytes of data overflow the decoder's stack; items without
size let five bytes become thirty million values. Must never judge style.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import fastavro

from pipeline.contract.schema_tree import Location, MalformedSchemaError, Type, build

DEPTH_MAX: Final = 32
"""Levels of values inside one another that a datum may have."""
TYPES_MAX: Final = 10_000
"""Types in a schema with every name written out."""
FREE_VALUES_MAX: Final = 16
"""Values that decoding may make from no bytes at all, per record or item."""


class Flaw(NamedTuple):
    """What is wrong with a schema, and where."""

    location: Location
    path: str
    why: str
    remedy: str


class _Measure(NamedTuple):
    depth: int
    types: int
    sized: bool
    """Whether every datum takes at least a byte."""
    free: int


class _RecursiveError(Exception):
    def __init__(self, of: Type, location: Location, path: str) -> None:
        super().__init__(of.name)
        self.flaw = Flaw(
            location,
            path,
            f"{of.unqualified} contains itself: deep data would crash its decoder",
            "Refer by an id, or write the levels out",
        )


def unsafe(definition: Any) -> list[Flaw]:
    """Why nothing may be decoded with this schema; empty if it is safe.

    Call it before any other use of a schema that a stranger may have registered.

    Args:
        definition: the schema as JSON gives it.

    """
    flaws = dangers(definition)
    if flaws:
        return flaws
    try:
        fastavro.parse_schema(definition, _write_hint=False)
    except Exception as error:  # noqa: BLE001  fastavro raises KeyError and others too
        detail = f"fastavro does not take it: {error}"[:300]
        return [Flaw((), "", detail, "Correct the schema")]
    return []


def dangers(definition: Any) -> list[Flaw]:
    """`unsafe` without asking the decoder's own parser, whose words are less clear."""
    try:
        tree = build(definition)
    except MalformedSchemaError as error:
        return [Flaw(error.location, "", str(error), "Correct the schema")]
    check = _Check()
    try:
        whole = check.measure(tree, tree.unqualified, tree.location)
    except _RecursiveError as error:
        return [error.flaw]
    flaws = check.flaws
    if whole.depth > DEPTH_MAX:
        why = f"values lie {whole.depth} deep in one another, more than {DEPTH_MAX}"
        flaws.append(Flaw((), tree.unqualified, why, "Make it flatter"))
    if whole.types > TYPES_MAX:
        why = f"written out it has {whole.types} types, more than {TYPES_MAX}"
        flaws.append(Flaw((), tree.unqualified, why, "Use a type in fewer places"))
    if whole.free > FREE_VALUES_MAX:
        why = f"{whole.free} values take no bytes, more than {FREE_VALUES_MAX}"
        flaws.append(Flaw((), tree.unqualified, why, "Drop fields that can hold only one value"))
    return flaws


class _Check:
    """Measures each named type once, so a schema of many names costs no more than its text."""

    def __init__(self) -> None:
        self.flaws: list[Flaw] = []
        self._known: dict[Type, _Measure] = {}
        self._open: set[Type] = set()

    def measure(self, of: Type, path: str, location: Location) -> _Measure:
        if of in self._open:
            raise _RecursiveError(of, location, path)
        if of not in self._known:
            self._open.add(of)
            self._known[of] = self._measured(of, path)
            self._open.discard(of)
        return self._known[of]

    def _measured(self, of: Type, path: str) -> _Measure:
        if of.kind == "record":
            parts = [
                self.measure(field.type, f"{path}.{field.name}", (*field.location, "type"))
                for field in of.fields
            ]
            sized = any(part.sized for part in parts)
            free = sum(part.free for part in parts) + (0 if sized else 1)
            return _Measure(_deepest(parts) + 1, _total(parts) + 1, sized, free)
        if of.kind == "union":
            parts = [
                self.measure(branch, path, (*of.location, position))
                for position, branch in enumerate(of.branches)
            ]
            # The branch's number takes a byte, and pays for one value
            free = max(0, max(part.free for part in parts) - 1)
            return _Measure(_deepest(parts), _total(parts), sized=True, free=free)
        if of.items is not None:
            path = f"{path}[]" if of.kind == "array" else f"{path}{{}}"
            part = "items" if of.kind == "array" else "values"
            item = self.measure(of.items, path, (*of.location, part))
            self._judge_items(of, item, path)
            return _Measure(item.depth + 1, item.types + 1, sized=True, free=0)
        sized = of.kind != "null" and (of.kind != "fixed" or of.size > 0)
        return _Measure(1, 1, sized, 0 if sized else 1)

    def _judge_items(self, of: Type, item: _Measure, path: str) -> None:
        if of.kind == "array" and not item.sized:
            why = "items take no bytes: a few bytes of data would become millions of values"
            self.flaws.append(Flaw(of.location, path, why, "Count them in a field instead"))
        elif item.free > FREE_VALUES_MAX:
            why = f"{item.free} values of each item take no bytes, more than {FREE_VALUES_MAX}"
            remedy = "Drop fields that can hold only one value"
            self.flaws.append(Flaw(of.location, path, why, remedy))


def _deepest(parts: list[_Measure]) -> int:
    return max((part.depth for part in parts), default=0)


def _total(parts: list[_Measure]) -> int:
    return sum(part.types for part in parts)
