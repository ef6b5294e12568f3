"""Where a claim belongs: from dialect to event type, stop, discriminator and region.

Answers with the occurrence, or with what the claim must wait for, or with its end. Must never
change anything, nor know who else has spoken.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from pipeline.governance.claims import Claim, RawEvent, content
from pipeline.governance.entity import Entity, Held, Occurrence, Spoken
from pipeline.governance.flow import Stage
from pipeline.governance.occurrence import (
    Place,
    discriminator,
    only_stop,
    place_of,
    revisits,
    site_of,
    written,
)
from pipeline.governance.policy import IGNORED, EventType, Platform, Policy
from pipeline.governance.reasons import Reason
from pipeline.governance.standing import authority
from pipeline.governance.vocabulary import Cardinality, Classifier, Disposition

_ESTIMATES: Final = frozenset({Classifier.ESTIMATED, Classifier.PLANNED, Classifier.REQUESTED})
_AHEAD_MS_MAX: Final = 5 * 366 * 86_400_000
"""How far ahead an estimate may lie."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS: Final = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1))


class RefusedError(Exception):
    """Ends the judgement of one claim: it goes to the dead letter."""

    def __init__(self, reason: Reason, detail: str, stage: Stage, entity: str = "") -> None:
        super().__init__(detail)
        self.reason, self.detail, self.stage, self.entity = reason, detail, stage, entity


class Placed:
    """Which occurrence a claim speaks of, and what it says there."""

    __slots__ = ("discriminator", "kind", "spoken")

    def __init__(
        self,
        kind: EventType,
        discriminator: str,
        spoken: Spoken,
    ) -> None:
        self.kind = kind
        self.discriminator = discriminator
        self.spoken = spoken


class Wait:
    """Why a claim can't be placed yet."""

    __slots__ = ("reason", "subject", "wait_ms")

    def __init__(
        self,
        reason: Reason,
        wait_ms: int,
        subject: RawEvent,
    ) -> None:
        self.reason = reason
        self.wait_ms = wait_ms
        self.subject = subject


class Ended:
    """A claim that needs no occurrence."""

    __slots__ = ("disposition", "event_type", "reason")

    def __init__(
        self,
        disposition: Disposition,
        reason: Reason,
        event_type: str = "",
    ) -> None:
        self.disposition = disposition
        self.reason = reason
        self.event_type = event_type


class _Meant:
    """What a statement means, and where."""

    __slots__ = ("by_role", "kind", "place", "retracts", "said", "site")

    def __init__(
        self,
        kind: EventType,
        said: EventType,
        place: Place,
        site: str | None,
        *,
        by_role: bool,
        retracts: bool,
    ) -> None:
        self.kind = kind
        self.said = said
        """Event type of the dialect; an estimate of it is of another kind."""
        self.place = place
        self.site = site
        """Site that the statement names itself, whatever the stop lists say."""
        self.by_role = by_role
        self.retracts = retracts


def locate(
    policy: Policy, entity: Entity, claim: Claim, platform: Platform, clock: int
) -> Placed | Wait | Ended:
    """Find the place of a claim that comes in.

    Args:
        policy: the bundle in force.
        entity: whose claim it is.
        claim: marked, if its clock runs ahead within the tolerance.
        platform: who speaks.
        clock: of the partition, ms UTC.

    Raises:
        RefusedError: the claim can't be governed.

    """
    body = claim.body
    if body["retracts"] is not None:
        return _retracted(policy, entity, claim)
    meant = _read(policy, entity, platform, body)
    if not isinstance(meant, _Meant):
        return meant
    _plausible(claim, platform, meant.kind, entity.key)
    if body["occurred"] < max(clock, claim.origin.received) - policy.horizons_ms[claim.tenant]:
        return Ended(Disposition.STALE, Reason.BEYOND_HORIZON, meant.kind.name)
    return _put(policy, entity, claim, body, meant)


def locate_again(
    policy: Policy, entity: Entity, claim: Claim, subject: RawEvent
) -> Placed | Wait | Ended:
    """Find the place of a claim that was taken before, as things are now.

    Args:
        policy: the bundle in force.
        entity: whose claim it is.
        claim: the claim.
        subject: its own record, or for a retraction the one it takes back.

    Raises:
        RefusedError: the claim can't be governed.

    """
    name = claim.body["platform"]
    platform = policy.platforms.get(name)
    if claim.body["retracts"] is not None and subject is claim.body:
        return _retracted(policy, entity, claim)
    if platform is None or claim.tenant not in policy.horizons_ms:
        detail = f"bundle {policy.version} does not know platform {name!r} or its tenant any more"
        raise RefusedError(Reason.UNKNOWN_PLATFORM, detail, Stage.OCCURRENCE, entity.key)
    meant = _read(policy, entity, platform, subject)
    if not isinstance(meant, _Meant):
        return meant
    return _put(policy, entity, claim, subject, meant)


