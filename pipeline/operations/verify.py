"""`milepost verify`: proves from the topics alone that nothing was lost, doubled or altered.

Shares no code with the worker beyond the codec. Reads ledger, inputs, approved records, stories,
dead letters and the workers' changelog, and holds them against each other. Must never trust a
worker's counter.

Order of reading. A worker may go on meanwhile, and everything it writes for one partition commits
at once. So the ledger is read up to a cut, then the topics that must agree with it, then the rest
of the ledger: what stands before the cut must be in the topics, and what is in the topics must
stand before or behind the cut.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.contract import codec, names
from pipeline.contract.topics import Declared
from pipeline.kafka.reading import Span
from pipeline.operations.proof.approved import ApprovedCheck
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.proof.inputs import InputCheck
from pipeline.operations.proof.ledger import At, LedgerWalk, Told
from pipeline.operations.proof.letters import LetterCheck, ReroutedCheck
from pipeline.operations.proof.proven import Proven
from pipeline.operations.proof.report import RULES, Report, Violation
from pipeline.operations.proof.revisions import Revisions
from pipeline.operations.proof.state import StateCheck
from pipeline.operations.proof.watching import Tell, WatchedEvidence, offsets_of

__all__ = ["RULES", "Audit", "Replay", "Report", "Violation", "verify"]


@dataclass(frozen=True)
class Examined:
    """One partition after everything of it was compared, for who looks deeper."""

    evidence: Evidence
    walk: LedgerWalk
    approved: ApprovedCheck
    state: StateCheck
    cut: int
    """Offset up to which everything that the ledger orders must be there."""
    end: int
    """Offset up to which the ledger was walked."""
    report: Report


class Replay(Protocol):
    """Decides everything anew, and compares."""

    def begin(self, evidence: Evidence) -> None:
        """Read what went from partition to partition: behind every cut."""

    def read(self, evidence: Evidence, partition: int) -> None:
        """Read what one partition wrote for others to read: between its cut and its end."""

    def partition(self, examined: Examined) -> None:
        """Replay one partition."""

    def conclude(self, report: Report, *, everything: bool) -> None:
        """Compare what went from partition to partition, once all were replayed."""


@dataclass(frozen=True)
class Audit:
    """How an audit is made."""

    folder: Path | None = None
    """For what doesn't stay in memory; None: the system's own."""
    tell: Tell | None = None
    """Told how far it has come."""
    proven: Proven | None = None
    """What it has proven, for who resumes it."""
    replay: Replay | None = None
    now_ms: Callable[[], int] = lambda: int(time.time() * 1_000)


def verify(evidence: Evidence, declared: Declared, audit: Audit | None = None) -> Report:
    """Check every rule over every partition.

    Args:
        evidence: the topics.
        declared: topics.yaml, which says what the inputs are.
        audit: how.

    Raises:
        UnreachableError: Kafka or the registry is away.
        OSError: what doesn't stay in memory can't be written.

    """
    audit = audit or Audit()
    report = Report()
    watched = WatchedEvidence(evidence, report, audit.tell)
    cuts = {
        number: watched.span(names.DECISIONS, number)
        for number in watched.partitions(names.DECISIONS)
    }
    rerouted = ReroutedCheck(audit.folder, report)
    rerouted.read(watched)
    if audit.replay is not None:
        report.deep = True
        audit.replay.begin(watched)
    for number, cut in cuts.items():
        found = _proven(watched, number, cut, audit)
        if found is None:
            found = _partition(watched, declared, number, cut, rerouted, audit)
        report.merge(found)
    rerouted.conclude(everything=not report.taken_over)
    if audit.replay is not None:
        audit.replay.conclude(report, everything=not report.taken_over)
    if audit.proven is not None:
        audit.proven.done()
    return report


def _proven(evidence: Evidence, number: int, cut: Span, audit: Audit) -> Report | None:
    return None if audit.proven is None else audit.proven.take_over(evidence, number, cut.end)


def _partition(
    evidence: WatchedEvidence,
    declared: Declared,
    number: int,
    cut: Span,
    rerouted: ReroutedCheck,
    audit: Audit,
) -> Report:
    """Everything about one partition number."""
    report = Report(partitions=1)
    inputs = [topic.name for topic in declared.inputs]
    read = [*inputs, names.DECISIONS, names.APPROVED, names.ENTITY_STATUS]
    read += [names.DEAD_LETTER, names.CHANGELOG]
    evidence.begin(number, offsets_of(evidence, read, number), report)
    walk = LedgerWalk(number, rerouted.told, audit.folder)
    if cut.start > 0:
        detail = f"the ledger begins at offset {cut.start}: its beginning is gone"
        report.flag("chain", names.DECISIONS, number, cut.start, detail)
    _walk(evidence, walk, cut, report)
    walk.told = Told.LATER
    state = StateCheck(evidence, walk, report)
    approved = ApprovedCheck(evidence, walk, report)
    letters = LetterCheck(evidence, walk, report)
    compared = InputCheck(evidence, walk, approved.carried, report)
    for topic in dict.fromkeys([*inputs, *walk.inputs]):
        compared.compare(topic)
    if audit.replay is not None:
        audit.replay.read(evidence, number)
    end = evidence.span(names.DECISIONS, number).end
    _walk(evidence, walk, Span(cut.end, end), report)
    for check in (state, approved, Revisions(walk, approved, report), letters, compared):
        check.conclude()
    _sum(walk, report)
    if audit.replay is not None:
        examined = Examined(evidence, walk, approved, state, cut.end, end, report)
        audit.replay.partition(examined)
    if audit.proven is not None and report.clean and walk.blocks:
        place = {"at": audit.now_ms(), "offset": end, "last": walk.last, "chain": walk.chain}
        audit.proven.keep(number, report, place)
    return report


def _sum(walk: LedgerWalk, report: Report) -> None:
    """Add up what the ledger says."""
    number = walk.partition
    report.blocks, report.records = walk.blocks, walk.seq
    report.dispositions, report.reasons = walk.dispositions, walk.reasons
    if walk.dispositions.total() != walk.seq:
        detail = f"{walk.dispositions.total()} verdicts, {walk.seq} ledger numbers"
        at_fault = walk.last if walk.skipped < 0 else walk.skipped
        report.flag("counts", names.DECISIONS, number, at_fault, detail)
    for topic, first, until in walk.lost:
        report.lost += until - first
        detail = f"{until - first} offsets from {first} were gone before they were read"
        report.flag("lost", topic, number, first, detail)


def _walk(evidence: Evidence, walk: LedgerWalk, span: Span, report: Report) -> None:
    """Walk the ledger over a span."""
    for record in evidence.records(names.DECISIONS, walk.partition, span):

        def wrong(rule: str, detail: str, at: int = record.offset) -> None:
            report.flag(rule, names.DECISIONS, walk.partition, at, detail)

        try:
            block = evidence.decode(record.value, "decision-block")
        except codec.UndecodableError as error:
            wrong("chain", f"no block: {error}")
            continue
        report.decided_ms = max(report.decided_ms, record.timestamp_ms)
        at = At(record.offset, record.timestamp_ms)
        try:
            walk.take(block, record.value or b"", at, wrong)
        except (ValueError, OverflowError, struct.error) as error:
            wrong("chain", f"what it says is out of every range: {error}")
