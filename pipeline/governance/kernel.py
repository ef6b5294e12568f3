"""The kernel: what becomes of each input record of one partition, in the order taken.

Theory of operation. A record is taken once. If it is a claim, it is judged in this order: platform
and topic, tenant, entity (or reference), partition, repeated?, dialect, plausible?, occurrence,
authority, conflict with what stands, sequence and status. A step that lacks knowledge holds the
claim with a deadline; a step that can't succeed sends it to the dead letter. From the occurrence
on, nothing depends on the order of arrival: `standing.judge` is a function of the set of claims,
and what changes the entity's own facts has every claim judged again.

The partition's clock is data: what it lets happen is in `expiring`, after the records that were
read up to it. Same records, state, policy and clock: same outcome, byte for byte.
"""

from __future__ import annotations

from typing import Final

from pipeline.governance.alerts import AlertKind, alert, on_cancel
from pipeline.governance.bounds import ID_CHARACTERS_MAX, check
from pipeline.governance.claims import Claim, Origin, Raw, RawEvent, mark_of
from pipeline.governance.entity import Entity, Held, Occurrence, Spoken
from pipeline.governance.facts import carried, replan
from pipeline.governance.flow import Stage
from pipeline.governance.hearing import hear
from pipeline.governance.identity import (
    REFERENCE,
    entity_key,
    normalise,
    parse_key,
    partition_of,
    reference_key,
)
from pipeline.governance.links import hear_link
from pipeline.governance.outputs import Record, Telling, Verdict, link_record
from pipeline.governance.placement import Ended, Placed, RefusedError, Wait, locate
from pipeline.governance.policy import Platform, Policy
from pipeline.governance.reasons import Reason
from pipeline.governance.references import event_key, note, owner_of
from pipeline.governance.rejudging import (
    follow_up,
    newer,
    reopen,
    replaced_row,
    send_on,
    settled_as,
)
from pipeline.governance.settlement import (
    DeadLetter,
    Reroute,
    Work,
    settle,
)
from pipeline.governance.vocabulary import Disposition, EntityType, LinkKind, Role

INCOMPLETE_MAX: Final = 20
_ENTITY_TYPES: Final = frozenset(kind.value for kind in EntityType)


class Arrival:
    """A raw, re-keyed or replayed record. Exactly one of `body` and `fault` is given."""

    __slots__ = (
        "assigned",
        "body",
        "detail",
        "digest",
        "fault",
        "forwarded",
        "hops",
        "origin",
        "raw",
        "repaired_by",
        "stage",
    )

    def __init__(
        self,
        origin: Origin,
        raw: Raw,
        digest: bytes,
        *,
        body: RawEvent | None = None,
        fault: Reason | None = None,
        detail: str = "",
        stage: Stage = Stage.DECODE,
        hops: int = 0,
        repaired_by: str | None = None,
        forwarded: bool = False,
        assigned: str = "",
    ) -> None:
        self.origin = origin
        self.raw = raw
        self.digest = digest
        self.body = body
        self.fault = fault
        self.detail = detail
        self.stage = stage
        self.hops = hops
        self.repaired_by = repaired_by
        self.forwarded = forwarded
        """Whether it was sent on or replayed, instead of coming from its platform just now."""
        self.assigned = assigned
        """Key to which we have sent it on; it names its entity where the record itself does not."""


def take(work: Work, arrival: Arrival, seq: int) -> Verdict:
    """Judge one raw record.

    Args:
        work: changed in place: state, publications, dead letters, links.
        arrival: the record.
        seq: its ordinal in the partition's ledger.

    """
    verdict = _take(work, arrival, seq)
    if not arrival.forwarded:
        _count(work, arrival, verdict)
    return verdict


