"""Judging again: when stop list, region or start change, every claim is looked at anew.

What waited for that knowledge is placed, what a changed stop list shows to be of another stop moves
there. A claim that the new list can't place stays where it was: what stands is not taken away for
want of knowledge. Must never hold anything that did not wait before.
"""

from __future__ import annotations

from typing import Final

from pipeline.governance.alerts import AlertKind, alert
from pipeline.governance.claims import Claim, Raw
from pipeline.governance.entity import Entity, Held, Occurrence, Spoken
from pipeline.governance.facts import replan
from pipeline.governance.flow import Stage
from pipeline.governance.hearing import hear, speaks
from pipeline.governance.identity import REFERENCE
from pipeline.governance.links import tell
from pipeline.governance.outputs import Telling, Transition
from pipeline.governance.placement import (
    Ended,
    Placed,
    RefusedError,
    Wait,
    locate,
    locate_again,
)
from pipeline.governance.reasons import Reason
from pipeline.governance.references import owner_of
from pipeline.governance.settlement import Reroute, Work, bury, let_go, settle
from pipeline.governance.standing import authority, predecessor_missing
from pipeline.governance.vocabulary import Disposition

UNSEEN: Final = frozenset({Reason.PLATFORM_SUSPENDED.value, Reason.PLATFORM_BRAKED.value})
"""Reasons to hold a claim before anybody has looked at what it says."""


def follow_up(work: Work, entity: Entity, cause: int, hops: int = 0) -> None:
    """What a change of the entity means for its other claims and for linked entities."""
    rejudge(work, entity, cause)
    telling = Telling(hops, work.clock, work.partition, cause)
    work.links += tell(work.policy, entity, telling)


def rejudge(work: Work, entity: Entity, cause: int) -> None:
    """Judge everything again until nothing moves.

    Args:
        work: changed in place.
        entity: changed in place.
        cause: ledger sequence of the record that changed what is known, or `BY_CLOCK`.

    """
    if entity.name.type == REFERENCE and work.moved.pop(entity.key, 0) is None:
        _correlate(work, entity, cause)
    while entity.key in work.moved:
        del work.moved[entity.key]
        left = _move(work, entity)
        _release(work, entity, cause)
        for occurrence in sorted(
            entity.occurrences.values(), key=lambda item: item.name not in left
        ):
            kind = work.policy.catalogue.get(occurrence.event_type)
            if kind is not None and (occurrence.spoken or occurrence.stands):
                settle(work, entity, occurrence, kind, cause, left=left.get(occurrence.name))
        for occurrence in list(entity.occurrences.values()):
            entity.prune(occurrence)


def reopen(work: Work, entity: Entity, cause: int) -> None:
    """Judge the claims that wait again, and what they wait in; the rest stays as it was decided.

    Args:
        work: changed in place.
        entity: changed in place.
        cause: ledger sequence of the record that gives reason to.

    """
    if entity.name.type == REFERENCE:
        _correlate(work, entity, cause)
        return
    waiting = [
        occurrence
        for occurrence in entity.occurrences.values()
        if any(spoken.deadline is not None for spoken in occurrence.voices())
    ]
    heard = _release(work, entity, cause)
    for occurrence in [*waiting, *heard]:
        kind = work.policy.catalogue.get(occurrence.event_type)
        if kind is not None and occurrence.spoken:
            settle(work, entity, occurrence, kind, cause)
    for occurrence in list(entity.occurrences.values()):
        entity.prune(occurrence)


def _move(work: Work, entity: Entity) -> dict[str, Spoken]:
    """Move statements that are of another occurrence than they were.

    Returns:
        By name of an occurrence, the statement that stood there and left.

    """
    left: dict[str, Spoken] = {}
    for occurrence in list(entity.occurrences.values()):
        kind = work.policy.catalogue.get(occurrence.event_type)
        if kind is None or kind.sets_plan:
            continue
        for spoken in list(occurrence.voices()):
            try:
                placed = locate_again(work.policy, entity, spoken.claim, spoken.subject)
            except RefusedError:
                continue
            if not isinstance(placed, Placed):
                continue
            spoken.region, spoken.place = placed.spoken.region, placed.spoken.place
            target = entity.occurrence(placed.kind.name, placed.discriminator)
            if target is occurrence:
                continue
            occurrence.drop(spoken)
            if spoken.claim.seq == occurrence.claim_seq or occurrence.name not in left:
                left[occurrence.name] = spoken
            spoken.restates = False
            hear(target, spoken)
    return left


