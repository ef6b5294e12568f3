"""The ledger held against the inputs' own records: each verdict has its record, each record one.

Must never judge what a verdict says.
"""

from __future__ import annotations

from typing import Final

from pipeline.contract import codec
from pipeline.governance.vocabulary import PRECISION_MS, Precision
from pipeline.kafka.reading import Span, Stored
from pipeline.operations.proof.carried import Carried, Claim
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.proof.ledger import Decided, LedgerWalk, digest_of
from pipeline.operations.proof.report import Beyond, Input, Report
from pipeline.operations.proof.spill import Column

_WIDTHS: Final = {str(precision): width for precision, width in PRECISION_MS.items()}


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
        span = self._evidence.span(topic, number)
        beyond = at = _first(rows, span.start)
        records = pending = 0
        due, seq = rows[at] if at < count else (-1, -1)
        for record in self._evidence.records(topic, number, span):
            while at < count and due < record.offset:
                self._missing.append(due)
                at += 1
                due, seq = rows[at] if at < count else (-1, -1)
            if due == record.offset:
                self._compare(record, seq)
                records += 1
                at += 1
                due, seq = rows[at] if at < count else (-1, -1)
            elif record.offset < decided.next:
                records += 1
                self._wrong("unread", record.offset, topic, "no verdict is about this record")
            else:
                pending += 1
        for behind in range(at, count):
            self._missing.append(rows[behind][0])
        beyond += self._explain(topic, span)
        if beyond:
            report.beyond.append(Beyond(topic, number, beyond))
        report.inputs.append(Input(topic, number, records, count, pending))
        if records + beyond != count:
            detail = f"{count} verdicts, {records} records and {beyond} beyond reach"
            at_fault = self._missing[0][0] if len(self._missing) else decided.next - 1
            self._wrong("counts", at_fault, topic, detail)

    def conclude(self) -> None:
        """Compare what several approved records carry of one claim."""
        for claim in self._carried.differing():
            detail = "of its approved records one carries another time"
            self._wrong("carried", claim.offset, self._topics[claim.input], detail)

    def _wrong(self, rule: str, offset: int, topic: str, detail: str) -> None:
        self._report.flag(rule, topic, self._walk.partition, offset, detail)

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
        width = _WIDTHS.get(raw["occurred_precision"], PRECISION_MS[Precision.MILLISECOND])
        claim = Claim(len(self._topics) - 1, record.offset, width)
        if not self._carried.agrees(seq, raw, claim):
            detail = f"its approved record (ledger_seq {seq}) carries something else"
            self._wrong("carried", record.offset, record.topic, detail)


def _first(rows: Column, offset: int) -> int:
    """Ordinal of the first row at or behind an offset."""
    low, high = 0, len(rows)
    while low < high:
        middle = (low + high) // 2
        if rows[middle][0] < offset:
            low = middle + 1
        else:
            high = middle
    return low
