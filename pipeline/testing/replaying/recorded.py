"""A partition's recorded work, block by block: each with the records that it decided about.

Reads a few thousand records at a time, so that memory does not grow with the ledger. Must never
decide about a record.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from pipeline.contract import names
from pipeline.kafka.reading import Span, Stored
from pipeline.operations.proof.evidence import Evidence

Record = dict[str, Any]
RECORDS_AT_ONCE: Final = 5_000
BYTES_AT_ONCE: Final = 8_000_000


class Block(NamedTuple):
    """A block of the ledger, and the records that it decided about, in that order."""

    stored: Stored
    body: Record
    records: list[Stored]


class MissingRecordError(Exception):
    """A record that the ledger decided about can't be read."""


def blocks(evidence: Evidence, partition: int, end: int) -> Iterator[Block]:
    """Every block below an offset.

    Raises:
        MissingRecordError: a record is gone that the next block decided about.
        UndecodableError: the next block is none.

    """
    at = evidence.span(names.DECISIONS, partition).start
    while at < end:
        window = list(_window(evidence, partition, Span(at, end)))
        if not window:
            return
        at = window[-1][0].offset + 1
        found = _records(evidence, partition, [body for _, body in window])
        for stored, body in window:
            yield Block(stored, body, _decided(body, found))


def _window(evidence: Evidence, partition: int, span: Span) -> Iterator[tuple[Stored, Record]]:
    """Some blocks from the beginning of a span."""
    count = size = 0
    for stored in evidence.records(names.DECISIONS, partition, span):
        body = evidence.decode(stored.value, "decision-block")
        yield stored, body
        count += len(body["decisions"])
        size += len(stored.value or b"")
        if count >= RECORDS_AT_ONCE or size >= BYTES_AT_ONCE:
            return


def _records(
    evidence: Evidence, partition: int, window: list[Record]
) -> dict[tuple[str, int], Stored]:
    """Every record that these blocks decided about, by topic and offset; some may be gone."""
    spans: dict[str, Span] = {}
    for body in window:
        for row in body["decisions"]:
            topic, offset = body["inputs"][row["input"]]["topic"], row["offset"]
            known = spans.get(topic, Span(offset, offset + 1))
            spans[topic] = Span(min(known.start, offset), max(known.end, offset + 1))
    found = {}
    for topic, span in spans.items():
        there = evidence.span(topic, partition)
        wanted = Span(max(span.start, there.start), min(span.end, there.end))
        for stored in evidence.records(topic, partition, wanted):
            found[topic, stored.offset] = stored
    return found


def _decided(body: Record, found: dict[tuple[str, int], Stored]) -> list[Stored]:
    records = []
    for row in body["decisions"]:
        topic = body["inputs"][row["input"]]["topic"]
        stored = found.get((topic, row["offset"]))
        if stored is None:
            raise MissingRecordError(f"{topic} no longer has offset {row['offset']}")
        records.append(stored)
    return records