def _release(work: Work, entity: Entity, cause: int) -> list[Occurrence]:
    """Place the claims that waited for this: tenders, statements, what takes them back.

    Returns:
        Occurrences that have heard one.

    """
    heard: list[Occurrence] = []
    for held in sorted(entity.held, key=_turn):
        if _held_back(work, held):
            continue
        try:
            found = _located(work, entity, held)
        except RefusedError as fault:
            _end(work, entity, held, cause, Disposition.DEAD_LETTERED, fault.reason)
            bury(work, entity, held.claim, fault.reason, str(fault), fault.stage)
            entity.unsee(held.claim)
            continue
        if isinstance(found, Placed):
            entity.held.remove(held)
            heard.append(_take_up(work, entity, held, found, cause))
        elif isinstance(found, Ended):
            event_type = found.event_type
            _end(work, entity, held, cause, found.disposition, found.reason, event_type)
        elif found.reason != held.reason:
            work.transitions.append(
                _transition(entity, held, cause, Disposition.HELD, found.reason)
            )
            _wait_on(held, found)
    return heard


def _held_back(work: Work, held: Held) -> bool:
    """Whether a claim waits because its platform is held back, and that still is.

    Whatever for: one that was braked may have been suspended since.
    """
    return held.reason in UNSEEN and held.claim.body["platform"] in work.trust.held_back


def _located(work: Work, entity: Entity, held: Held) -> Placed | Wait | Ended:
    """The place of a claim that waited; one that was kept unseen is seen in full now."""
    platform = work.policy.platforms.get(held.claim.body["platform"])
    if held.reason in UNSEEN and platform is not None:
        return locate(work.policy, entity, held.claim, platform, work.clock)
    return locate_again(work.policy, entity, held.claim, held.subject)


def _correlate(work: Work, entity: Entity, cause: int) -> None:
    """Send the claims that waited under a reference on to what it names, in the order they came."""
    for held in sorted(entity.held, key=lambda item: item.claim.seq):
        if _held_back(work, held):
            continue
        owner = owner_of(work.policy, entity, held.claim)
        if not isinstance(owner, Reason):
            try:
                send_on(work, entity, held.claim, owner)
            except RefusedError as fault:
                _end(work, entity, held, cause, Disposition.DEAD_LETTERED, fault.reason)
                bury(work, entity, held.claim, fault.reason, str(fault), fault.stage)
            else:
                _end(work, entity, held, cause, Disposition.REROUTED, Reason.REFERENCE_BOUND)
            entity.unsee(held.claim)
        elif owner != held.reason:
            row = _transition(entity, held, cause, Disposition.HELD, owner)
            work.transitions.append(row)
            held.reason = owner.value
            held.deadline = held.claim.origin.received + work.policy.limits.reference_ms
            if owner is Reason.REFERENCE_CONFLICT:
                at = held.claim.origin.received
                work.alerts.append(alert(AlertKind.REFERENCE_CONFLICT, at, entity=entity))


def send_on(work: Work, entity: Entity, claim: Claim, owner: str) -> None:
    """Send a claim that knows a reference only on to what that names.

    Raises:
        RefusedError: it has been sent on too often.

    """
    if claim.hops >= work.policy.limits.hops_max:
        raise RefusedError(Reason.TOO_MANY_HOPS, f"{claim.hops} hops", Stage.REFERENCE, entity.key)
    raw = claim.raw or Raw(entity.key.encode(), None, ())
    work.reroutes.append(Reroute(owner, raw, claim.origin, claim.hops + 1))


def _turn(held: Held) -> tuple[bool, bool, int]:
    retracts = held.claim.body["retracts"] is not None
    return retracts, not held.subject["stops"], held.claim.seq


def _wait_on(held: Held, wait: Wait) -> None:
    held.subject, held.reason = wait.subject, wait.reason.value
    held.deadline = held.claim.origin.received + wait.wait_ms


