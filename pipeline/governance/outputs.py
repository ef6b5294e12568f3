"""What governance says to the world: the records it publishes, as plain dictionaries.

Shapes of `schemas/approved-milestone.avsc`, `entity-status.avsc` and `link.avsc`. Must never decide
what is published.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pipeline.governance.claims import Reference
from pipeline.governance.entity import Entity, Occurrence, Spoken
from pipeline.governance.occurrence import NO_STOP, site_of
from pipeline.governance.policy import EventType, Policy
from pipeline.governance.standing import Judgement, agrees
from pipeline.governance.vocabulary import Action, Assurance, EntityType, Flag, LinkKind

Record = dict[str, Any]
REFERENCES_MAX = 50


class Verdict(NamedTuple):
    """The disposition of one input record, as the ledger writes it."""

    disposition: str
    reason: str
    rule: str = ""
    entity: str = ""
    event_type: str = ""
    milestone_id: str = ""
    revision: int = 0
    platform: str = ""
    claim: str = ""
    occurred: int | None = None
    deadline: int | None = None


class Transition(NamedTuple):
    """A later fate of an earlier record, as the ledger writes it; cause -1 is the clock."""

    seq: int
    cause: int
    before: str
    after: str
    reason: str
    rule: str = ""
    entity: str = ""
    event_type: str = ""
    milestone_id: str = ""
    revision: int = 0
    platform: str = ""
    claim: str = ""


class Telling(NamedTuple):
    """By whom and why links are written."""

    hops: int
    """Links that led to this one, itself included."""
    sent: int
    """Clock of the partition, ms UTC."""
    partition: int
    cause: int
    """Ledger sequence of the record that caused the change."""


class Publication:
    """Why a revision is published."""

    __slots__ = ("action", "advances", "assurance", "flags", "judgement", "reason", "skipped")

    def __init__(
        self,
        action: Action,
        assurance: Assurance,
        reason: str,
        judgement: Judgement,
        flags: list[str],
        skipped: list[str],
        *,
        advances: bool,
    ) -> None:
        self.action = action
        self.assurance = assurance
        self.reason = reason
        self.judgement = judgement
        self.flags = flags
        self.skipped = skipped
        self.advances = advances


def approved_record(
    policy: Policy,
    partition: int,
    entity: Entity,
    occurrence: Occurrence,
    spoken: Spoken,
    publication: Publication,
    previous: tuple[str | None, int | None],
) -> Record:
    """The approved milestone of the occurrence's newest revision.

    Args:
        policy: bundle in force.
        partition: partition number of the ledger.
        entity: already at its new sequence and status.
        occurrence: already at its new revision.
        spoken: the claim that the revision carries.
        publication: why.
        previous: event id and occurred of the revision before.

    """
    judgement = publication.judgement
    agree: list[str] = []
    dissent: list[str] = []
    for name in sorted(judgement.latest.keys() - {spoken.claim.body["platform"]}):
        same = agrees(judgement.latest[name], spoken, judgement.tolerance_ms)
        (agree if same else dissent).append(name)
    return {
        "event_id": f"{occurrence.milestone_id}:{occurrence.revision}",
        "milestone_id": occurrence.milestone_id,
        "revision": occurrence.revision,
        "action": publication.action.value,
        "assurance": publication.assurance.value,
        "event_type": occurrence.event_type,
        "classifier": spoken.claim.body["classifier"],
        "tenant": entity.name.tenant,
        "entity_type": entity.name.type,
        "entity_id": entity.name.id,
        "entity_seq": entity.seq,
        "correlations": _correlations(entity),
        "references": list(entity.references),
        "stop": _stop(policy, entity, occurrence, spoken),
        "region": spoken.region or entity.region,
        **_claimed(policy, spoken),
        "policy_version": policy.version,
        "rule": judgement.rule,
        "reason": publication.reason,
        "supersedes": previous[0],
        "previous_occurred": previous[1],
        "advances_status": publication.advances,
        "status_after": entity.status,
        "skipped": publication.skipped,
        "agree": agree,
        "dissent": dissent,
        "flags": publication.flags,
        "ledger_partition": partition,
        "ledger_seq": spoken.claim.seq,
        "shipments": list(entity.split) if spoken.subject["shipments"] else [],
        "stated_by": spoken.claim.body["stated_by"],
        "remark": spoken.claim.body["remark"],
        "repaired_by": spoken.claim.repaired_by,
        "generation": entity.generation,
    }


def _claimed(policy: Policy, spoken: Spoken) -> Record:
    """What the record takes over from the claim, and where that can be read."""
    claim = spoken.claim
    body, origin = claim.body, claim.origin
    platform = policy.platforms.get(body["platform"])
    return {
        "leg": body["leg"],
        "attempt": body["attempt"],
        "document": body["document"],
        "warehouse_task": body["warehouse_task"],
        "quantity": body["quantity"],
        "amount": body["amount"],
        "currency": body["currency"],
        "occurred": spoken.occurred,
        "occurred_precision": spoken.precision,
        "occurred_offset_minutes": body["occurred_offset_minutes"],
        "recorded": body["recorded"],
        "received": origin.received,
        "platform": body["platform"],
        "role": "" if platform is None else platform.role.value,
        "native_status": body["native_status"],
        "native_reason": body["native_reason"],
        "source_event_id": body["event_id"],
        "raw_topic": origin.topic,
        "raw_partition": origin.partition,
        "raw_offset": origin.offset,
        "raw_digest": claim.digest.hex(),
    }


def flags_of(
    entity: Entity, kind: EventType, spoken: Spoken, *, first: bool, after_cancel: bool
) -> list[str]:
    """What a reader should know besides."""
    flags = []
    # A cancellation undoes nothing that has moved: it ranks lower, and is no late report
    if first and kind.rank and kind.rank < entity.rank and not kind.cancels:
        flags.append(Flag.LATE.value)
    if entity.incomplete:
        flags.append(Flag.INCOMPLETE.value)
    if after_cancel:
        flags.append(Flag.AFTER_CANCEL.value)
    if spoken.claim.clock_ahead:
        flags.append(Flag.CLOCK.value)
    if spoken.claim.repaired_by:
        flags.append(Flag.REPAIRED.value)
    return flags


def status_record(policy: Policy, entity: Entity) -> Record:
    """The entity's current story."""
    told = sorted(
        (item for item in entity.occurrences.values() if item.revision), key=lambda item: item.seq
    )
    return {
        "tenant": entity.name.tenant,
        "entity_type": entity.name.type,
        "entity_id": entity.name.id,
        "entity_seq": entity.seq,
        "status": entity.status,
        "region": entity.region,
        "updated": entity.received,
        "milestones": [
            {
                "milestone_id": item.milestone_id,
                "revision": item.revision,
                "event_type": item.event_type,
                "action": item.action,
                "assurance": item.assurance,
                "location": _place(policy, item),
                "occurred": item.published,
                "platform": item.platform,
            }
            for item in told
        ],
        "stops": [{**planned.stop, "location": planned.place} for planned in entity.stops],
        "linked": [
            {"key": key, "status": entity.linked[key].status if key in entity.linked else ""}
            for key in _correlations(entity)
        ],
        "references": list(entity.references),
        "flags": [Flag.INCOMPLETE.value] if entity.incomplete else [],
        "policy_version": policy.version,
    }


