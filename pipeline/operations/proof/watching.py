"""Evidence that tells how far an audit has come, and that goes on where a transaction hangs.

Must never judge a record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from pipeline.contract.codec import Schema
from pipeline.kafka.reading import Span, Stored, UndecidedError
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.proof.report import Report

_TELL_EVERY: Final = 2_000


class Course(NamedTuple):
    """How far an audit has come."""

    partition: int
    """That is being read; -1: what concerns all of them."""
    passed: int
    """Offsets of this partition that were read, over all its topics."""
    total: int
    records: int
    """That were read in this run, over all partitions."""


Tell = Callable[[Course], None]


class WatchedEvidence:
    """Other evidence, watched.

    Args:
        evidence: what is read.
        report: told of transactions that stay open.
        tell: told how far the reading has come; None: nobody asks.

    """

    def __init__(self, evidence: Evidence, report: Report, tell: Tell | None) -> None:
        self._evidence = evidence
        self._report = report
        self._tell = tell
        self._partition = -1
        self._passed = self._total = self._records = 0
        self.partitions = evidence.partitions
        self.decode = evidence.decode

    def since(self, topic: str, partition: int, time_ms: int) -> int:
        """Offset of the first record appended at or after a time."""
        return self._evidence.since(topic, partition, time_ms)

    def written(self, number: int) -> Schema:
        """The schema with that id."""
        return self._evidence.written(number)

    def begin(self, partition: int, total: int, report: Report) -> None:
        """Go over to a partition, of which so many offsets are to be read."""
        self._partition, self._passed, self._total = partition, 0, total
        self._report = report

    def span(self, topic: str, partition: int) -> Span:
        """Where a partition starts and ends; up to the first transaction that stays open."""
        try:
            return self._evidence.span(topic, partition)
        except UndecidedError as error:
            end = error.span.end
            detail = "a transaction that begins here stays open: nothing behind it can be read"
            self._report.flag("torn", topic, partition, end, detail)
            return error.span

    def records(self, topic: str, partition: int, span: Span) -> Iterator[Stored]:
        """Committed records of a span, in order."""
        at = span.start
        count = 0
        for record in self._evidence.records(topic, partition, span):
            yield record
            count += 1
            if count == _TELL_EVERY:
                self._note(record.offset + 1 - at, count)
                at, count = record.offset + 1, 0
        self._note(span.end - at, count)

    def _note(self, passed: int, records: int) -> None:
        self._passed += max(0, passed)
        self._records += records
        if self._tell is not None:
            total = max(self._total, self._passed)
            self._tell(Course(self._partition, self._passed, total, self._records))


def offsets_of(evidence: Evidence, topics: list[str], partition: int) -> int:
    """Offsets that are to be read of one partition number, over these topics."""
    return sum(
        found.end - found.start for found in (_now(evidence, topic, partition) for topic in topics)
    )


def _now(evidence: Evidence, topic: str, partition: int) -> Span:
    if partition not in evidence.partitions(topic):
        return Span(0, 0)
    try:
        return evidence.span(topic, partition)
    except UndecidedError as error:
        return error.span
