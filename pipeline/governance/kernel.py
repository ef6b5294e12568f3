"""The kernel: what becomes of each input record of one partition, in the order taken.

Theory of operation. A record is taken once. If it is a claim, it is judged in this order: platform
and topic, tenant, entity (or reference), partition, repeated?, dialect, plausible?, occurrence,
authority, conflict with what stands, sequence and status. A step that lacks knowledge holds the
claim with a deadline; a step that can't succeed sends it to the dead letter. From the occurrence
on, nothing depends on the order of arrival: `standing.judge` is a function of the set of claims.

The partition's clock is data: it moves only by `reach`, after the records that were read up to it.
Same records, state, policy and clock: same outcome, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from pipeline.governance.claims import Claim, Origin, Raw, RawEvent
from pipeline.governance.entity import Entity, Held
from pipeline.governance.identity import (
    entity_key,
    normalise,
    parse_key,
    partition_of,
    reference_key,
)
from pipeline.governance.occurrence import Place, discriminator, only_stop, place_of
from pipeline.governance.outputs import Record, Transition, Verdict
from pipeline.governance.policy import IGNORED, EventType, Platform, Policy
from pipeline.governance.reasons import Reason
from pipeline.governance.settlement import (
    CLOCK,
    EXPIRING,
    DeadLetter,
    Reroute,
    Work,
    bury,
    hear_link,
    settle,
)
from pipeline.governance.standing import authority, hear
from pipeline.governance.vocabulary import (
    Cardinality,
    Classifier,
    ControlKind,
    Disposition,
    EntityType,
)

REFERENCE_TYPE: Final = "ref"
INCOMPLETE_MAX: Final = 20
_ESTIMATES: Final = frozenset({Classifier.ESTIMATED, Classifier.PLANNED, Classifier.REQUESTED})
_ENTITY_TYPES: Final = frozenset(kind.value for kind in EntityType)


class Arrival(NamedTuple):
    """A raw, re-keyed or replayed record. Exactly one of `body` and `fault` is given."""

    origin: Origin
    raw: Raw
    digest: bytes
    body: RawEvent | None = None
    fault: Reason | None = None
    detail: str = ""
    stage: str = "decode"
    hops: int = 0
    repaired_by: str | None = None


class _RefusedError(Exception):
    """Ends the judgement of one claim: it goes to the dead letter."""

    def __init__(self, reason: Reason, detail: str, stage: str, entity: str = "") -> None:
        super().__init__(detail)
        self.reason, self.detail, self.stage, self.entity = reason, detail, stage, entity


class _Placed(NamedTuple):
    """Which occurrence a claim speaks of."""

    kind: EventType
    discriminator: str
    region: str | None


@dataclass(slots=True)
class _Wait:
    """Why a claim can't be placed yet."""

    reason: Reason
    wait_ms: int


