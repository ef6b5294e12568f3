"""Which records make a block of the ledger, and which offsets of the inputs it accounts for.

Must never judge a record, nor know how a block is encoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from pipeline.governance import ledger
from pipeline.governance.ledger import InputRange
from pipeline.governance.outputs import Record, Transition
from pipeline.governance.vocabulary import ControlKind
from pipeline.streams.arriving import Decoded, Taken
from pipeline.streams.state import PartitionState

BLOCK_BYTES_MAX: Final = 524_288
"""Rows of a block; it may take as many again of transitions, and stays below its topic's limit."""
_ROW_BYTES = 300
"""A row of the ledger besides its ids."""


class Taking:
    """The records of a run; what the plain path can read is decoded if it is handed back."""

    __slots__ = ("batch", "decoded", "records", "rows")

    def __init__(
        self,
        records: Sequence[Taken],
        decoded: list[Decoded | None],
        batch: Any | None,
        rows: list[int],
    ) -> None:
        self.records = records
        self.decoded = decoded
        self.batch = batch
        """As the plain path sees them; None: there is no plain path."""
        self.rows = rows
        """Bytes of each record's row in the ledger, at most; -1: it is not plain."""


def spans(taking: Taking) -> list[tuple[int, int]]:
    """Records block by block: not too many, not too large, one policy each; at least one block."""
    found: list[tuple[int, int]] = []
    first = size = 0
    for at, known in enumerate(taking.rows):
        item = taking.decoded[at]
        row = known if item is None else _row_bytes(item)
        full = at - first >= ledger.BLOCK_RECORDS_MAX or size + row > BLOCK_BYTES_MAX
        if at > first and (full or _activates(item)):
            found.append((first, at))
            first, size = at, 0
        size += row
    return [*found, (first, len(taking.rows))]


def _activates(item: Decoded | None) -> bool:
    control = None if item is None else item.control
    return control is not None and control["kind"] == ControlKind.ACTIVATE


def _row_bytes(item: Decoded) -> int:
    """Bytes of a record's row in the ledger, at most: ids make the difference."""
    body = None if item.arrival is None else item.arrival.body
    if body is None:
        return _ROW_BYTES + len(item.record.key or b"")
    reference = body["reference"]
    named = body["entity_id"] or ("" if reference is None else str(reference))
    return _ROW_BYTES + _bytes_of(body["event_id"]) + 3 * _bytes_of(named)


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else 4 * len(text)


def slices(transitions: list[Transition]) -> list[list[Transition]]:
    """Transitions block by block: an hour's deadlines may fall due at once. At least one slice."""
    found: list[list[Transition]] = [[]]
    size = 0
    for row in transitions:
        size += _ROW_BYTES + _bytes_of(row.claim) + _bytes_of(row.entity)
        if found[-1] and size > BLOCK_BYTES_MAX:
            found.append([])
            size = 0
        found[-1].append(row)
    return found


def tile(
    state: PartitionState,
    taking: Taking,
    span: tuple[int, int],
    reached: Mapping[str, int],
    lost: Mapping[str, list[ledger.Gap]],
) -> tuple[list[Record], dict[str, int]]:
    """Ranges of this block, positions moved behind them, and the index of each topic's range."""
    given = offsets(taking, span)
    for topic, end in reached.items():
        if end > state.positions.get(topic, 0):
            given.setdefault(topic, [])
    inputs: list[Record] = []
    index: dict[str, int] = {}
    for topic, taken in given.items():
        expected = state.positions.get(topic, 0)
        covered = ledger.tile(expected, sorted(taken), reached.get(topic, 0), lost.get(topic, []))
        state.positions[topic] = covered.next
        index[topic] = len(inputs)
        inputs.append(_input(topic, covered))
    return inputs, index


def offsets(taking: Taking, span: tuple[int, int]) -> dict[str, list[int]]:
    """Offsets of some records, by topic."""
    if taking.batch is not None:
        return cast("dict[str, list[int]]", taking.batch.offsets(span[0], span[1]))
    found: dict[str, list[int]] = {}
    for record in taking.records[span[0] : span[1]]:
        found.setdefault(record.topic, []).append(record.offset)
    return found


def _input(topic: str, covered: InputRange) -> Record:
    gaps = [
        {
            "first": gap.first,
            "next": gap.next,
            "cause": "RETENTION" if gap.retention else "MARKER",
        }
        for gap in covered.gaps
    ]
    return {"topic": topic, "first": covered.first, "next": covered.next, "gaps": gaps}
