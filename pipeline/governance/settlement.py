"""From what stands to what is said: the difference between a judgement and what stood before.

Publishes revisions, records transitions, follows consequences inside the entity and sends links to
others. Must never read a record that is not already a claim.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from pipeline.governance.claims import Origin, Raw, within
from pipeline.governance.entity import Entity, Occurrence, Spoken
from pipeline.governance.identity import entity_key, normalise
from pipeline.governance.occurrence import plan_stops
from pipeline.governance.outputs import (
    Publication,
    Record,
    Transition,
    add_references,
    approved_record,
    flags_of,
    link_record,
)
from pipeline.governance.policy import EventType, Policy
from pipeline.governance.reasons import Reason
from pipeline.governance.standing import Fate, Judgement, content, judge
from pipeline.governance.vocabulary import (
    Action,
    Assurance,
    Cardinality,
    Change,
    Disposition,
    EntityType,
    LinkKind,
)

CLOCK: Final = -1
"""Cause of a transition that time made."""


class Entities(Protocol):
    """The entities of one partition."""

    def open(self, key: str) -> Entity:
        """The entity with this key; made if there is none. The caller may change it."""

    def __contains__(self, key: str) -> bool:
        """Whether there is state for this key."""


class DeadLetter(NamedTuple):
    """A record that could not be governed."""

    raw: Raw
    origin: Origin
    reason: Reason
    detail: str
    stage: str
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
    clock: int
    activated: bool = True
    """Whether the partition has had its first activation."""
    approved: list[Record] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    reroutes: list[Reroute] = field(default_factory=list)
    links: list[Record] = field(default_factory=list)
    touched: dict[str, Entity] = field(default_factory=dict)
    told: dict[str, None] = field(default_factory=dict)
    """Keys of entities whose story changed, in order."""
    replanned: dict[str, None] = field(default_factory=dict)
    """Keys of entities that have a new stop list, so that claims held for it can be placed."""


_CHANGES: Final = {
    Action.CONFIRM: Change.CONFIRMED,
    Action.CORRECT: Change.CORRECTED,
    Action.RETRACT: Change.RETRACTED,
}
"""What becomes of the claim that stood, by the action of the revision that follows it."""


def settle(
    work: Work, entity: Entity, occurrence: Occurrence, kind: EventType, cause: int, hops: int = 0
) -> tuple[dict[str, Fate], int]:
    """Judge an occurrence and say what changed.

    Args:
        work: changed in place.
        entity: changed in place.
        occurrence: changed in place.
        kind: its event type.
        cause: ledger sequence of the record that caused it, or `CLOCK`.
        hops: links that led here.

    Returns:
        Fate of each platform's latest claim, and the revision published (0: none).

    """
    judgement = judge(work.policy, entity, occurrence, kind, work.clock)
    before = (entity.region, entity.start, entity.status, len(entity.orders))
    revision = _publish(work, entity, occurrence, kind, judgement, cause)
    for name, fate in judgement.fates.items():
        _apply(work, entity, occurrence, name, fate, cause, revision)
    if revision:
        _follow(work, entity, kind, before, cause, hops)
    return judgement.fates, revision


def _apply(
    work: Work,
    entity: Entity,
    occurrence: Occurrence,
    name: str,
    fate: Fate,
    cause: int,
    revision: int,
) -> None:
    """Give a platform's latest claim its fate; a claim that waited and no longer does, moves on."""
    spoken = occurrence.spoken[name]
    claim = spoken.claim
    waited = spoken.fate == Disposition.HELD and claim.seq != cause
    spoken.fate, spoken.reason = fate.disposition.value, fate.reason.value
    spoken.deadline = fate.deadline
    if waited and fate.disposition is not Disposition.HELD:
        carried = occurrence.claim_seq == claim.seq
        work.transitions.append(
            Transition(
                claim.seq,
                cause,
                Disposition.HELD.value,
                fate.disposition.value,
                fate.reason.value,
                fate.rule,
                entity.key,
                occurrence.event_type,
                occurrence.milestone_id,
                revision if carried else 0,
                name,
                claim.body["event_id"],
            )
        )
    if fate.disposition is Disposition.DEAD_LETTERED:
        if waited:
            bury(work, entity, claim.seq, claim.raw, claim.origin, fate.reason)
        del occurrence.spoken[name]
    elif fate.reason not in EXPIRING:
        claim.raw = None


EXPIRING: Final = frozenset(
    {Reason.REGION_UNRESOLVED, Reason.AWAITING_PREDECESSOR, Reason.STOP_UNRESOLVED}
    | {Reason.UNCORRELATED}
)
"""Waits that end in the dead letter when their deadline passes."""


def bury(
    work: Work, entity: Entity, seq: int, raw: Raw | None, origin: Origin, reason: Reason
) -> None:
    """Send a claim that waited in vain to the dead letter."""
    kept = raw or Raw(entity.key.encode(), None, ())
    detail = f"waited until its deadline: {reason.value}"
    work.dead_letters.append(DeadLetter(kept, origin, reason, detail, "hold", entity.key, seq))


