"""`milepost verify`: proves from the topics alone that nothing was lost, doubled or altered.

Shares no code with the worker beyond the codec. Reads ledger, inputs, approved records and dead
letters, and holds them against each other. Must never trust a worker's counter or state.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pipeline.contract import codec, names
from pipeline.contract.topics import Declared
from pipeline.kafka.reading import Stored, partitions_of, read_to_end
from pipeline.settings import Settings

Record = dict[str, Any]
_HEADER_BYTES = 5
FINDINGS_MAX: Final = 100
RULES: Final = {
    "chain": "blocks are consecutive and each names the hash of the one before",
    "tiling": "blocks tile every input partition without gap or overlap",
    "inputs": "every decision is about a record that is there, byte for byte",
    "unread": "no record of an input is passed over by the ledger",
    "approved": "every approved verdict has exactly one approved record, and the other way round",
    "sequence": "entity_seq and revisions count without gap",
    "dead_letters": "every dead-lettered verdict has its record, byte-identical to the origin",
}


class Violation(NamedTuple):
    """A rule that does not hold, and where."""

    rule: str
    topic: str
    partition: int
    offset: int
    detail: str

    def __str__(self) -> str:
        """One line for a terminal."""
        return f"{self.rule}: {self.topic}[{self.partition}]@{self.offset}: {self.detail}"


@dataclass
class Report:
    """What was read and what was found."""

    partitions: int = 0
    blocks: int = 0
    records: int = 0
    approved: int = 0
    dead_letters: int = 0
    pending: int = 0
    """Input records that the ledger has not reached yet."""
    unreadable: int = 0
    """Decided records that retention has removed since: their bytes can't be compared."""
    dispositions: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether every rule holds."""
        return not self.violations

    def document(self) -> Record:
        """As one JSON value."""
        return {
            "clean": self.clean,
            "partitions": self.partitions,
            "blocks": self.blocks,
            "records": self.records,
            "approved": self.approved,
            "dead_letters": self.dead_letters,
            "pending": self.pending,
            "unreadable": self.unreadable,
            "dispositions": dict(self.dispositions),
            "reasons": dict(self.reasons),
            "rules": RULES,
            "violations": [item._asdict() for item in self.violations],
        }


class _Ledger:
    """What one partition's ledger says, kept compactly for the comparisons."""

    def __init__(self) -> None:
        self.positions: dict[str, int] = {}
        self.digests: dict[str, dict[int, bytes]] = {}
        self.by_seq: dict[int, bytes] = {}
        self.published: Counter[tuple[str, int]] = Counter()
        self.buried: Counter[bytes] = Counter()
        self.markers: dict[str, list[tuple[int, int]]] = {}


Progress = Callable[[str, int, int], None]


def verify(
    settings: Settings, bootstrap: str, declared: Declared, progress: Progress | None = None
) -> Report:
    """Check every rule over every partition.

    Args:
        settings: security settings pass through.
        bootstrap: bootstrap servers.
        declared: topics.yaml, which says what the inputs are.
        progress: told what is being read, how far, and of how much.

    Raises:
        UnreachableError: Kafka is away.

    """
    report = Report()
    inputs = [topic.name for topic in declared.inputs]
    for number in partitions_of(settings, bootstrap, names.DECISIONS):
        report.partitions += 1
        read = _Reader(settings, bootstrap, number, progress)
        ledger = _walk_ledger(read, report)
        for topic in inputs:
            _compare_input(read, topic, ledger, report)
        _compare_approved(read, ledger, report)
        _compare_dead_letters(read, ledger, report)
    return report


class _Reader(NamedTuple):
    settings: Settings
    bootstrap: str
    partition: int
    progress: Progress | None

    def records(self, topic: str) -> Iterator[Stored]:
        """Every committed record of this partition number of a topic."""
        tell = self.progress
        label = f"{topic}[{self.partition}]"
        return read_to_end(
            self.settings,
            self.bootstrap,
            topic,
            partitions=[self.partition],
            progress=None if tell is None else lambda at, of: tell(label, at, of),
        )


def _flag(report: Report, violation: Violation) -> None:
    if len(report.violations) < FINDINGS_MAX:
        report.violations.append(violation)


def _walk_ledger(read: _Reader, report: Report) -> _Ledger:
    """Chain and tiling, block by block."""
    schema = codec.committed("decision-block")
    ledger = _Ledger()
    expected, seq, chain = 0, 0, ""
    for record in read.records(names.DECISIONS):
        value = record.value or b""

        def wrong(rule: str, detail: str, at: int = record.offset) -> None:
            _flag(report, Violation(rule, names.DECISIONS, read.partition, at, detail))

        try:
            block = codec.decode(value, schema)
        except codec.UndecodableError as error:
            wrong("chain", f"no block: {error}")
            continue
        report.blocks += 1
        if block["block"] != expected:
            wrong("chain", f"block {block['block']} where {expected} is due")
        if block["previous_hash"] != chain:
            wrong("chain", f"block {block['block']} does not name the block before it")
        if block["first_seq"] != seq or block["partition"] != read.partition:
            wrong("chain", f"block {block['block']} begins at {block['first_seq']}, {seq} is due")
        expected, seq = block["block"] + 1, block["first_seq"] + len(block["decisions"])
        chain = hashlib.sha256(value[_HEADER_BYTES:]).hexdigest()
        _tile(block, ledger, wrong)
        _note(block, ledger, report)
    return ledger