def take(work: Work, arrival: Arrival, seq: int) -> Verdict:
    """Judge one raw record.

    Args:
        work: changed in place: state, publications, dead letters, links.
        arrival: the record.
        seq: its ordinal in the partition's ledger.

    """
    try:
        if arrival.body is None:
            return _undecodable(work, arrival, seq)
        return _judge(work, arrival, arrival.body, seq)
    except _RefusedError as fault:
        work.dead_letters.append(
            DeadLetter(
                arrival.raw,
                arrival.origin,
                fault.reason,
                fault.detail,
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
    reason = hear_link(work, record, seq)
    _release(work, work.entities.open(record["target"]), seq)
    repeated = reason is Reason.LINK_REPEATED
    disposition = Disposition.IGNORED if repeated else Disposition.APPLIED
    return Verdict(disposition.value, reason.value, entity=record["target"])


def take_control(work: Work, record: Record, policies: Mapping[str, Policy]) -> Verdict:
    """Apply one control record.

    Args:
        work: its policy changes with an activation.
        record: the control record.
        policies: every bundle that an activation may name.

    """
    kind = record["kind"]
    if kind == ControlKind.TICK:
        return Verdict(Disposition.APPLIED.value, Reason.CLOCK_TICK.value)
    if kind == ControlKind.ACTIVATE:
        if work.activated and record["policy_version"] == work.policy.version:
            return Verdict(Disposition.IGNORED.value, Reason.POLICY_UNCHANGED.value)
        work.policy = policies[record["policy_version"]]
        work.activated = True
        return Verdict(Disposition.APPLIED.value, Reason.POLICY_ACTIVATED.value)
    return Verdict(Disposition.IGNORED.value, Reason.CONTROL_UNKNOWN.value)


def reach(work: Work, entity: Entity) -> None:
    """Let the clock act on an entity with a deadline that has passed: deputies stand in, waits end.

    Args:
        work: its clock has moved.
        entity: changed in place.

    """
    work.touched[entity.key] = entity
    for held in [held for held in entity.held if held.deadline <= work.clock]:
        entity.held.remove(held)
        work.transitions.append(
            _held_transition(entity, held, Disposition.DEAD_LETTERED, Reason(held.reason), CLOCK)
        )
        claim = held.claim
        bury(work, entity, claim.seq, claim.raw, claim.origin, Reason(held.reason))
    for name, occurrence in list(entity.occurrences.items()):
        kind = work.policy.catalogue.get(occurrence.event_type)
        due = [
            spoken
            for spoken in occurrence.spoken.values()
            if spoken.deadline is not None and spoken.deadline <= work.clock
        ]
        for spoken in due:
            if spoken.reason in EXPIRING or kind is None:
                claim = spoken.claim
                reason = Reason(spoken.reason)
                work.transitions.append(
                    Transition(
                        claim.seq,
                        CLOCK,
                        Disposition.HELD.value,
                        Disposition.DEAD_LETTERED.value,
                        reason.value,
                        entity=entity.key,
                        event_type=occurrence.event_type,
                        milestone_id=occurrence.milestone_id,
                        platform=claim.body["platform"],
                        claim=claim.body["event_id"],
                    )
                )
                bury(work, entity, claim.seq, claim.raw, claim.origin, reason)
                del occurrence.spoken[claim.body["platform"]]
                _forget(entity, claim)
        if due and kind is not None and occurrence.spoken:
            settle(work, entity, occurrence, kind, CLOCK)
        if not occurrence.spoken and not occurrence.revision:
            del entity.occurrences[name]
    _release(work, entity, CLOCK)


def _judge(work: Work, arrival: Arrival, body: RawEvent, seq: int) -> Verdict:
    policy = work.policy
    platform = policy.platforms.get(body["platform"])
    if platform is None:
        raise _RefusedError(Reason.UNKNOWN_PLATFORM, f"platform {body['platform']!r}", "identity")
    if arrival.origin.topic not in platform.topics:
        detail = f"{platform.name} may not write to {arrival.origin.topic}"
        raise _RefusedError(Reason.WRONG_TOPIC, detail, "identity")
    tenant = platform.tenant or platform.accounts.get(body["account"] or "")
    if tenant is None or tenant not in policy.horizons_ms:
        detail = f"account {body['account']!r} of {platform.name}"
        raise _RefusedError(Reason.UNKNOWN_TENANT, detail, "identity")
    key = _key(platform, tenant, body)
    if key not in work.entities and partition_of(key.encode(), work.partitions) != work.partition:
        if arrival.hops >= policy.limits.hops_max:
            raise _RefusedError(Reason.TOO_MANY_HOPS, f"{arrival.hops} hops", "identity", key)
        raw = arrival.raw
        work.reroutes.append(Reroute(key, raw, arrival.origin, arrival.hops + 1))
        return _verdict(Disposition.REROUTED, Reason.WRONG_PARTITION, key, body)
    entity = work.entities.open(key)
    _complete(work, entity, arrival.origin)
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
    if f"{platform.name}:{body['event_id']}" in entity.seen:
        return _verdict(Disposition.DUPLICATE, _repeated(entity, claim), key, body)
    work.touched[key] = entity
    if entity.name.type == REFERENCE_TYPE:
        wait = _Wait(Reason.UNCORRELATED, policy.limits.reference_ms)
        return _hold(work, entity, claim, wait)
    verdict = _place(work, entity, claim, platform)
    _release(work, entity, seq)
    return verdict


def _key(platform: Platform, tenant: str, body: RawEvent) -> str:
    """Canonical key of the entity or reference that a record is about."""
    kind, name = body["entity_type"], body["entity_id"]
    if not name:
        reference = body["reference"]
        if reference is None or not reference["value"]:
            detail = "give entity_type and entity_id, or a reference"
            raise _RefusedError(Reason.ENTITY_MISSING, detail, "identity")
        return reference_key(tenant, reference["kind"], reference["scope"], reference["value"])
    if kind not in _ENTITY_TYPES:
        detail = f"entity_type {kind!r} is none of order, shipment, stock"
        raise _RefusedError(Reason.FIELD_INVALID, detail, "identity")
    rules = platform.id_rules.get(kind or "", ())
    return entity_key(tenant, kind or "", normalise(name, rules) or name)


def _repeated(entity: Entity, claim: Claim) -> Reason:
    """Whether a known event id comes with what it said before."""
    body = claim.body
    for occurrence in entity.occurrences.values():
        spoken = occurrence.spoken.get(body["platform"])
        if spoken is not None and spoken.claim.body["event_id"] == body["event_id"]:
            said = spoken.claim.body
            changed = any(
                said[name] != body[name]
                for name in ("native_status", "occurred", "amount", "quantity", "retracts")
            )
            return Reason.ID_REUSED if changed else Reason.REPEATED
    return Reason.REPEATED


def _place(work: Work, entity: Entity, claim: Claim, platform: Platform) -> Verdict:
    """From dialect to disposition, for a claim whose entity is known."""
    placed = _locate(work, entity, claim, platform)
    if isinstance(placed, Verdict):
        return placed
    if isinstance(placed, _Wait):
        return _hold(work, entity, claim, placed)
    if entity.open_claims() >= work.policy.limits.open_claims_max:
        detail = f"{work.policy.limits.open_claims_max} claims of {entity.key} wait already"
        raise _RefusedError(Reason.OPEN_CLAIMS_FULL, detail, "order", entity.key)
    kind, tag, region = placed
    body = claim.body
    owned = authority(work.policy, entity, kind, claim, region or entity.region)
    if isinstance(owned, Reason) and owned is not Reason.REGION_UNRESOLVED:
        detail = f"{kind.name} of tenant {claim.tenant} in region {region or entity.region}"
        raise _RefusedError(owned, detail, "ownership", entity.key)
    occurrence = entity.occurrence(kind.name, tag)
    before = occurrence.spoken.get(body["platform"])
    why, replaced = hear(occurrence, claim, region)
    if why is not None:
        _remember(work, entity, claim)
        stale = why is Reason.OLDER_THAN_CURRENT
        disposition = Disposition.STALE if stale else Disposition.DUPLICATE
        return _verdict(
            disposition, why, entity.key, body, kind.name, milestone=occurrence.milestone_id
        )
    if replaced and before is not None and before.fate == Disposition.HELD:
        held = Held(before.claim, before.reason, 0)
        work.transitions.append(
            _held_transition(
                entity, held, Disposition.STALE, Reason.REPLACED_BY_NEWER, claim.seq, kind.name
            )
        )
    fates, revision = settle(work, entity, occurrence, kind, claim.seq)
    fate = fates[body["platform"]]
    _remember(work, entity, claim)
    mine = revision if occurrence.claim_seq == claim.seq else 0
    return _verdict(
        fate.disposition,
        fate.reason,
        entity.key,
        body,
        kind.name,
        milestone=occurrence.milestone_id,
        revision=mine,
        rule=fate.rule,
        deadline=fate.deadline,
    )


def _locate(
    work: Work, entity: Entity, claim: Claim, platform: Platform
) -> _Placed | _Wait | Verdict:
    """Event type, discriminator and region of a claim, or what it waits for, or its end."""
    policy, body = work.policy, claim.body
    if body["retracts"] is not None:
        return _retracted(work, entity, claim)
    place = place_of(policy, platform, entity, body)
    meant = policy.resolve_status(
        platform,
        body["native_status"],
        body["native_reason"],
        body["native_qualifier"],
        place.role,
        body["classifier"],
    )
    if meant.needs_role:
        return _Wait(Reason.STOP_UNRESOLVED, policy.limits.stop_ms)
    if meant.event_type == IGNORED:
        return _verdict(Disposition.IGNORED, Reason.NOT_A_MILESTONE, entity.key, body)
    if meant.event_type is None:
        detail = f"{body['native_status']!r} in dialect {platform.dialect}"
        raise _RefusedError(Reason.UNMAPPED_STATUS, detail, "dialect", entity.key)
    kind = policy.catalogue.get(meant.event_type)
    if kind is None:
        raise _RefusedError(Reason.UNKNOWN_EVENT_TYPE, meant.event_type, "dialect", entity.key)
    if kind.estimate_as and body["classifier"] in _ESTIMATES:
        kind = policy.catalogue[kind.estimate_as]
    if kind.entity_type != entity.name.type:
        detail = f"{kind.name} is about a {kind.entity_type}, the record names a {entity.name.type}"
        raise _RefusedError(Reason.FIELD_INVALID, detail, "identity", entity.key)
    _plausible(claim, platform, kind, entity.key)
    if body["occurred"] < work.clock - policy.horizons_ms[claim.tenant]:
        return _verdict(Disposition.STALE, Reason.BEYOND_HORIZON, entity.key, body, kind.name)
    place = _default_place(policy, entity, body, kind, place)
    tag = discriminator(kind, body, place.canonical)
    if tag is None:
        return _Wait(Reason.STOP_UNRESOLVED, policy.limits.stop_ms)
    if not tag and kind.cardinality in {Cardinality.DOCUMENT, Cardinality.LEG}:
        detail = f"{kind.name} is told apart by {kind.cardinality.value}, which is empty"
        raise _RefusedError(Reason.DOCUMENT_MISSING, detail, "identity", entity.key)
    if any(_closed(entity, closer, tag) for closer in kind.closed_by):
        return _verdict(Disposition.STALE, Reason.ACTUAL_KNOWN, entity.key, body, kind.name)
    return _Placed(kind, tag, policy.region_of(body["stop"], place.site))


def _default_place(
    policy: Policy, entity: Entity, body: RawEvent, kind: EventType, place: Place
) -> Place:
    """Where a claim names no place: the tender's first stop, or the only stop the type can mean."""
    if place.canonical is not None or place.site is not None:
        return place
    if kind.sets_plan and body["stops"]:
        platform = policy.platforms[body["platform"]]
        site = policy.site_of(platform, body["stops"][0])
        return Place(None if site is None else site.id, site, place.role)
    stop = body["stop"]
    silent = stop is None or not (stop["location"] or stop["city"] or stop["number"])
    only = only_stop(entity, kind.stop_roles) if silent and kind.stop_roles else None
    if only is None:
        return place
    return Place(only.place, policy.sites.get(only.place.partition("#")[0]), only.stop["role"])


def _plausible(claim: Claim, platform: Platform, kind: EventType, key: str) -> None:
    """Refuse times that can't be meant; mark a clock that runs ahead within the tolerance."""
    body = claim.body
    occurred, received = body["occurred"], claim.origin.received
    if occurred < platform.earliest_ms:
        detail = f"occurred {occurred} is before {platform.name}'s earliest, {platform.earliest_ms}"
        raise _RefusedError(Reason.IMPLAUSIBLE_TIME, detail, "plausibility", key)
    if kind.closed_by or body["classifier"] in _ESTIMATES or occurred <= received:
        return
    ahead = occurred - received
    if ahead > platform.clock_tolerance_ms:
        detail = f"occurred {ahead} ms after it was received; a shift by -{ahead} ms would fit"
        raise _RefusedError(Reason.OCCURRED_IN_FUTURE, detail, "plausibility", key)
    claim.clock_ahead = True


def _closed(entity: Entity, closer: str, tag: str) -> bool:
    return any(
        occurrence.stands
        and occurrence.event_type == closer
        and (not tag or occurrence.discriminator in {"", tag})
        for occurrence in entity.occurrences.values()
    )


def _retracted(work: Work, entity: Entity, claim: Claim) -> _Placed:
    """The occurrence that a retraction takes back, found by the author's event id."""
    body = claim.body
    for occurrence in entity.occurrences.values():
        spoken = occurrence.spoken.get(body["platform"])
        if spoken is not None and spoken.claim.body["event_id"] == body["retracts"]:
            kind = work.policy.catalogue[occurrence.event_type]
            return _Placed(kind, occurrence.discriminator, spoken.region)
    detail = f"{body['platform']} never said {body['retracts']!r} of {entity.key}"
    raise _RefusedError(Reason.RETRACTION_TARGET_UNKNOWN, detail, "identity", entity.key)


def _hold(work: Work, entity: Entity, claim: Claim, wait: _Wait) -> Verdict:
    limit = work.policy.limits.open_claims_max
    if entity.open_claims() >= limit:
        detail = f"{limit} claims of {entity.key} wait already"
        raise _RefusedError(Reason.OPEN_CLAIMS_FULL, detail, "order", entity.key)
    deadline = claim.origin.received + wait.wait_ms
    entity.held.append(Held(claim, wait.reason.value, deadline))
    _remember(work, entity, claim)
    return _verdict(Disposition.HELD, wait.reason, entity.key, claim.body, deadline=deadline)


def _release(work: Work, entity: Entity, cause: int) -> None:
    """Place the claims that waited for a stop list, in claim order, once there is a new one."""
    while entity.key in work.replanned:
        del work.replanned[entity.key]
        waiting = sorted(entity.held, key=lambda held: held.claim.order)
        for held in waiting:
            entity.held.remove(held)
            claim = held.claim
            platform = work.policy.platforms[claim.body["platform"]]
            _forget(entity, claim)
            before = len(work.transitions)
            try:
                verdict = _place(work, entity, claim, platform)
            except _RefusedError as fault:
                work.dead_letters.append(
                    DeadLetter(
                        claim.raw or Raw(None, None, ()),
                        claim.origin,
                        fault.reason,
                        fault.detail,
                        fault.stage,
                        entity.key,
                        claim.seq,
                    )
                )
                verdict = Verdict(Disposition.DEAD_LETTERED.value, fault.reason.value)
            if verdict.disposition == Disposition.HELD and verdict.reason == held.reason:
                continue
            work.transitions.insert(
                before,
                Transition(
                    claim.seq,
                    cause,
                    Disposition.HELD.value,
                    verdict.disposition,
                    verdict.reason,
                    verdict.rule,
                    entity.key,
                    verdict.event_type,
                    verdict.milestone_id,
                    verdict.revision,
                    claim.body["platform"],
                    claim.body["event_id"],
                ),
            )


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
    if raw is None or partition_of(raw, work.partitions) != work.partition:
        return ""
    try:
        key = raw.decode()
        name = parse_key(key)
    except ValueError:
        return ""
    tenants = {
        tenant
        for platform in work.policy.platforms.values()
        if arrival.origin.topic in platform.topics
        for tenant in (platform.tenant, *platform.accounts.values())
    }
    if name.type not in _ENTITY_TYPES or name.tenant not in tenants:
        return ""
    entity = work.entities.open(key)
    work.touched[key] = entity
    place = _origin_text(arrival.origin)
    if place not in entity.incomplete and len(entity.incomplete) < INCOMPLETE_MAX:
        entity.incomplete.append(place)
        work.told[key] = None
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


def _remember(work: Work, entity: Entity, claim: Claim) -> None:
    entity.seen[f"{claim.body['platform']}:{claim.body['event_id']}"] = None
    if len(entity.seen) > work.policy.limits.seen_max:
        del entity.seen[next(iter(entity.seen))]


def _forget(entity: Entity, claim: Claim) -> None:
    """A claim in the dead letter is never taken for seen."""
    entity.seen.pop(f"{claim.body['platform']}:{claim.body['event_id']}", None)


def _held_transition(
    entity: Entity,
    held: Held,
    after: Disposition,
    reason: Reason,
    cause: int,
    event_type: str = "",
) -> Transition:
    body = held.claim.body
    if after is Disposition.DEAD_LETTERED:
        _forget(entity, held.claim)
    return Transition(
        held.claim.seq,
        cause,
        Disposition.HELD.value,
        after.value,
        reason.value,
        entity=entity.key,
        event_type=event_type,
        platform=body["platform"],
        claim=body["event_id"],
    )


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