def link_record(
    entity: Entity,
    kind: LinkKind,
    target: str,
    telling: Telling,
    *,
    valid_from: int | None = None,
    valid_to: int | None = None,
    orders: Sequence[str] = (),
) -> Record:
    """A link from the entity, which counts it; one that has ended says until when it was valid."""
    entity.link_seq += 1
    return {
        "kind": kind.value,
        "source": entity.key,
        "target": target,
        "source_seq": entity.link_seq,
        "hops": telling.hops,
        "sent": telling.sent,
        "status": entity.status,
        "region": entity.region,
        "valid_from": valid_from,
        "valid_to": valid_to,
        "ledger_partition": telling.partition,
        "ledger_seq": telling.cause,
        "orders": list(orders),
    }


def add_references(entity: Entity, references: list[Reference]) -> None:
    """Learn other names of the entity, up to a cap."""
    for reference in references:
        known: Reference = {
            "kind": reference["kind"],
            "scope": reference["scope"],
            "value": reference["value"],
        }
        if known not in entity.references and len(entity.references) < REFERENCES_MAX:
            entity.references.append(known)


def _place(policy: Policy, occurrence: Occurrence) -> str | None:
    kind = policy.catalogue.get(occurrence.event_type)
    if kind is None or not kind.by_stop:
        return None
    return occurrence.discriminator.partition("@")[0] or None


def _correlations(entity: Entity) -> list[str]:
    """A shipment's orders; an order's shipments, once something stands of them."""
    if entity.orders:
        return list(entity.orders)
    return [
        key
        for key, item in entity.linked.items()
        if item.status and not item.ended and entity.name.type == EntityType.ORDER
    ]


def _stop(policy: Policy, entity: Entity, occurrence: Occurrence, spoken: Spoken) -> Record | None:
    """The stop as the record shows it: the canonical place, with its zone."""
    stop = spoken.subject["stop"]
    place = _place(policy, occurrence) or spoken.place
    planned = next((item for item in entity.stops if item.place == place), None)
    site = policy.site(entity.name.tenant, site_of(place)) if place else None
    if stop is None and planned is None and site is None:
        return None
    said = stop or (NO_STOP if planned is None else planned.stop)
    number = said["number"] if planned is None else planned.stop["number"]
    return {
        "number": number,
        "role": said["role"] or (None if planned is None else planned.stop["role"]),
        "location": place or said["location"],
        "name": site.name if site is not None else said["name"],
        "city": site.city if site is not None else said["city"],
        "subdivision": (site.subdivision or None) if site is not None else said["subdivision"],
        "country": site.country if site is not None else said["country"],
        "zone": None if site is None else site.zone,
    }
