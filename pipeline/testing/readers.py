"""What readers of the governed topics make of a run: the portal's pages, the ERP's books.

Whoever runs a scenario hands the readers in, because they are sinks and the pipeline knows none.
Expected values are texts, as everywhere in scenario files. Must never run a sink.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pipeline.testing.expectations import Record, differences
from pipeline.testing.scenario_file import Then

_VERBS: Final = ("post", "adjust", "reverse", "waits", "held")
_KEYS: Final = ("key", "original")
"""Fields in which a file gives names of its own to idempotency keys."""


class Published(NamedTuple):
    """What a run published."""

    approved: list[Record]
    stories: list[Record]
    given: int
    """How many of the approved records came before what is compared."""


class Told(NamedTuple):
    """What readers made of it; entities are named as `shipment S1`."""

    pages: Mapping[str, Record]
    """What a customer is shown of an entity."""
    bookings: Mapping[str, list[Record]]
    """Calls to the ERP in order, then what is still open. Each names its posting by what is done:
    `{"post": "goods-issue", …}`."""
    problems: list[str]
    """Where they break a promise that holds in every scenario."""


Readers = Callable[[Published], Told]


def compare_readers(then: Then, told: Told, start_ms: int) -> list[str]:
    """Every way in which readers were told something else than is expected."""
    problems = list(told.problems)
    for entity, wanted in (then.portal or {}).items():
        page = told.pages.get(entity)
        if page is None:
            problems.append(f"portal: {entity} has no page")
            continue
        found = _page(page, wanted.model_dump(exclude_none=True), start_ms)
        problems += [f"portal: {entity}: {problem}" for problem in found]
    if then.erp is not None:
        problems += [f"erp: {problem}" for problem in _books(then.erp, told.bookings, start_ms)]
    return problems


def _page(page: Record, wanted: Record, start_ms: int) -> Iterator[str]:
    for name in ("timeline", "expected"):
        if name in wanted:
            yield from _rows(name, page[name], wanted.pop(name), start_ms, "label")
    yield from differences(page, wanted, start_ms)


def _books(
    expected: Mapping[str, Sequence[Record]],
    bookings: Mapping[str, list[Record]],
    start_ms: int,
) -> Iterator[str]:
    """Per entity complete and in order; entities that are not named have nothing."""
    keys: dict[str, str] = {}
    for entity in sorted(expected.keys() | bookings.keys()):
        mine = bookings.get(entity, [])
        theirs = [dict(row) for row in expected.get(entity, [])]
        for row in theirs:
            if sum(verb in row for verb in _VERBS) != 1:
                yield f"{entity}: {row} should say one of {', '.join(_VERBS)}"
                return
        if len(mine) == len(theirs):
            for row, wanted in zip(mine, theirs, strict=True):
                yield from (f"{entity}: {problem}" for problem in _names(row, wanted, keys))
        yield from _rows(entity, mine, theirs, start_ms, *_VERBS)


def _names(row: Record, wanted: Record, keys: dict[str, str]) -> Iterator[str]:
    """Keys that the file names: one name is one key, and another name another."""
    for field in _KEYS:
        name = wanted.pop(field, None)
        key = row.get(field)
        if name is None:
            continue
        if key is None:
            yield f"{_text(row)} has no {field}, expected {name}"
        elif keys.setdefault(name, key) != key:
            yield f"{_text(row)} has {field} {key}, and {name} is {keys[name]}"
        elif [known for known in keys if keys[known] == key] != [name]:
            yield f"{_text(row)} has the {field} that another name stands for, not {name}"


def _rows(
    what: str, found: Sequence[Record], wanted: Sequence[Record], start_ms: int, *heads: str
) -> Iterator[str]:
    def shown(rows: Sequence[Record]) -> str:
        return "; ".join(_text(row, heads) for row in rows) or "nothing"

    if len(found) != len(wanted):
        yield f"{what}: {shown(found)}; expected {shown(wanted)}"
        return
    for number, (row, fields) in enumerate(zip(found, wanted, strict=True), 1):
        for problem in differences(row, fields, start_ms):
            yield f"{what}, {number} ({_text(row, heads)}): {problem}"


def _text(row: Mapping[str, Any], heads: Sequence[str] = _VERBS) -> str:
    told = [
        row[head] if head == "label" else f"{head} {row[head]}" for head in heads if head in row
    ]
    return " ".join([*told, *([row["mark"]] if "mark" in row else [])])
