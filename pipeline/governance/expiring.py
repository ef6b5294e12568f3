"""What the clock does: deputies stand in, waits end, each at its own deadline.

Must never read a record that comes in.
"""

from __future__ import annotations

from typing import Final

from pipeline.governance.claims import Claim
from pipeline.governance.entity import Entity, Occurrence, Spoken
from pipeline.governance.outputs import Transition
from pipeline.governance.reasons import Reason
from pipeline.governance.rejudging import follow_up, rejudge
from pipeline.governance.settlement import BY_CLOCK, EXPIRING, Work, bury, settle
from pipeline.governance.vocabulary import Disposition

EXPIRES_AS: Final = {Reason.AWAITING_TARGET.value: Reason.RETRACTION_TARGET_UNKNOWN}
"""Reasons of dead letters that differ from what was waited for."""


def reach(work: Work, entity: Entity) -> None:
    """Let the clock act on an entity with a deadline that has passed: deputies stand in, waits end.

    Deadlines act one after the other, each at its own time: how far the clock moves at once makes
    no difference.

    Args:
        work: its clock has moved.
        entity: changed in place.

    """
    work.touched[entity.key] = entity
    until, moment = work.time, work.since
    acted: set[tuple[int, int]] = set()
    while True:
        waiting = (item for item in entity.deadlines() if item not in acted)
        due = min(waiting, default=None)
        if due is None or due[0] > until.newest:
            break
        acted.add(due)
        moment = max(moment, due[0])
        work.time = until.at(moment)
        _expire(work, entity)
        rejudge(work, entity, BY_CLOCK)
    work.time = until
    follow_up(work, entity, BY_CLOCK)


def _expire(work: Work, entity: Entity) -> None:
    """What falls due at the clock."""
    for held in [held for held in entity.held if held.deadline <= work.clock]:
        entity.held.remove(held)
        reason = EXPIRES_AS.get(held.reason, Reason(held.reason))
        row = _clock_row(entity, held.claim, Disposition.DEAD_LETTERED, reason)
        work.transitions.append(row)
        _waited_in_vain(work, entity, held.claim, reason)
    newest = work.time.newest
    for occurrence in list(entity.occurrences.values()):
        due = [
            spoken
            for spoken in occurrence.voices()
            if spoken.deadline is not None and spoken.deadline <= newest
        ]
        if due:
            _fall_due(work, entity, occurrence, due)


def _fall_due(work: Work, entity: Entity, occurrence: Occurrence, due: list[Spoken]) -> None:
    kind = work.policy.catalogue.get(occurrence.event_type)
    for spoken in due:
        claim, reason = spoken.claim, Reason(spoken.reason)
        if reason in EXPIRING:
            if (spoken.deadline or 0) > work.clock:
                continue
            row = _clock_row(entity, claim, Disposition.DEAD_LETTERED, reason, occurrence)
            work.transitions.append(row)
            occurrence.drop(spoken)
            _waited_in_vain(work, entity, claim, reason)
        elif kind is None:
            unknown = Reason.UNKNOWN_EVENT_TYPE
            row = _clock_row(entity, claim, Disposition.OVERRULED, unknown, occurrence)
            work.transitions.append(row)
            spoken.fate, spoken.reason = Disposition.OVERRULED.value, unknown.value
            spoken.deadline = None
    if kind is not None and occurrence.spoken:
        settle(work, entity, occurrence, kind, BY_CLOCK)
    entity.prune(occurrence)


def _waited_in_vain(work: Work, entity: Entity, claim: Claim, reason: Reason) -> None:
    entity.unsee(claim)
    bury(work, entity, claim, reason, f"waited until its deadline: {reason.value}")


def _clock_row(
    entity: Entity,
    claim: Claim,
    after: Disposition,
    reason: Reason,
    occurrence: Occurrence | None = None,
) -> Transition:
    """The row of a claim whose wait is over."""
    return Transition(
        claim.seq,
        BY_CLOCK,
        Disposition.HELD.value,
        after.value,
        reason.value,
        entity=entity.key,
        event_type="" if occurrence is None else occurrence.event_type,
        milestone_id="" if occurrence is None else occurrence.milestone_id,
        platform=claim.body["platform"],
        claim=claim.body["event_id"],
    )
