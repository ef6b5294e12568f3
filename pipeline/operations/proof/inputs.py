"""The ledger held against the inputs' own records: each verdict has its record, each record one.

Must never judge what a verdict says.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from pipeline.contract import codec
from pipeline.governance.vocabulary import PRECISION_MS, Precision
from pipeline.kafka.reading import Span, Stored
from pipeline.operations.proof.approved import Carried
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.proof.ledger import Decided, LedgerWalk, digest_of
from pipeline.operations.proof.report import Beyond, Input, Report

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

    def compare(self, topic: str) -> None:
        """Hold one input against the ledger."""
        number, report = self._walk.partition, self._report
        decided = self._walk.inputs.get(topic) or Decided()
        if number not in self._evidence.partitions(topic):
            if decided.offsets:
                report.beyond.append(Beyond(topic, number, len(decided.offsets)))
            return
        span = self._evidence.span(topic, number)
        missing: list[int] = []
        records = pending = 0
        at = bisect_left(decided.offsets, span.start)
        beyond = at
        for record in self._evidence.records(topic, number, span):
            while at < len(decided.offsets) and decided.offsets[at] < record.offset:
                missing.append(decided.offsets[at])
                at += 1
            if at < len(decided.offsets) and decided.offsets[at] == record.offset:
                self._compare(record, decided.seqs[at])
                records += 1
                at += 1
            elif record.offset < decided.next:
                records += 1
                self._wrong("unread", record.offset, topic, "no verdict is about this record")
            else:
                pending += 1
        missing += decided.offsets[at:]
        beyond += self._explain(topic, span, missing)
        if beyond:
            report.beyond.append(Beyond(topic, number, beyond))
        report.inputs.append(Input(topic, number, records, len(decided.offsets), pending))
        if records + beyond != len(decided.offsets):
            detail = f"{len(decided.offsets)} verdicts, {records} records and {beyond} beyond reach"
            self._wrong("counts", -1, topic, detail)

    def _wrong(self, rule: str, offset: int, topic: str, detail: str) -> None:
        self._report.flag(rule, topic, self._walk.partition, offset, detail)

    def _explain(self, topic: str, span: Span, missing: list[int]) -> int:
        """How many of these retention took while they were read; the others are flagged."""
        if not missing:
            return 0
        start = max(span.start, self._evidence.span(topic, self._walk.partition).start)
        taken = 0
        for offset in missing:
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
        if not self._carried.agrees(seq, raw, width):
            detail = f"its approved record (ledger_seq {seq}) carries something else"
            self._wrong("carried", record.offset, record.topic, detail)