def _tile(block: Record, ledger: _Ledger, wrong: Callable[[str, str], None]) -> None:
    decided: dict[int, list[int]] = {}
    for row in block["decisions"]:
        decided.setdefault(row["input"], []).append(row["offset"])
    for index, covered in enumerate(block["inputs"]):
        topic, first, until = covered["topic"], covered["first"], covered["next"]
        due = ledger.positions.get(topic, 0)
        if first != due:
            wrong("tiling", f"{topic} goes on at {first}, {due} is due")
        gaps = [(gap["first"], gap["next"]) for gap in covered["gaps"]]
        ledger.markers.setdefault(topic, []).extend(
            (gap["first"], gap["next"]) for gap in covered["gaps"] if gap["cause"] == "MARKER"
        )
        pieces = sorted([(offset, offset + 1) for offset in decided.pop(index, [])] + gaps)
        at = first
        for start, end in pieces:
            if start != at:
                wrong("tiling", f"{topic}: {at} to {start} is not accounted for exactly once")
            at = end
        if at != until:
            wrong("tiling", f"{topic}: {at} to {until} is not accounted for")
        ledger.positions[topic] = until
    if decided:
        wrong("tiling", f"decisions of inputs that the block does not cover: {sorted(decided)}")


def _note(block: Record, ledger: _Ledger, report: Report) -> None:
    for place, row in enumerate(block["decisions"]):
        report.records += 1
        report.dispositions[row["disposition"]] += 1
        report.reasons[row["reason"]] += 1
        topic = block["inputs"][row["input"]]["topic"]
        ledger.digests.setdefault(topic, {})[row["offset"]] = row["digest"]
        ledger.by_seq[block["first_seq"] + place] = row["digest"]
        if row["revision"]:
            ledger.published[row["milestone_id"], row["revision"]] += 1
        if row["disposition"] == "dead_lettered":
            ledger.buried[row["digest"]] += 1
    for row in block["transitions"]:
        if row["revision"]:
            ledger.published[row["milestone_id"], row["revision"]] += 1
        if row["after"] == "dead_lettered":
            ledger.buried[ledger.by_seq.get(row["seq"], b"")] += 1


def _digest(value: bytes | None) -> bytes:
    return hashlib.blake2b(value or b"", digest_size=16).digest()


def _compare_input(read: _Reader, topic: str, ledger: _Ledger, report: Report) -> None:
    """Ledger against the input's own records."""
    decided = ledger.digests.get(topic, {})
    reached = ledger.positions.get(topic, 0)
    seen = 0
    for record in read.records(topic):
        found = decided.get(record.offset)
        place = (topic, read.partition, record.offset)
        if record.offset >= reached:
            report.pending += 1
        elif found is None:
            _flag(report, Violation("unread", *place, "a record that no decision is about"))
        else:
            seen += 1
            if found != _digest(record.value):
                _flag(report, Violation("inputs", *place, "its bytes are not those decided about"))
    missing = len(decided) - seen
    if missing > 0:
        report.unreadable += missing


def _compare_approved(read: _Reader, ledger: _Ledger, report: Report) -> None:
    """Approved records against verdicts, and their counting."""
    schema = codec.committed("approved-milestone")
    published = Counter(ledger.published)
    sequences: dict[tuple[str, str, str], int] = {}
    revisions: dict[str, int] = {}
    for record in read.records(names.APPROVED):
        report.approved += 1
        place = (names.APPROVED, read.partition, record.offset)
        try:
            body = codec.decode(record.value or b"", schema)
        except codec.UndecodableError as error:
            _flag(report, Violation("approved", *place, f"no approved record: {error}"))
            continue
        name = (body["milestone_id"], body["revision"])
        if published[name] != 1:
            detail = f"{name[0]} r{name[1]} has {published[name]} verdicts left in the ledger"
            _flag(report, Violation("approved", *place, detail))
        published[name] -= 1
        if ledger.by_seq.get(body["ledger_seq"]) is None:
            detail = f"names ledger_seq {body['ledger_seq']}, which is not there"
            _flag(report, Violation("approved", *place, detail))
        entity = (body["tenant"], body["entity_type"], body["entity_id"])
        if body["entity_seq"] != sequences.get(entity, 0) + 1:
            detail = f"entity_seq {body['entity_seq']} after {sequences.get(entity, 0)}"
            _flag(report, Violation("sequence", *place, detail))
        sequences[entity] = body["entity_seq"]
        if body["revision"] != revisions.get(name[0], 0) + 1:
            detail = f"revision {body['revision']} after {revisions.get(name[0], 0)}"
            _flag(report, Violation("sequence", *place, detail))
        revisions[name[0]] = body["revision"]
    for (milestone, revision), left in published.items():
        if left > 0:
            detail = f"{milestone} r{revision} was decided and is not there"
            _flag(report, Violation("approved", names.APPROVED, read.partition, -1, detail))


def _compare_dead_letters(read: _Reader, ledger: _Ledger, report: Report) -> None:
    """Dead letters against verdicts, by the digest of their bytes."""
    buried = Counter(ledger.buried)
    for record in read.records(names.DEAD_LETTER):
        report.dead_letters += 1
        digest = _digest(record.value)
        place = (names.DEAD_LETTER, read.partition, record.offset)
        reason = dict(record.headers).get(f"{names.DEAD_LETTER_PREFIX}reason")
        if buried[digest] < 1:
            detail = f"no verdict dead-lettered these bytes ({(reason or b'?').decode()})"
            _flag(report, Violation("dead_letters", *place, detail))
        buried[digest] -= 1
    left = sum(count for count in buried.values() if count > 0)
    if left:
        detail = f"{left} dead-lettered records are not there as they came"
        _flag(report, Violation("dead_letters", names.DEAD_LETTER, read.partition, -1, detail))
