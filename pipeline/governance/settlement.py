"""From what stands to what is said: the difference between a judgement and what stood before.

Publishes revisions and records transitions: each revision is carried by exactly one row of the
ledger, the verdict on the record that is taken or a transition of an earlier one. Must never read a
record that is not already a claim.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from pipeline.governance.alerts import on_revision
from pipeline.governance.claims import Claim, Origin, Raw, adds, same_time, within
from pipeline.governance.clock import Clock
from pipeline.governance.entity import Entity, Occurrence, Spoken
from pipeline.governance.facts import after_cancel, progress, replan
from pipeline.governance.flow import Stage
from pipeline.governance.hearing import refine
from pipeline.governance.outputs import (
    Publication,
    Record,
    Transition,
    add_references,
    approved_record,
    flags_of,
)
from pipeline.governance.policy import EventType, Policy
from pipeline.governance.reasons import Reason
from pipeline.governance.rows import NOBODY, Rows, Step
from pipeline.governance.standing import Fate, Judgement, judge
from pipeline.governance.trust import Trust
from pipeline.governance.vocabulary import (
    Action,
    Assurance,
    Cardinality,
    Disposition,
)

BY_CLOCK: Final = -1
"""Cause of a transition that time made."""


class Entities(Protocol):
    """The entities of one partition."""

    def open(self, key: str) -> Entity:
        """The entity with this key; made if there is none. The caller may change it."""

    def __contains__(self, key: str) -> bool:
        """Whether there is state for this key."""

    def waiting(self, text: str = "") -> list[str]:
        """Keys of entities with open claims; of those whose state holds a text."""


class DeadLetter(NamedTuple):
    """A record that could not be governed."""

    raw: Raw
    origin: Origin
    reason: Reason
    detail: str
    stage: Stage
    entity: str
    seq: int


class Reroute(NamedTuple):
    """A record for another partition."""

    key: str
    raw: Raw
    origin: Origin
    hops: int


@dataclass
class Work:
    """One run of the kernel: what it works with, and what it has to say so far."""

    policy: Policy
    partition: int
    partitions: int
    entities: Entities
    time: Clock
    redeciding: bool = False
    """Whether the past is decided again on request."""
    activated: bool = True
    """Whether the partition has had its first activation."""
    trust: Trust = field(default_factory=Trust)
    """Which platforms are held back."""
    reopening: dict[str, int] = field(default_factory=dict)
    """Keys of entities whose open claims are still to be judged again, and by what cause."""
    approved: list[Any] = field(default_factory=list)
    """Approved records; those of the plain path are encoded already. So are its links."""
    transitions: list[Transition] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    reroutes: list[Reroute] = field(default_factory=list)
    links: list[Any] = field(default_factory=list)
    alerts: list[Record] = field(default_factory=list)
    touched: dict[str, Entity | None] = field(default_factory=dict)
    """Entities that have changed, in order; None: the plain path has it."""
    told: dict[str, None] = field(default_factory=dict)
    """Keys of entities whose story changed, in order."""
    moved: dict[str, None] = field(default_factory=dict)
    """Keys of entities whose plan, start or region changed: all their claims are judged again."""
    since: int = field(init=False)
    """The clock at the beginning of the run."""

    def __post_init__(self) -> None:
        self.since = self.clock

    @property
    def clock(self) -> int:
        """Append time up to which every input has been read, ms UTC."""
        return self.time.all


class Settled:
    """What came of settling an occurrence."""

    __slots__ = ("fates", "revision")

    def __init__(
        self,
        fates: dict[str, Fate],
        revision: int,
    ) -> None:
        self.fates = fates
        """Of each platform's latest claim."""
        self.revision = revision
        """Revision that the claim carries whose verdict is being made; 0: none."""