class _Step(NamedTuple):
    action: Action
    reason: Reason
    spoken: Spoken


def _difference(occurrence: Occurrence, kind: EventType, judgement: Judgement) -> _Step | None:
    """What to publish, if anything."""
    winner = judgement.winner
    if winner is None or judgement.retracted:
        if not occurrence.stands:
            return None
        spoken = winner or occurrence.spoken.get(occurrence.platform)
        if spoken is None:
            spoken = next(iter(occurrence.spoken.values()))
        taken_back = spoken.claim.body["retracts"] is not None
        reason = Reason.RETRACTED_BY_AUTHOR if taken_back else Reason.NO_LONGER_ENTITLED
        return _Step(Action.RETRACT, reason, spoken)
    authoritative = judgement.assurance is Assurance.AUTHORITATIVE
    if not occurrence.stands:
        reason = Reason.OWNER_SPOKE if authoritative else Reason.OWNER_SILENT
        again = occurrence.revision > 0
        return _Step(Action.ASSERT, Reason.ASSERTED_ANEW if again else reason, winner)
    if authoritative and occurrence.assurance == Assurance.PROVISIONAL:
        agreed = content(winner.claim) == occurrence.content and within(
            winner.occurred,
            winner.precision,
            occurrence.occurred,
            occurrence.precision,
            judgement.tolerance_ms,
        )
        if agreed:
            return _Step(Action.CONFIRM, Reason.OWNER_CONFIRMED_DEPUTY, winner)
        return _Step(Action.CORRECT, Reason.OWNER_CORRECTED_DEPUTY, winner)
    if winner.claim.seq == occurrence.claim_seq:
        return None
    if kind.cardinality is Cardinality.STREAM:
        return _Step(Action.ASSERT, Reason.ESTIMATE_UPDATED, winner)
    if winner.claim.body["platform"] != occurrence.platform and not authoritative:
        return _Step(Action.CORRECT, Reason.BETTER_DEPUTY, winner)
    reason = Reason.OWNER_CORRECTED if authoritative else Reason.DEPUTY_CORRECTED
    return _Step(Action.CORRECT, reason, winner)


def _publish(
    work: Work,
    entity: Entity,
    occurrence: Occurrence,
    kind: EventType,
    judgement: Judgement,
    cause: int,
) -> int:
    """Publish the next revision, if there is something to say.

    Returns:
        The revision; 0 if nothing was published.

    """
    step = _difference(occurrence, kind, judgement)
    if step is None:
        return 0
    action, reason, spoken = step
    first = occurrence.revision == 0
    previous = (occurrence.event_id, None if first else occurrence.occurred)
    if occurrence.stands and action in _CHANGES and occurrence.claim_seq != spoken.claim.seq:
        work.transitions.append(_superseded(entity, occurrence, _CHANGES[action], reason, cause))
    missing = [name for name in kind.predecessors if not entity.standing(name)] if first else []
    flags = flags_of(entity, kind, spoken, first=first)
    claim = spoken.claim
    occurrence.revision += 1
    occurrence.stands = action is not Action.RETRACT
    occurrence.platform = claim.body["platform"]
    occurrence.assurance = judgement.assurance.value
    occurrence.action = action.value
    occurrence.occurred, occurrence.precision = spoken.occurred, spoken.precision
    occurrence.content = content(claim)
    occurrence.claim_seq = claim.seq
    occurrence.claim_id = claim.body["event_id"]
    entity.seq += 1
    occurrence.seq = entity.seq
    entity.received = max(entity.received, claim.origin.received)
    add_references(entity, claim.body["references"])
    if kind.sets_plan:
        replan(work, entity)
    rank = entity.rank
    entity.rank, entity.status = progress(work.policy, entity)
    publication = Publication(action, reason.value, judgement, flags, missing, entity.rank > rank)
    work.approved.append(
        approved_record(
            work.policy, work.partition, entity, occurrence, spoken, publication, previous
        )
    )
    work.told[entity.key] = None
    return occurrence.revision


def _superseded(
    entity: Entity, occurrence: Occurrence, change: Change, reason: Reason, cause: int
) -> Transition:
    provisional = occurrence.assurance == Assurance.PROVISIONAL
    before = Disposition.PROVISIONAL if provisional else Disposition.APPROVED
    return Transition(
        occurrence.claim_seq,
        cause,
        before.value,
        change.value,
        reason.value,
        "",
        entity.key,
        occurrence.event_type,
        occurrence.milestone_id,
        0,
        occurrence.platform,
        occurrence.claim_id,
    )


def progress(policy: Policy, entity: Entity) -> tuple[int, str]:
    """Rank and status: those of the furthest standing milestone.

    An event type with a partial status reaches its full one when every stop with one of its roles
    has it.
    """
    best, status = 0, ""
    for occurrence in entity.occurrences.values():
        kind = policy.catalogue.get(occurrence.event_type)
        if kind is None or not occurrence.stands or not kind.rank:
            continue
        rank, named = kind.rank, kind.status
        if kind.partial_rank and not _complete(entity, kind):
            rank, named = kind.partial_rank, kind.partial_status
        if rank > best:
            best, status = rank, named
    return best, status