def _read(
    policy: Policy, entity: Entity, platform: Platform, subject: RawEvent
) -> _Meant | Wait | Ended:
    """From native codes and place to an event type."""
    place = place_of(policy, platform, entity, subject)
    meant = policy.resolve_status(
        platform,
        subject["native_status"],
        subject["native_reason"],
        subject["native_qualifier"],
        place.role,
        subject["classifier"],
    )
    if meant.needs_role:
        return Wait(Reason.STOP_UNRESOLVED, policy.limits.stop_ms, subject)
    if meant.event_type == IGNORED:
        return Ended(Disposition.IGNORED, Reason.NOT_A_MILESTONE)
    if meant.event_type is None:
        detail = f"{subject['native_status'][:80]!r} in dialect {platform.dialect}"
        raise RefusedError(Reason.UNMAPPED_STATUS, detail, Stage.DIALECT, entity.key)
    said = kind = policy.catalogue.get(meant.event_type)
    if said is not None and subject["classifier"] in _ESTIMATES:
        if said.estimate_as:
            kind = policy.catalogue.get(said.estimate_as)
        elif said.rank and not said.sets_plan:
            detail = f"{subject['classifier']} {said.name}"
            raise RefusedError(Reason.NO_ESTIMATES, detail, Stage.DIALECT, entity.key)
    if said is None or kind is None:
        raise RefusedError(Reason.UNKNOWN_EVENT_TYPE, meant.event_type, Stage.DIALECT, entity.key)
    if kind.entity_type != entity.name.type:
        detail = f"{kind.name} is about a {kind.entity_type}, the record names a {entity.name.type}"
        raise RefusedError(Reason.FIELD_INVALID, detail, Stage.OCCURRENCE, entity.key)
    if place.canonical is not None and kind.stop_roles and not meant.by_role and revisits(entity):
        place = place_of(policy, platform, entity, subject, kind.stop_roles)
    tenant = entity.name.tenant
    own = None if kind.by_stop else policy.site_of(platform, tenant, subject["stop"])
    place = _default(policy, platform, entity, subject, kind, place)
    site = None if own is None else own.id
    return _Meant(kind, said, place, site, by_role=meant.by_role, retracts=meant.retracts)


def _default(
    policy: Policy,
    platform: Platform,
    entity: Entity,
    subject: RawEvent,
    kind: EventType,
    place: Place,
) -> Place:
    """Where a claim names no place: the tender's first stop, or the only stop the type can mean."""
    if place.canonical is not None:
        return place
    stop = subject["stop"]
    silent = stop is None or not (stop["location"] or stop["city"] or stop["number"])
    if not silent:
        return place
    if kind.sets_plan:
        first = subject["stops"][0] if subject["stops"] else None
        site = policy.site_of(platform, entity.name.tenant, first)
        return Place(None if site is None else site.id, site, place.role)
    only = only_stop(entity, kind.stop_roles, subject["occurred"]) if kind.stop_roles else None
    if only is None:
        return place
    site = policy.site(entity.name.tenant, site_of(only.place))
    return Place(only.place, site, only.stop["role"])


def _put(
    policy: Policy, entity: Entity, claim: Claim, subject: RawEvent, meant: _Meant
) -> Placed | Wait | Ended:
    """From event type and place to an occurrence that somebody owns."""
    kind, place = meant.kind, meant.place
    tag = discriminator(kind, subject, place)
    if tag is None:
        return Wait(Reason.STOP_UNRESOLVED, policy.limits.stop_ms, subject)
    if not tag and kind.cardinality in {Cardinality.DOCUMENT, Cardinality.LEG}:
        detail = f"{kind.name} is told apart by {kind.cardinality.value}, which is empty"
        raise RefusedError(Reason.DOCUMENT_MISSING, detail, Stage.OCCURRENCE, entity.key)
    if _closed(entity, meant, tag):
        return Ended(Disposition.STALE, Reason.ACTUAL_KNOWN, kind.name)
    region = policy.region_of(subject["stop"], place.site)
    if region is None and kind.sets_plan and subject["stops"]:
        region = policy.region_of(subject["stops"][0], place.site)
    rule = authority(policy, entity, kind, claim, region)
    if rule is Reason.REGION_UNRESOLVED:
        return Wait(rule, policy.limits.region_ms, subject)
    if isinstance(rule, Reason):
        where = region or entity.region or "any region"
        detail = f"{kind.name} of tenant {claim.tenant} in {where}"
        raise RefusedError(rule, detail, Stage.OWNERSHIP, entity.key)
    spoken = Spoken(claim, written(kind, subject, by_role=meant.by_role), region, place.canonical)
    spoken.subject = subject
    spoken.content = content(subject, meant.site)
    spoken.retracts |= meant.retracts
    return Placed(kind, tag, spoken)