def _count(work: Work, arrival: Arrival, verdict: Verdict) -> None:
    """Pull the brake where most of what a platform sends is bad."""
    topic = arrival.origin.topic
    name = verdict.platform if verdict.platform in work.policy.platforms else ""
    sender = name or work.policy.only_writer(topic)
    bad = verdict.disposition == Disposition.DEAD_LETTERED
    if sender is None or not work.trust.count(work.policy.brake, sender, bad=bad):
        return
    at, partition = arrival.origin.received, work.partition
    kind = AlertKind.DEAD_LETTER_BRAKE
    work.alerts.append(
        alert(kind, at, platform=sender, partition=partition, details={"last": verdict.reason})
    )


def _take(work: Work, arrival: Arrival, seq: int) -> Verdict:
    try:
        if arrival.body is None:
            return _undecodable(work, arrival, seq)
        return _judge(work, arrival, arrival.body, seq)
    except RefusedError as fault:
        work.dead_letters.append(
            DeadLetter(
                arrival.raw,
                arrival.origin,
                fault.reason,
                str(fault),
                fault.stage,
                fault.entity,
                seq,
            )
        )
        body = arrival.body
        return Verdict(
            Disposition.DEAD_LETTERED.value,
            fault.reason.value,
            entity=fault.entity,
            platform="" if body is None else body["platform"],
            claim="" if body is None else body["event_id"],
            occurred=None if body is None else body["occurred"],
        )


def take_link(work: Work, record: Record, seq: int) -> Verdict:
    """Apply one link record."""
    target = record["target"]
    try:
        name, source = parse_key(target), parse_key(record["source"])
    except ValueError:
        return Verdict(Disposition.IGNORED.value, Reason.KEY_INVALID.value)
    key = target.encode()
    if name.tenant != source.tenant or partition_of(key, work.partitions) != work.partition:
        return Verdict(Disposition.IGNORED.value, Reason.KEY_INVALID.value)
    entity = opened(work, target)
    region, inherited = entity.region_by_link, dict(entity.inherited)
    cancels = record["source"] in entity.cancels
    reason = hear_link(entity, record)
    if reason is not Reason.LINK_APPLIED:
        return Verdict(Disposition.IGNORED.value, reason.value, entity=target)
    entity.touch(record["sent"])
    work.touched[target] = entity
    work.told[target] = None
    changed = (region, inherited) != (entity.region_by_link, entity.inherited)
    if replan(work.policy, entity) or changed or name.type == REFERENCE:
        work.moved[target] = None
    news = record["source"] in entity.cancels and not cancels
    if news and record["source"] in carried(entity):
        work.alerts += on_cancel(work.policy, entity, record["source"], record["sent"])
    follow_up(work, entity, seq, record["hops"])
    return Verdict(Disposition.APPLIED.value, reason.value, entity=target)


def lasting(policy: Policy, key: str, stub: bool) -> int:  # noqa: FBT001  a partial is called
    """How long an entity is remembered after something last came in for it, ms."""
    if stub:
        return policy.limits.stub_ms
    name = parse_key(key)
    lasts = policy.horizons_ms.get(name.tenant, 0)
    if name.type == REFERENCE:
        lasts = max(lasts, policy.references.valid_ms)
    return lasts + policy.limits.forgets_after_ms


def forget(work: Work, entity: Entity) -> None:
    """Let go of an entity that has been silent for too long: a stub is left, and later nothing.

    Args:
        work: its clock decides.
        entity: changed in place.

    """
    over = entity.active + lasting(work.policy, entity.key, entity.forgotten)
    if not entity.active or over > work.clock or entity.next_deadline() is not None:
        return
    entity.forget()
    work.touched[entity.key] = entity


def opened(work: Work, key: str) -> Entity:
    """The entity as it is now.

    Forgotten first, if silent for too long; claims still to be judged again go before what is new.
    """
    entity = work.entities.open(key)
    forget(work, entity)
    cause = work.reopening.pop(key, None)
    if cause is not None:
        work.touched[key] = entity
        reopen(work, entity, cause)
        follow_up(work, entity, cause)
    return entity


