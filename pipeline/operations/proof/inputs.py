"""The ledger held against the inputs' own records: each verdict has its record, each record one.

Must never judge what a verdict says.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from operator import itemgetter
from typing import Final

from pipeline.contract import codec
from pipeline.kafka.reading import Span, Stored
from pipeline.operations.proof.carried import Carried, Claim
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.proof.ledger import Decided, LedgerWalk, digest_of
from pipeline.operations.proof.report import Beyond, Input, Report
from pipeline.operations.proof.spill import Column

_WIDTHS_MS: Final = {"DAY": 86_400_000, "MINUTE": 60_000, "SECOND": 1_000}
"""By `occurred_precision`, how many ms a time may be off; any other is exact to one."""
_NONE: Final = (-1, -1)
_offset: Final = itemgetter(0)


class InputCheck:
    """Compares the inputs of one partition number with the ledger up to the cut.

    Args:
        evidence: the topics.
        walk: the ledger up to the cut.
        carried: what approved records carry of their claims.
        report: told what doesn't hold.

    """

    def __init__(
        self, evidence: Evidence, walk: LedgerWalk, carried: Carried, report: Report
    ) -> None:
        self._evidence = evidence
        self._walk = walk
        self._carried = carried
        self._report = report
        self._topics: list[str] = []
        self._missing = Column("<q", walk.folder)
        self._amiss = -1
        """First offset of an input where verdicts and records do not go one to one."""

    def compare(self, topic: str) -> None:
        """Hold one input against the ledger."""
        number, report = self._walk.partition, self._report
        decided = self._walk.inputs.get(topic) or Decided(Column("<qq", self._walk.folder))
        rows, count = decided.rows, len(decided.rows)
        if number not in self._evidence.partitions(topic):
            if count:
                report.beyond.append(Beyond(topic, number, count))
            return
        self._topics.append(topic)
        self._missing.resize(0)
        self._amiss = decided.next - 1
        span = self._evidence.span(topic, number)
        beyond = bisect_left(rows, span.start, key=_offset)
        records = pending = 0
        verdicts = self._verdicts(rows, beyond)
        due, seq = next(verdicts, _NONE)
        for record in self._evidence.records(topic, number, span):
            while 0 <= due < record.offset:
                self._missing.append(due)
                due, seq = next(verdicts, _NONE)
            if due == record.offset:
                self._compare(record, seq)
                records += 1
                due, seq = next(verdicts, _NONE)
            elif record.offset < decided.next:
                records += 1
                self._amiss = min(self._amiss, record.offset)
                self._wrong("unread", record.offset, topic, "no verdict is about this record")
            else:
                pending += 1
        while due >= 0:
            self._missing.append(due)
            due, seq = next(verdicts, _NONE)
        beyond += self._explain(topic, span)
        if beyond:
            report.beyond.append(Beyond(topic, number, beyond))
        report.inputs.append(Input(topic, number, records, count, pending))
        if records + beyond != count:
            detail = f"{count} verdicts, {records} records and {beyond} beyond reach"
            self._wrong("counts", self._amiss, topic, detail)

    def conclude(self) -> None:
        """Compare what several approved records carry of one claim."""
        for claim in self._carried.differing():
            detail = "of its approved records one carries another time"
            self._wrong("carried", claim.offset, self._topics[claim.input], detail)

    def _wrong(self, rule: str, offset: int, topic: str, detail: str) -> None:
        self._report.flag(rule, topic, self._walk.partition, offset, detail)

    def _verdicts(self, rows: Column, at: int) -> Iterator[tuple[int, int]]:
        """Offset and ledger_seq of each verdict; where several are about one record, the first."""
        newest = -1
        for place in range(at, len(rows)):
            offset, seq = rows[place]
            if offset > newest:
                newest = offset
                yield offset, seq
            else:
                self._amiss = min(self._amiss, offset)

    def _explain(self, topic: str, span: Span) -> int:
        """How many missing ones retention took while they were read; the others are flagged."""
        if not len(self._missing):
            return 0
        start = max(span.start, self._evidence.span(topic, self._walk.partition).start)
        taken = 0
        for (offset,) in self._missing:
            if offset < start:
                taken += 1
            else:
                self._amiss = min(self._amiss, offset)
                detail = "a verdict is about this record, and it is not there"
                self._wrong("inputs", offset, topic, detail)
        return taken

    def _compare(self, record: Stored, seq: int) -> None:
        if self._walk.digest(seq) != digest_of(record.value):
            detail = "its bytes are not those that were decided about"
            self._wrong("inputs", record.offset, record.topic, detail)
            return
        if seq not in self._carried:
            return
        try:
            raw = self._evidence.decode(record.value, "raw-event")
        except codec.UndecodableError as error:
            detail = f"was approved and can't be read: {error}"
            self._wrong("carried", record.offset, record.topic, detail)
            return
        width = _WIDTHS_MS.get(raw["occurred_precision"], 1)
        claim = Claim(len(self._topics) - 1, record.offset, width)
        if not self._carried.agrees(seq, raw, claim):
            detail = f"its approved record (ledger_seq {seq}) carries something else"
            self._wrong("carried", record.offset, record.topic, detail)