def _closed(entity: Entity, meant: _Meant, tag: str) -> bool:
    """Whether an estimate is of something that has happened."""
    kind, said = meant.kind, meant.said
    if said is not kind and _stands(entity, said.name, tag if said.by_stop else ""):
        return True
    if not kind.closed_by:
        return False
    if tag:
        return any(_stands(entity, closer, tag) for closer in kind.closed_by)
    return any(entity.standing[closer] for closer in kind.closed_by) and not any(
        item.stop["role"] in kind.stop_roles
        and not any(_stands(entity, closer, item.place) for closer in kind.closed_by)
        for item in entity.stops
    )


def _stands(entity: Entity, event_type: str, tag: str) -> bool:
    found = entity.occurrences.get(f"{event_type}|{tag}")
    return found is not None and found.stands


def _plausible(claim: Claim, platform: Platform, kind: EventType, key: str) -> None:
    """Refuse times that can't be meant; mark a clock that runs ahead within the tolerance."""
    body = claim.body
    occurred, ahead = body["occurred"], body["occurred"] - claim.origin.received
    if occurred < platform.earliest_ms:
        earliest = _told(platform.earliest_ms)
        detail = f"occurred {_told(occurred)}, {platform.name}'s earliest is {earliest}"
        raise RefusedError(Reason.IMPLAUSIBLE_TIME, detail, Stage.PLAUSIBILITY, key)
    if ahead > _AHEAD_MS_MAX:
        detail = f"{_late(claim)}; more than five years can't be meant"
        raise RefusedError(Reason.IMPLAUSIBLE_TIME, detail, Stage.PLAUSIBILITY, key)
    if ahead <= 0 or kind.closed_by or body["classifier"] in _ESTIMATES:
        return
    if ahead > platform.clock_tolerance_ms:
        detail = f"{_late(claim)}; up to {_span(platform.clock_tolerance_ms)} are let pass"
        raise RefusedError(Reason.OCCURRED_IN_FUTURE, detail, Stage.PLAUSIBILITY, key)
    claim.clock_ahead = True


def _late(claim: Claim) -> str:
    occurred, received = claim.body["occurred"], claim.origin.received
    after = f"{_span(occurred - received)} after it was received"
    return f"occurred {_told(occurred)}, {after} ({_told(received)})"


def _told(milliseconds: int) -> str:
    """A time for people, ISO 8601 in UTC; one of no calendar as the number it is."""
    try:
        moment = _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return f"{milliseconds} ms"
    exact = "milliseconds" if milliseconds % 1_000 else "seconds"
    return moment.isoformat(timespec=exact).replace("+00:00", "Z")


def _span(milliseconds: int) -> str:
    """A duration for people, in its two largest units: 364 d 9 h, 5 min 1 s."""
    parts, rest = [], milliseconds
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        parts.append((count, unit))
    first = next((at for at, (count, _) in enumerate(parts) if count), len(parts) - 1)
    told = [f"{count} {unit}" for count, unit in parts[first : first + 2] if count]
    return " ".join(told) or "0 ms"


def _retracted(policy: Policy, entity: Entity, claim: Claim) -> Placed | Wait:
    """The place of a retraction: that of its author's statement with the event id it names.

    It waits for a statement that has not come yet, or with one that waits itself. A retraction is
    no statement: who took something back in error says it again.
    """
    body = claim.body
    found = _target(entity, body)
    if isinstance(found, Held):
        limits = policy.limits
        wait = limits.stop_ms if found.reason == Reason.STOP_UNRESOLVED else limits.region_ms
        return Wait(Reason(found.reason), wait, found.subject)
    if found is not None:
        occurrence, target = found
        kind = policy.catalogue.get(occurrence.event_type)
        if kind is not None:
            spoken = Spoken(claim, target.written, target.region, target.place)
            spoken.subject, spoken.content = target.subject, target.content
            return Placed(kind, occurrence.discriminator, spoken)
    return Wait(Reason.AWAITING_TARGET, policy.limits.target_ms, body)


def _target(entity: Entity, body: RawEvent) -> tuple[Occurrence, Spoken] | Held | None:
    meant = body["retracts"]
    for occurrence in entity.occurrences.values():
        for spoken in occurrence.spoken.get(body["platform"], ()):
            own = spoken.claim.body
            said = own["retracts"] or own["event_id"]
            if meant == said or meant in spoken.restated or meant in spoken.replaces:
                return occurrence, spoken
    for held in entity.held:
        own = held.claim.body
        if own["retracts"] is None and (own["platform"], own["event_id"]) == (
            body["platform"],
            meant,
        ):
            return held
    return None