def _complete(entity: Entity, kind: EventType) -> bool:
    return all(
        (occurrence := entity.occurrences.get(f"{kind.name}|{item.place}")) is not None
        and occurrence.stands
        for item in entity.stops
        if item.stop["role"] in kind.stop_roles
    )


def replan(work: Work, entity: Entity) -> None:
    """Take stops, orders, start and region from the plan that stands: the latest tender."""
    policy = work.policy
    standing = [
        (occurrence.occurred, spoken.order, kind.name, spoken)
        for occurrence in entity.occurrences.values()
        if occurrence.stands
        and (kind := policy.catalogue[occurrence.event_type]).sets_plan
        and (spoken := occurrence.spoken.get(occurrence.platform)) is not None
    ]
    if not standing:
        entity.stops, entity.orders, entity.start = [], [], None
        entity.region = _linked_region(entity)
        return
    spoken = max(standing, key=lambda item: item[:3])[3]
    body = spoken.claim.body
    platform = policy.platforms[body["platform"]]
    stops = plan_stops(policy, platform, body["stops"])
    if [item.place for item in stops] != [item.place for item in entity.stops]:
        work.replanned[entity.key] = None
    entity.stops = stops
    rules = platform.id_rules.get(EntityType.ORDER.value, ())
    entity.orders = [
        entity_key(entity.name.tenant, EntityType.ORDER.value, normalise(order, rules))
        for order in body["orders"]
    ]
    entity.start = min(item[0] for item in standing)
    entity.region = spoken.region or _linked_region(entity)


def _linked_region(entity: Entity) -> str | None:
    return entity.link_region[min(entity.link_region)] if entity.link_region else None


def _follow(
    work: Work,
    entity: Entity,
    kind: EventType,
    before: tuple[str | None, int | None, str, int],
    cause: int,
    hops: int,
) -> None:
    """What a revision means for the entity's other occurrences and for linked entities."""
    region, start, status, orders = before
    if (region, start) != (entity.region, entity.start):
        resettle(work, entity, cause, hops)
    else:
        for other in list(entity.occurrences.values()):
            waiting = work.policy.catalogue.get(other.event_type)
            if waiting is not None and kind.name in waiting.predecessors and _waits(other):
                settle(work, entity, other, waiting, cause, hops)
    if hops >= work.policy.limits.hops_max:
        return
    if entity.name.type == EntityType.SHIPMENT:
        if entity.orders and (entity.status != status or len(entity.orders) != orders):
            for order in entity.orders:
                _link(work, entity, LinkKind.SHIPMENT_OF_ORDER, order, cause, hops)
    elif entity.region is not None and entity.region != region:
        for shipment in entity.linked:
            _link(work, entity, LinkKind.REGION_OF_SHIPMENT, shipment, cause, hops)


def _waits(occurrence: Occurrence) -> bool:
    return any(
        spoken.reason == Reason.AWAITING_PREDECESSOR for spoken in occurrence.spoken.values()
    )


def resettle(work: Work, entity: Entity, cause: int, hops: int) -> None:
    """Judge every open occurrence again after the entity's region or start has changed."""
    for occurrence in list(entity.occurrences.values()):
        kind = work.policy.catalogue.get(occurrence.event_type)
        if kind is not None and not kind.sets_plan and occurrence.spoken:
            settle(work, entity, occurrence, kind, cause, hops)


def hear_link(work: Work, record: Record, cause: int) -> Reason:
    """Take over what a linked entity says, once and in order.

    Returns:
        Whether the link was applied or had been before.

    """
    entity = work.entities.open(record["target"])
    source, hops = record["source"], record["hops"]
    known = entity.linked.get(source)
    if known is not None and record["source_seq"] <= known[0]:
        return Reason.LINK_REPEATED
    work.touched[entity.key] = entity
    entity.linked[source] = [record["source_seq"], record["status"]]
    work.told[entity.key] = None
    if record["kind"] == LinkKind.SHIPMENT_OF_ORDER:
        if entity.region is not None and known is None and hops < work.policy.limits.hops_max:
            _link(work, entity, LinkKind.REGION_OF_SHIPMENT, source, cause, hops)
    elif record["kind"] == LinkKind.REGION_OF_SHIPMENT:
        entity.link_region[source] = record["region"]
        before = entity.region
        replan(work, entity)
        if entity.region != before:
            resettle(work, entity, cause, hops)
    return Reason.LINK_APPLIED


def _link(work: Work, entity: Entity, kind: LinkKind, target: str, cause: int, hops: int) -> None:
    work.links.append(
        link_record(
            entity,
            kind,
            target,
            hops=hops + 1,
            sent=work.clock,
            partition=work.partition,
            cause=cause,
        )
    )