def _judge(work: Work, arrival: Arrival, body: RawEvent, seq: int) -> Verdict:
    platform, tenant = _speaker(work.policy, arrival, body)
    key = _assigned(arrival, body, tenant) or _key(platform, tenant, body)
    if key not in work.entities and partition_of(key.encode(), work.partitions) != work.partition:
        if arrival.hops >= work.policy.limits.hops_max:
            raise RefusedError(Reason.TOO_MANY_HOPS, f"{arrival.hops} hops", Stage.IDENTITY, key)
        work.reroutes.append(Reroute(key, arrival.raw, arrival.origin, arrival.hops + 1))
        return _verdict(Disposition.REROUTED, Reason.WRONG_PARTITION, key, body)
    check(body, key, personal=platform.role is Role.OPS_DESK)
    entity = opened(work, key)
    _complete(work, entity, arrival.origin)
    if mark_of(arrival.digest) in entity.seen:
        return _verdict(Disposition.DUPLICATE, Reason.REPEATED, key, body)
    claim = Claim(
        body,
        arrival.origin,
        seq,
        arrival.digest,
        tenant,
        raw=arrival.raw,
        repaired_by=arrival.repaired_by,
        hops=arrival.hops,
    )
    return _place(work, entity, claim, platform)


def _speaker(policy: Policy, arrival: Arrival, body: RawEvent) -> tuple[Platform, str]:
    """Who speaks, and for which tenant."""
    platform = policy.platforms.get(body["platform"])
    if platform is None:
        detail = f"platform {body['platform'][:80]!r}"
        raise RefusedError(Reason.UNKNOWN_PLATFORM, detail, Stage.IDENTITY)
    if arrival.origin.topic not in platform.topics:
        detail = f"{platform.name} may not write to {arrival.origin.topic[:80]}"
        raise RefusedError(Reason.WRONG_TOPIC, detail, Stage.IDENTITY)
    tenant = platform.tenant or platform.accounts.get(body["account"] or "")
    if tenant is None or tenant not in policy.horizons_ms:
        detail = f"account {str(body['account'])[:80]!r} of {platform.name}"
        raise RefusedError(Reason.UNKNOWN_TENANT, detail, Stage.IDENTITY)
    return platform, tenant


def _assigned(arrival: Arrival, body: RawEvent, tenant: str) -> str | None:
    """Key to which we have sent on a record that knows a reference only."""
    if not arrival.assigned or body["entity_id"]:
        return None
    try:
        name = parse_key(arrival.assigned)
    except ValueError:
        return None
    known = name.type in _ENTITY_TYPES or name.type == REFERENCE
    return arrival.assigned if known and name.tenant == tenant else None


def _place(work: Work, entity: Entity, claim: Claim, platform: Platform) -> Verdict:
    """From entity to occurrence; what that needs and is not known yet has the claim wait."""
    policy, body, key = work.policy, claim.body, entity.key
    held_back = work.trust.held_back.get(platform.name)
    if held_back is not None:
        found: Placed | Wait | Ended = Wait(Reason(held_back), policy.limits.withheld_ms, body)
    elif entity.name.type == REFERENCE:
        owner = owner_of(policy, entity, claim)
        if not isinstance(owner, Reason):
            note(entity, claim, platform)
            entity.touch(claim.origin.received)
            work.touched[key] = entity
            send_on(work, entity, claim, owner)
            follow_up(work, entity, claim.seq)
            return _verdict(Disposition.REROUTED, Reason.REFERENCE_BOUND, key, body)
        found = Wait(owner, policy.limits.reference_ms, body)
        if owner is Reason.REFERENCE_CONFLICT:
            conflict = AlertKind.REFERENCE_CONFLICT
            work.alerts.append(alert(conflict, claim.origin.received, entity=entity))
    else:
        found = locate(policy, entity, claim, platform, work.clock)
    if isinstance(found, Ended):
        return _verdict(found.disposition, found.reason, key, body, found.event_type)
    if entity.weight() + claim.weight > policy.limits.entity_weight_max:
        detail = f"{key} has as much state as one entity may have"
        raise RefusedError(Reason.OPEN_CLAIMS_FULL, detail, Stage.SEQUENCE, key)
    entity.touch(claim.origin.received)
    work.touched[key] = entity
    if isinstance(found, Wait):
        verdict = _hold(work, entity, claim, found)
    else:
        verdict = _speak(work, entity, claim, found)
    entity.remember(claim, policy.limits.seen_max)
    note(entity, claim, platform)
    if platform.retracts_by_id and body["retracts"] is None and entity.name.type != REFERENCE:
        work.links.append(_event_link(work, entity, claim))
    if any(_takes_back(held, body) for held in entity.held):
        reopen(work, entity, claim.seq)
    follow_up(work, entity, claim.seq)
    return verdict