def settle(
    work: Work,
    entity: Entity,
    occurrence: Occurrence,
    kind: EventType,
    cause: int,
    *,
    own: int = NOBODY,
    left: Spoken | None = None,
) -> Settled:
    """Judge an occurrence and say what changed.

    Args:
        work: changed in place.
        entity: changed in place.
        occurrence: changed in place.
        kind: its event type.
        cause: ledger sequence of the record that caused it, or `BY_CLOCK`.
        own: ledger sequence of the claim whose verdict is being made.
        left: the claim that stood here and is found to be of another occurrence.

    """
    judgement = judge(work.policy, entity, occurrence, kind, work.time)
    rows = Rows(work.transitions, entity, occurrence, cause, own, left)
    steps = _difference(occurrence, kind, judgement, left)
    if work.redeciding:
        for step in steps:
            step.reason = Reason.REDECIDED
    news = occurrence.event_type not in entity.said
    for step in steps:
        stood = rows.standing()
        revision = _publish(work, entity, occurrence, kind, judgement, step)
        rows.note(step, stood, revision)
    if judgement.winner is not None and (occurrence.revision or not judgement.retracted):
        entity.said.add(kind.name)
        refine(occurrence, judgement.winner)
    for name, fate in judgement.fates.items():
        _apply(rows, judgement.latest[name], occurrence.spoken[name], fate)
    mine = rows.finish()
    if news and kind.name in entity.said:
        let_go(work, entity, kind, cause)
    return Settled(judgement.fates, mine)


def _apply(rows: Rows, latest: Spoken, voices: list[Spoken], fate: Fate) -> None:
    """Give a platform's latest claim its fate; a claim that waited and no longer does, moves on."""
    for spoken in voices:
        if spoken.claim is not latest.claim:
            if spoken.fate == Disposition.HELD:
                rows.move(spoken, Disposition.STALE.value, Reason.REPLACED_BY_NEWER)
                spoken.fate, spoken.reason = Disposition.STALE.value, Reason.REPLACED_BY_NEWER.value
            spoken.deadline = spoken.claim.raw = None
            continue
        held = spoken.fate == Disposition.HELD and spoken.claim.seq != rows.own
        changed = (spoken.fate, spoken.reason) != (fate.disposition, fate.reason)
        waits = fate.disposition is Disposition.HELD and spoken.fate not in {"", fate.disposition}
        moves = (held and changed) or waits or rows.carries(spoken)
        if moves:
            rows.move(spoken, fate.disposition.value, fate.reason, fate.rule)
        if moves or not spoken.fate or spoken.claim.seq == rows.own:
            spoken.fate = fate.disposition.value
        spoken.reason = fate.reason.value
        spoken.deadline = fate.deadline
        if fate.reason not in EXPIRING:
            spoken.claim.raw = None


EXPIRING: Final = frozenset({Reason.AWAITING_PREDECESSOR})
"""Waits inside an occurrence that end in the dead letter when their deadline passes."""


def bury(
    work: Work,
    entity: Entity,
    claim: Claim,
    reason: Reason,
    detail: str,
    stage: Stage = Stage.HOLD,
) -> None:
    """Send a claim that waited in vain to the dead letter."""
    kept = claim.raw or Raw(entity.key.encode(), None, ())
    work.dead_letters.append(
        DeadLetter(kept, claim.origin, reason, detail, stage, entity.key, claim.seq)
    )


def _difference(
    occurrence: Occurrence, kind: EventType, judgement: Judgement, left: Spoken | None
) -> list[Step]:
    """What to publish, if anything.

    From AUTHORITATIVE to PROVISIONAL it takes two steps: who reads only what owners vouch for must
    see that it is gone.
    """
    winner = judgement.winner
    if winner is None or judgement.retracted:
        return [_retraction(occurrence, judgement, left)] if occurrence.stands else []
    assurance = judgement.assurance
    authoritative = assurance is Assurance.AUTHORITATIVE
    if not occurrence.stands:
        said = judgement.fates[winner.claim.body["platform"]].reason
        reason = Reason.ASSERTED_ANEW if occurrence.revision else said
        return [Step(Action.ASSERT, assurance, reason, winner)]
    if authoritative and occurrence.assurance == Assurance.PROVISIONAL:
        agreed = not adds(winner.content, occurrence.content) and within(
            winner.occurred,
            winner.precision,
            occurrence.occurred,
            occurrence.precision,
            judgement.tolerance_ms,
        )
        if agreed:
            return [Step(Action.CONFIRM, assurance, Reason.OWNER_CONFIRMED_DEPUTY, winner)]
        return [Step(Action.CORRECT, assurance, Reason.OWNER_CORRECTED_DEPUTY, winner)]
    if not authoritative and occurrence.assurance == Assurance.AUTHORITATIVE:
        return [
            _retraction(occurrence, judgement, left),
            Step(Action.ASSERT, assurance, Reason.ASSERTED_ANEW, winner),
        ]
    if winner.claim.seq == occurrence.claim_seq or _stands_already(occurrence, winner):
        return []
    if kind.cardinality is Cardinality.STREAM:
        return [Step(Action.ASSERT, assurance, Reason.ESTIMATE_UPDATED, winner)]
    if authoritative:
        same = winner.claim.body["platform"] == occurrence.platform
        reason = Reason.OWNER_CORRECTED if same else Reason.OWNER_CHANGED
    elif winner.claim.body["platform"] == occurrence.platform:
        reason = Reason.DEPUTY_CORRECTED
    else:
        reason = Reason.BETTER_DEPUTY
    return [Step(Action.CORRECT, assurance, reason, winner)]


