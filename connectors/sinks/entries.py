"""Entries of the ERP sink's outbox: their states, the ways between them, one entity's book.

Values only. Order within an entity is the order of becoming due: an entry gets its `turn` when
nothing but the ERP keeps it from being booked. Must never know rules, storage or HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from pipeline.governance.vocabulary import Assurance, Classifier


class State(StrEnum):
    """Where an entry of the outbox is."""

    WAITING = "WAITING"  # for a prerequisite
    PENDING = "PENDING"  # for its turn, or for the ERP
    SENDING = "SENDING"  # an attempt is under way, under a lease
    DONE = "DONE"  # the ERP has booked it
    PARKED = "PARKED"  # for a person
    WITHDRAWN = "WITHDRAWN"  # never booked and no longer wanted
    ELSEWHERE = "ELSEWHERE"  # booked, if at all, by other means: by hand, or before the cut-over


TRANSITIONS: Final[Mapping[State | None, frozenset[State]]] = {
    None: frozenset({State.WAITING, State.PENDING, State.PARKED, State.ELSEWHERE}),
    State.WAITING: frozenset({State.PENDING, State.PARKED, State.WITHDRAWN, State.ELSEWHERE}),
    State.PENDING: frozenset({State.WAITING, State.SENDING, State.PARKED, State.WITHDRAWN}),
    State.SENDING: frozenset({State.PENDING, State.DONE, State.PARKED}),
    State.PARKED: frozenset({State.PENDING, State.WITHDRAWN, State.ELSEWHERE}),
    State.ELSEWHERE: frozenset({State.WITHDRAWN}),
    State.DONE: frozenset(),
    State.WITHDRAWN: frozenset(),
}
"""Every way an entry may go; the key None stands for its creation."""

BLOCKING: Final = (State.PENDING.value, State.SENDING.value, State.PARKED.value)
"""States in which an entry that has a turn keeps later ones of its entity waiting."""


class Kind(StrEnum):
    """What an entry does in the ERP."""

    ORIGINAL = "ORIGINAL"
    ADJUSTMENT = "ADJUSTMENT"
    REVERSAL = "REVERSAL"
    UNREADABLE = "UNREADABLE"  # no posting: a record that could not be understood


class Why(StrEnum):
    """Why an entry is where it is; empty if that needs no reason."""

    NONE = ""
    PREREQUISITE = "prerequisite_missing"
    RULE_GONE = "rule_gone"
    HELD_BY_RULE = "held_by_rule"
    STORY_ENDED = "story_ended"
    BOOKED_ELSEWHERE = "booked_elsewhere"
    UNREADABLE = "unreadable"
    REFUSED = "refused_by_erp"
    KEEPS_FAILING = "keeps_failing"
    TRYING_AGAIN = "trying_again"
    RELEASED = "released_by_hand"
    SUPERSEDED = "superseded"
    BY_HAND = "withdrawn_by_hand"


class Taken(StrEnum):
    """What became of one approved record."""

    APPLIED = "applied"
    REPEATED = "repeated"  # known already
    UNRECOGNISED = "unrecognised"  # an action or assurance that this version does not know
    UNREADABLE = "unreadable"  # bytes that are no approved milestone


class IllegalTransitionError(AssertionError):
    """An entry was moved in a way that the table of transitions does not have: our own mistake."""


@dataclass(slots=True)
class Standing:
    """The newest revision of one milestone, as far as prerequisites and repeats need it."""

    milestone_id: str
    event_type: str
    revision: int
    stands: bool
    assurance: str
    classifier: str
    changed: bool = False

    @property
    def counts(self) -> bool:
        """Whether it can fulfil a prerequisite."""
        return (
            self.stands
            and self.assurance == Assurance.AUTHORITATIVE
            and self.classifier == Classifier.ACTUAL
        )


@dataclass(slots=True)
class Entry:
    """One row of the outbox; times in ms UTC."""

    key: str
    partition: int
    milestone_id: str
    revision: int
    posting: str
    endpoint: str
    kind: Kind
    body: dict[str, Any]
    state: State | None = None
    reference: str | None = None
    """Key of the original posting that this one adjusts or reverses."""
    turn: int | None = None
    reason: Why = Why.NONE
    words: str = ""
    attempts: int = 0
    failures: int = 0
    maybe_booked: bool = False
    """Whether an attempt has been made whose outcome is unknown, or succeeded."""
    first_attempt_ms: int | None = None
    id: int | None = None
    changed: bool = False

    @property
    def unsent(self) -> bool:
        """Whether the ERP has provably not booked it, and it can still be taken back."""
        waits = self.state in (State.WAITING, State.PENDING, State.PARKED)
        return waits and not self.maybe_booked

    def move(self, state: State, reason: Why = Why.NONE, words: str = "") -> None:
        """Go to another state.

        Raises:
            IllegalTransitionError: there is no such way.

        """
        if state not in TRANSITIONS[self.state]:
            raise IllegalTransitionError(f"{self.key}: {self.state} to {state}")
        self.state = state
        self.reason = reason
        self.words = words
        self.changed = True


@dataclass(slots=True)
class Book:
    """All that the sink knows of one entity."""

    entity: str
    partition: int
    generation: int = 1
    """Of the entity's story: what stood in an earlier one is no prerequisite any more."""
    split_by: frozenset[str] = frozenset()
    """Milestones that stand and say that the shipment is split into others."""
    begun: bool = False
    """Whether one of these two changed."""
    standing: dict[str, Standing] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)

    def next_turn(self) -> int:
        """The turn after every one given so far."""
        return 1 + max((entry.turn or 0 for entry in self.entries), default=0)

    def trail(self, milestone_id: str, posting: str) -> list[Entry]:
        """Entries of one milestone and posting that have been or may yet be booked, in order."""
        return [
            entry
            for entry in self.entries
            if entry.milestone_id == milestone_id
            and entry.posting == posting
            and entry.state is not State.WITHDRAWN
        ]

    def missing(self, event_types: Iterable[str]) -> list[str]:
        """Those of the event types that don't stand on this entity."""
        there = {item.event_type for item in self.standing.values() if item.counts}
        return [name for name in event_types if name not in there]