def _event_link(work: Work, entity: Entity, claim: Claim) -> Record:
    """Tells whose an event id is, so that the event can be taken back by its id alone."""
    telling = Telling(1, work.clock, work.partition, claim.seq)
    return link_record(entity, LinkKind.REFERENCE, event_key(claim), telling, valid_from=0)


def _takes_back(held: Held, body: RawEvent) -> bool:
    """Whether a retraction has waited for this statement."""
    retraction = held.claim.body
    return (
        held.reason == Reason.AWAITING_TARGET
        and retraction["platform"] == body["platform"]
        and retraction["retracts"] == body["event_id"]
    )


def _key(platform: Platform, tenant: str, body: RawEvent) -> str:
    """Canonical key of the entity or reference that a record is about."""
    kind, written = body["entity_type"], (body["entity_id"] or "").strip()
    if not written:
        reference = body["reference"]
        if reference is None or not reference["value"].strip():
            detail = "give entity_type and entity_id, or a reference"
            raise RefusedError(Reason.ENTITY_MISSING, detail, Stage.IDENTITY)
        parts = (reference["kind"], reference["scope"], reference["value"].strip())
        _short(":".join(parts), "reference")
        return reference_key(tenant, *parts)
    if kind not in _ENTITY_TYPES:
        detail = f"entity_type {str(kind)[:80]!r} is none of order, shipment, stock"
        raise RefusedError(Reason.FIELD_INVALID, detail, Stage.IDENTITY)
    _short(written, "entity_id")
    rules = platform.id_rules.get(kind or "", ())
    return entity_key(tenant, kind or "", normalise(written, rules) or written)


def _short(text: str, field: str) -> None:
    if len(text) > ID_CHARACTERS_MAX:
        detail = f"{field} has {len(text)} characters, at most {ID_CHARACTERS_MAX} are read"
        raise RefusedError(Reason.FIELD_INVALID, detail, Stage.IDENTITY)


def _speak(work: Work, entity: Entity, claim: Claim, placed: Placed) -> Verdict:
    """From occurrence to disposition."""
    kind, spoken, platform = placed.kind, placed.spoken, claim.body["platform"]
    occurrence = entity.occurrence(kind.name, placed.discriminator)
    why, replaced = hear(occurrence, spoken)
    if replaced is not None and replaced.fate == Disposition.HELD:
        work.transitions.append(replaced_row(entity, occurrence, replaced, claim.seq))
    if why is not None:
        disposition = settled_as(why)
        spoken.fate, spoken.reason, claim.raw = disposition.value, why.value, None
        newer(work, entity, occurrence, placed, claim.seq, why)
        return _verdict(
            disposition,
            why,
            entity.key,
            claim.body,
            kind.name,
            milestone=occurrence.milestone_id,
        )
    settled = settle(work, entity, occurrence, kind, claim.seq, own=claim.seq)
    if kind.sets_plan:
        replan(work.policy, entity)
        work.moved[entity.key] = None
    fate = settled.fates[platform]
    if fate.disposition is Disposition.HELD and replaced is None:
        _make_room(work, entity, occurrence, spoken)
    return _verdict(
        fate.disposition,
        fate.reason,
        entity.key,
        claim.body,
        kind.name,
        milestone=occurrence.milestone_id,
        revision=settled.revision,
        rule=fate.rule,
        deadline=fate.deadline,
    )