def _stands_already(occurrence: Occurrence, winner: Spoken) -> bool:
    """Whether the platform that stands says what stands, by another claim."""
    return (
        winner.claim.body["platform"] == occurrence.platform
        and same_time(winner.occurred, winner.precision, occurrence.occurred, occurrence.precision)
        and not adds(winner.content, occurrence.content)
    )


def _retraction(occurrence: Occurrence, judgement: Judgement, left: Spoken | None) -> Step:
    """The step that takes back what stands, told by who took it back, else by who had said it."""
    assurance = Assurance(occurrence.assurance)
    if judgement.retracted and judgement.winner is not None:
        return Step(
            Action.RETRACT, judgement.assurance, Reason.RETRACTED_BY_AUTHOR, judgement.winner
        )
    author = judgement.latest.get(occurrence.platform)
    if author is not None and author.retracts:
        return Step(Action.RETRACT, assurance, Reason.RETRACTED_BY_AUTHOR, author)
    stood = next(
        (item for item in occurrence.voices() if item.claim.seq == occurrence.claim_seq), None
    )
    if stood is None and left is not None:
        return Step(Action.RETRACT, assurance, Reason.STOP_CHANGED, left)
    spoken = stood or author or next(occurrence.voices())
    return Step(Action.RETRACT, assurance, Reason.NO_LONGER_ENTITLED, spoken)


def _publish(
    work: Work,
    entity: Entity,
    occurrence: Occurrence,
    kind: EventType,
    judgement: Judgement,
    step: Step,
) -> int:
    """Publish the next revision.

    Returns:
        Its number.

    """
    spoken = step.spoken
    claim = spoken.claim
    first = occurrence.revision == 0
    previous = (occurrence.event_id, None if first else occurrence.published)
    missing = [name for name in kind.predecessors if entity.standing[name] <= 0] if first else []
    cancelled = after_cancel(work.policy, entity, kind, spoken.occurred)
    flags = flags_of(entity, kind, spoken, first=first, after_cancel=cancelled)
    occurrence.revision += 1
    entity.set_standing(occurrence, stands=step.action is not Action.RETRACT)
    occurrence.platform = claim.body["platform"]
    occurrence.assurance = step.assurance.value
    occurrence.action = step.action.value
    occurrence.published = spoken.occurred
    occurrence.occurred, occurrence.precision = spoken.occurred, spoken.precision
    occurrence.content = spoken.content
    occurrence.claim_seq = claim.seq
    occurrence.claim_id = claim.body["event_id"]
    entity.seq += 1
    occurrence.seq = entity.seq
    entity.received = max(entity.received, claim.origin.received)
    own = claim.body["reference"]
    add_references(entity, [*claim.body["references"], *([] if own is None else [own])])
    if kind.sets_plan and replan(work.policy, entity):
        work.moved[entity.key] = None
    rank = entity.rank
    entity.rank, entity.status = progress(work.policy, entity)
    publication = Publication(
        step.action,
        step.assurance,
        step.reason.value,
        judgement,
        flags,
        missing,
        advances=entity.rank > rank,
    )
    record = approved_record(
        work.policy, work.partition, entity, occurrence, spoken, publication, previous
    )
    work.approved.append(record)
    work.alerts += on_revision(work.policy, entity, occurrence, kind, record)
    work.told[entity.key] = None
    return occurrence.revision


def let_go(work: Work, entity: Entity, kind: EventType, cause: int) -> None:
    """Settle the strict occurrences that waited for this event type."""
    if kind.name not in work.policy.awaited:
        return
    for other in list(entity.occurrences.values()):
        waiting = work.policy.catalogue.get(other.event_type)
        if waiting is None or other.revision or kind.name not in waiting.predecessors:
            continue
        if waiting.strict and other.spoken:
            settle(work, entity, other, waiting, cause)