def _take_up(work: Work, entity: Entity, held: Held, placed: Placed, cause: int) -> Occurrence:
    """Let an occurrence hear a claim that waited; a tender is settled at once."""
    occurrence = entity.occurrence(placed.kind.name, placed.discriminator)
    spoken = placed.spoken
    spoken.fate, spoken.reason = Disposition.HELD.value, held.reason
    why, replaced = hear(occurrence, spoken)
    if replaced is not None and replaced.fate == Disposition.HELD:
        work.transitions.append(replaced_row(entity, occurrence, replaced, cause))
    if why is not None:
        disposition = settled_as(why)
        work.transitions.append(_transition(entity, held, cause, disposition, why, occurrence))
        spoken.fate, spoken.reason = disposition.value, why.value
        spoken.claim.raw = None
        newer(work, entity, occurrence, placed, cause, why)
    elif placed.kind.sets_plan:
        settle(work, entity, occurrence, placed.kind, cause)
        replan(work.policy, entity)
        work.moved[entity.key] = None
    return occurrence


def newer(
    work: Work, entity: Entity, occurrence: Occurrence, placed: Placed, cause: int, why: Reason
) -> None:
    """See to what a claim that says nothing new changes all the same.

    A statement made once more is the newer of two owners'; an older plan may tell what the newest
    is silent on; an owner's older word was said, though it has been taken back since.
    """
    kind = placed.kind
    if why is Reason.RESTATED and len(occurrence.spoken) > 1:
        settle(work, entity, occurrence, kind, cause)
    if kind.sets_plan and replan(work.policy, entity):
        work.moved[entity.key] = work.told[entity.key] = None
    if why is Reason.OLDER_THAN_CURRENT and kind.name not in entity.said:
        _was_said(work, entity, occurrence, placed, cause)


def _was_said(
    work: Work, entity: Entity, occurrence: Occurrence, placed: Placed, cause: int
) -> None:
    """Note that an owner said something, where its denial was read first."""
    kind, spoken = placed.kind, placed.spoken
    name = spoken.claim.body["platform"]
    denied = not spoken.retracts and speaks(occurrence.spoken[name]).retracts
    if not denied or predecessor_missing(entity, kind):
        return
    rule = authority(work.policy, entity, kind, spoken.claim, spoken.region)
    if not isinstance(rule, Reason) and rule.owner == name:
        entity.said.add(kind.name)
        let_go(work, entity, kind, cause)


def settled_as(why: Reason) -> Disposition:
    """Disposition of a claim that changes nothing."""
    return Disposition.STALE if why is Reason.OLDER_THAN_CURRENT else Disposition.DUPLICATE


def replaced_row(entity: Entity, occurrence: Occurrence, spoken: Spoken, cause: int) -> Transition:
    """What becomes of a claim that waited when its platform says something newer."""
    body = spoken.claim.body
    return Transition(
        spoken.claim.seq,
        cause,
        Disposition.HELD.value,
        Disposition.STALE.value,
        Reason.REPLACED_BY_NEWER.value,
        entity=entity.key,
        event_type=occurrence.event_type,
        milestone_id=occurrence.milestone_id,
        platform=body["platform"],
        claim=body["event_id"],
    )


def _end(
    work: Work,
    entity: Entity,
    held: Held,
    cause: int,
    disposition: Disposition,
    reason: Reason,
    event_type: str = "",
) -> None:
    entity.held.remove(held)
    row = _transition(entity, held, cause, disposition, reason)
    work.transitions.append(row._replace(event_type=event_type))


def _transition(
    entity: Entity,
    held: Held,
    cause: int,
    after: Disposition,
    reason: Reason,
    occurrence: Occurrence | None = None,
) -> Transition:
    body = held.claim.body
    return Transition(
        held.claim.seq,
        cause,
        Disposition.HELD.value,
        after.value,
        reason.value,
        entity=entity.key,
        event_type="" if occurrence is None else occurrence.event_type,
        milestone_id="" if occurrence is None else occurrence.milestone_id,
        platform=body["platform"],
        claim=body["event_id"],
    )
