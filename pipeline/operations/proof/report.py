"""What an audit read and what it found.

Must never judge.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

Record = dict[str, Any]
FINDINGS_MAX: Final = 20
"""Violations of one rule that are told one by one; the rest is counted."""
RULES: Final = {
    "chain": "blocks are consecutive and each names the hash of the one before",
    "tiling": "blocks tile every input without gap or overlap",
    "counts": "verdicts add up to the records of every input",
    "inputs": "every verdict is about a record that is there, byte for byte",
    "unread": "no record of an input is passed over",
    "lost": "retention took no record before it was read",
    "approved": "every approved verdict has exactly one approved record, and the other way round",
    "carried": "an approved record carries what its claim says",
    "altered": "approved records are byte for byte those that the ledger vouches for",
    "sequence": "entity_seq and revisions count without gap, in order",
    "status": "each entity's current story is as far as its approved records",
    "dead_letters": "every dead-lettered verdict has its record, byte for byte, in order",
    "torn": "every transaction stands whole: its blocks and what they decided",
    "rerouted": "every rerouted verdict has exactly one re-keyed record",
    "state": "the workers' state is the one that the ledger vouches for",
}


DEEP_RULES: Final = {
    "replayed": "deciding everything anew gives the same blocks, approved records and state",
    "derived": "dead letters, alerts, stories, links and re-keyed records follow from them",
}
"""What a replay adds."""


class Violation(NamedTuple):
    """A rule that does not hold, and where; offset -1: nowhere in particular."""

    rule: str
    topic: str
    partition: int
    offset: int
    detail: str

    def __str__(self) -> str:
        """One line for a terminal."""
        where = f"{self.topic}[{self.partition}]" + ("" if self.offset < 0 else f"@{self.offset}")
        return f"{self.rule}: {where}: {self.detail}"


class Beyond(NamedTuple):
    """Decided records of a topic that retention has removed since: not compared any more."""

    topic: str
    partition: int
    records: int


class Input(NamedTuple):
    """How one input adds up: records that are there, and what the ledger says of them."""

    topic: str
    partition: int
    records: int
    decided: int
    pending: int
    """Not decided when the ledger was read."""


class TakenOver(NamedTuple):
    """A partition that was not read again: an earlier run has proven it up to here."""

    partition: int
    proven_ms: int
    """When, ms UTC."""
    blocks: int
    offset: int
    """Of the ledger, behind the last block that was proven."""
    since: int
    """Offsets of the ledger that have come since and were not read."""


class Replayed(NamedTuple):
    """How far a partition was decided anew."""

    partition: int
    blocks: int
    of: int
    why: str
    """Why not to the end; else empty."""


@dataclass
class Report:
    """What was read and what was found."""

    partitions: int = 0
    blocks: int = 0
    records: int = 0
    decided_ms: int = 0
    """When the newest block was appended, ms UTC; 0: there is none."""
    approved: int = 0
    dead_letters: int = 0
    lost: int = 0
    """Offsets that retention took before they were read; the ledger says so."""
    inputs: list[Input] = field(default_factory=list)
    beyond: list[Beyond] = field(default_factory=list)
    dispositions: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    """Violations by rule."""
    violations: list[Violation] = field(default_factory=list)
    first: dict[str, Violation] = field(default_factory=dict)
    """By broken rule: where it is broken first, by partition and offset."""
    taken_over: list[TakenOver] = field(default_factory=list)
    deep: bool = False
    """Whether everything was decided anew."""
    replayed: list[Replayed] = field(default_factory=list)
    _named: Counter[str] = field(default_factory=Counter)
    """Violations that are told, by rule."""

    @property
    def rules(self) -> dict[str, str]:
        """What was checked, in words."""
        return RULES | DEEP_RULES if self.deep else RULES

    @property
    def clean(self) -> bool:
        """Whether every rule holds."""
        return not self.broken

    @property
    def pending(self) -> int:
        """Input records that were not decided when the ledger was read."""
        return sum(item.pending for item in self.inputs)

    @property
    def unreadable(self) -> int:
        """Decided records that retention has removed since."""
        return sum(item.records for item in self.beyond)

    def flag(self, rule: str, topic: str, partition: int, offset: int, detail: str) -> None:
        """Note a violation."""
        self._note(Violation(rule, topic, partition, offset, detail))
        self.broken[rule] += 1

    def _note(self, violation: Violation) -> None:
        rule, first = violation.rule, self.first.get(violation.rule)
        if first is None or _place(violation) < _place(first):
            self.first[rule] = violation
        if self._named[rule] < FINDINGS_MAX:
            self._named[rule] += 1
            self.violations.append(violation)

    def merge(self, part: Report) -> None:
        """Take in what was found of one more partition."""
        for violation in [*part.first.values(), *part.violations]:
            if violation not in self.violations:
                self._note(violation)
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(part, name))
        self.decided_ms = max(self.decided_ms, part.decided_ms)

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
            "decided_last": self.decided_ms,
            "lost": self.lost,
            "unreadable": self.unreadable,
            "beyond_retention": [item._asdict() for item in self.beyond],
            "inputs": [item._asdict() for item in self.inputs],
            "dispositions": dict(self.dispositions),
            "reasons": dict(self.reasons),
            "taken_over": [item._asdict() for item in self.taken_over],
            "replayed": [item._asdict() for item in self.replayed],
            "rules": self.rules,
            "first": {rule: item._asdict() for rule, item in self.first.items()},
            "broken": dict(self.broken),
            "violations": [item._asdict() for item in self.violations],
        }


_SUMS: Final = (
    "partitions",
    "blocks",
    "records",
    "approved",
    "dead_letters",
    "lost",
    "inputs",
    "beyond",
    "taken_over",
    "replayed",
    "dispositions",
    "reasons",
    "broken",
)


def _place(violation: Violation) -> tuple[int, bool, int]:
    """Where it is, in order; what is nowhere in particular comes last."""
    return violation.partition, violation.offset < 0, violation.offset
