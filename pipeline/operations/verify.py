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

from pipeline.contract import codec, names
from pipeline.contract.topics import Declared
from pipeline.kafka.reading import Span
from pipeline.operations.proof.approved import ApprovedCheck
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.proof.inputs import InputCheck
from pipeline.operations.proof.ledger import LedgerWalk
from pipeline.operations.proof.letters import LetterCheck, ReroutedCheck
from pipeline.operations.proof.report import RULES, Report, Violation
from pipeline.operations.proof.state import StateCheck

__all__ = ["RULES", "Report", "Violation", "verify"]


def verify(evidence: Evidence, declared: Declared) -> Report:
    """Check every rule over every partition.

    Args:
        evidence: the topics.
        declared: topics.yaml, which says what the inputs are.

    Raises:
        UnreachableError: Kafka or the registry is away.

    """
    report = Report()
    cuts = {number: _span(evidence, number) for number in evidence.partitions(names.DECISIONS)}
    rerouted = ReroutedCheck(report)
    walks = []
    for number, cut in cuts.items():
        report.partitions += 1
        walks.append(_partition(evidence, declared, number, cut, rerouted, report))
    if rerouted.unexplained:
        # Re-keyed records go to other partitions, whose ledgers may have grown meanwhile
        for walk, end in walks:
            _walk(evidence, walk, Span(end, _span(evidence, walk.partition).end), report)
    rerouted.conclude([walk for walk, _ in walks])
    return report


def _span(evidence: Evidence, number: int) -> Span:
    return evidence.span(names.DECISIONS, number)


def _partition(
    evidence: Evidence,
    declared: Declared,
    number: int,
    cut: Span,
    rerouted: ReroutedCheck,
    report: Report,
) -> tuple[LedgerWalk, int]:
    """Everything about one partition number.

    Returns:
        Its ledger's walk, and the offset up to which it went.

    """
    walk = LedgerWalk(number)
    if cut.start > 0:
        detail = f"the ledger begins at offset {cut.start}: its beginning is gone"
        report.flag("chain", names.DECISIONS, number, cut.start, detail)
    _walk(evidence, walk, cut, report)
    state = StateCheck(evidence, walk, report)
    approved = ApprovedCheck(evidence, walk, report)
    letters = LetterCheck(evidence, walk, report)
    rerouted.take(evidence, walk)
    inputs = InputCheck(evidence, walk, approved.carried, report)
    for topic in dict.fromkeys([topic.name for topic in declared.inputs] + list(walk.inputs)):
        inputs.compare(topic)
    walk.inputs = {
        topic: type(item)(next=item.next) for topic, item in walk.inputs.items()
    }  # compared; the rest of the walk needs the places only
    end = _span(evidence, number).end
    _walk(evidence, walk, Span(cut.end, end), report)
    state.conclude()
    approved.conclude()
    letters.conclude()
    report.blocks += walk.blocks
    report.records += walk.seq
    report.dispositions += walk.dispositions
    report.reasons += walk.reasons
    for milestone in walk.unfinished:
        detail = f"the ledger skips a revision of milestone {milestone}"
        report.flag("sequence", names.DECISIONS, number, -1, detail)
    if walk.dispositions.total() != walk.seq:
        detail = f"{walk.dispositions.total()} verdicts, {walk.seq} ledger numbers"
        report.flag("counts", names.DECISIONS, number, -1, detail)
    for topic, first, until in walk.lost:
        report.lost += until - first
        detail = f"{until - first} offsets from {first} were gone before they were read"
        report.flag("lost", topic, number, first, detail)
    return walk, end


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
        walk.take(block, record.value or b"", record.timestamp_ms, wrong)