def _make_room(work: Work, entity: Entity, occurrence: Occurrence, spoken: Spoken) -> None:
    """Refuse a claim that waits, where too many do; it leaves no trace."""
    limit = work.policy.limits.open_claims_max
    if entity.open_claims() > limit:
        occurrence.drop(spoken)
        entity.prune(occurrence)
        raise RefusedError(
            Reason.OPEN_CLAIMS_FULL,
            f"{limit} claims of {entity.key} wait already",
            Stage.SEQUENCE,
            entity.key,
        )


def _hold(work: Work, entity: Entity, claim: Claim, wait: Wait) -> Verdict:
    body = claim.body
    for held in entity.held:
        other = held.claim.body
        if other["platform"] == body["platform"] and other["event_id"] == body["event_id"]:
            same = (other["native_status"], other["stop"]) == (body["native_status"], body["stop"])
            if same:
                reason = (
                    Reason.REPEATED if other["occurred"] == body["occurred"] else Reason.ID_REUSED
                )
                return _verdict(Disposition.DUPLICATE, reason, entity.key, body)
    limit = work.policy.limits.open_claims_max
    if entity.open_claims() >= limit:
        detail = f"{limit} claims of {entity.key} wait already"
        raise RefusedError(Reason.OPEN_CLAIMS_FULL, detail, Stage.SEQUENCE, entity.key)
    deadline = claim.origin.received + wait.wait_ms
    entity.held.append(Held(claim, wait.subject, wait.reason.value, deadline))
    return _verdict(Disposition.HELD, wait.reason, entity.key, body, deadline=deadline)


def _undecodable(work: Work, arrival: Arrival, seq: int) -> Verdict:
    """Keep the bytes; flag the entity whose key the record carries, if it is one of the topic's."""
    reason = arrival.fault or Reason.UNDECODABLE
    key = _flagged(work, arrival)
    work.dead_letters.append(
        DeadLetter(arrival.raw, arrival.origin, reason, arrival.detail, arrival.stage, key, seq)
    )
    return Verdict(Disposition.DEAD_LETTERED.value, reason.value, entity=key)


def _flagged(work: Work, arrival: Arrival) -> str:
    raw = arrival.raw.key
    if raw is None or len(raw) > 4 * ID_CHARACTERS_MAX:
        return ""
    try:
        name = parse_key(raw.decode())
    except ValueError:
        return ""
    senders = [
        platform
        for platform in work.policy.platforms.values()
        if arrival.origin.topic in platform.topics
        and name.tenant in {platform.tenant, *platform.accounts.values()}
    ]
    if name.type not in _ENTITY_TYPES or not senders:
        return ""
    rules = senders[0].id_rules.get(name.type, ())
    key = entity_key(name.tenant, name.type, normalise(name.id, rules) or name.id)
    if partition_of(key.encode(), work.partitions) != work.partition:
        return ""
    entity = work.entities.open(key)
    place = _origin_text(arrival.origin)
    if place not in entity.incomplete and len(entity.incomplete) < INCOMPLETE_MAX:
        entity.incomplete.append(place)
        entity.touch(arrival.origin.received)
        work.told[key] = None
        work.touched[key] = entity
    return key


def _complete(work: Work, entity: Entity, origin: Origin) -> None:
    """A replay of what was missing clears the flag."""
    place = _origin_text(origin)
    if place in entity.incomplete:
        entity.incomplete.remove(place)
        work.told[entity.key] = None
        work.touched[entity.key] = entity


def _origin_text(origin: Origin) -> str:
    return f"{origin.topic}/{origin.partition}/{origin.offset}"


def _verdict(
    disposition: Disposition,
    reason: Reason,
    entity: str,
    body: RawEvent,
    event_type: str = "",
    *,
    milestone: str = "",
    revision: int = 0,
    rule: str = "",
    deadline: int | None = None,
) -> Verdict:
    return Verdict(
        disposition.value,
        reason.value,
        rule,
        entity,
        event_type,
        milestone,
        revision,
        body["platform"],
        body["event_id"],
        body["occurred"],
        deadline,
    )
