"""From revisions to a story: what stands, what it was before, what is expected, what is missing.

Pure: rows of the store and words in, views out. It arranges what was approved and must never
decide what is true.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from connectors.portal.apply import recognised, split_into
from connectors.portal.store import SHOWN, Head, Revision
from connectors.portal.times import moment, utc
from connectors.portal.views import (
    Cancelled,
    Entity,
    Freshness,
    Gap,
    Link,
    Milestone,
    Moment,
    Name,
    Place,
    Speaker,
    State,
    Status,
    Stop,
    TakenBack,
    Version,
)
from connectors.portal.wording import Wording, role, unit
from pipeline.contract.codec import AMOUNT_SCALE, QUANTITY_SCALE, Record, unscaled
from pipeline.governance.identity import Key, parse_key
from pipeline.governance.reasons import MEANINGS, Reason
from pipeline.governance.vocabulary import (
    Action,
    Assurance,
    Cardinality,
    Classifier,
    Flag,
)

PLURALS: Final = {"shipment": "shipments", "order": "orders"}
"""Entity types with a page, and how they are called in addresses."""

PREVIOUS_MAX: Final = 50
"""Earlier revisions that are told of one milestone; a stream of positions may have thousands."""
_COMPLETENESS: Final = {"PARTIAL": ", partial", "COMPLETE": ", complete"}
_CENT: Final = Decimal("0.01")


class Related(NamedTuple):
    """Entities around the one that is told of, as far as the store knows them."""

    known: Mapping[Key, Head]
    """Of those that `links_of` and `parts_of` name."""
    parents: Sequence[Head] = ()
    """Shipments that were split into it and others."""


class Manner(NamedTuple):
    """In which words, and to whom, a story is told."""

    wording: Wording
    language: str
    staff: bool = False
    """Whether the reader may know persons by name, and what they remarked."""


@dataclass(slots=True)
class Told:
    """Milestones of one entity, sorted by what they are for a reader."""

    facts: list[Milestone] = field(default_factory=list)
    expected: list[Milestone] = field(default_factory=list)
    positions: list[Milestone] = field(default_factory=list)


def address(key: Key, prefix: str = "/api") -> str | None:
    """Address of an entity; None: its type has no page."""
    if key.type not in PLURALS:
        return None
    return f"{prefix}/{PLURALS[key.type]}/{quote(key.id, safe='')}?tenant={quote(key.tenant)}"


def milestones(revisions: Sequence[Revision], home: str | None, manner: Manner) -> list[Milestone]:
    """Every milestone with its revisions, in the order of the story.

    Args:
        revisions: of one entity's milestones.
        home: zone for what has no place of its own; see `home_zone`.
        manner: words and reader.

    """
    grouped: dict[str, list[Revision]] = {}
    for revision in revisions:
        grouped.setdefault(revision.record["milestone_id"], []).append(revision)
    told = [
        _milestone(sorted(group, key=lambda item: item.record["revision"]), home, manner)
        for group in grouped.values()
    ]
    return sorted(told, key=lambda item: item.entity_seq)


def tell(
    head: Head,
    revisions: Sequence[Revision],
    related: Related,
    freshness: Freshness,
    manner: Manner,
) -> Entity:
    """The whole story of an entity.

    Args:
        head: the entity.
        revisions: all revisions of its milestones.
        related: what the store knows of the entities around it.
        freshness: of the answer.
        manner: words and reader.

    """
    tenant, wording = head.key.tenant, manner.wording
    everything = milestones(revisions, home_zone(head, wording), manner)
    generation = max((item.generation for item in everything), default=1)
    told = sort((item for item in everything if item.generation == generation), wording)
    current = [item for item in revisions if item.record["generation"] == generation]
    former = sort((item for item in everything if item.generation < generation), wording)
    summary: Record = head.summary or {}
    return Entity(
        tenant=tenant,
        type=head.key.type,
        id=head.key.id,
        status=_status(head, current, told.facts, manner),
        region=summary.get("region"),
        incomplete=Flag.INCOMPLETE in summary.get("flags", ()),
        cancelled=_cancelled(told.facts, wording),
        after_cancel=any(Flag.AFTER_CANCEL in item.flags for item in told.facts if item.stands),
        milestones=told.facts,
        earlier=former.facts,
        expected=told.expected,
        position=told.positions[-1] if told.positions else None,
        missing=_gaps(current, told.facts, tenant, manner),
        stops=[_stop(stop, tenant, told.facts, wording) for stop in summary.get("stops", ())],
        linked=[
            _link(key, related.known.get(key), stated, manner)
            for key, stated in links_of(head).items()
        ],
        split_into=[
            _link(key, related.known.get(key), "", manner) for key in parts_of(head, revisions)
        ],
        part_of=[_link(item.key, item, "", manner) for item in related.parents],
        references=[Name(**item) for item in summary.get("references", ())],
        freshness=freshness,
    )


def _cancelled(facts: Sequence[Milestone], wording: Wording) -> Cancelled | None:
    """The cancellation that stands, if one does."""
    for fact in reversed(facts):
        kind = wording.kind(fact.event_type)
        if fact.stands and kind is not None and kind.cancels:
            return Cancelled(
                label=fact.label,
                provisional=fact.state == "provisional",
                occurred=fact.current.occurred,
            )
    return None


def home_zone(head: Head, wording: Wording) -> str | None:
    """Zone of the first stop whose clocks are known: for what happened at no place."""
    for stop in (head.summary or {}).get("stops", ()):
        site = wording.site(head.key.tenant, stop["location"])
        if site is not None:
            return site.zone
    return None


def destination(head: Head, wording: Wording) -> Place | None:
    """Place of the last stop."""
    stops = (head.summary or {}).get("stops", ())
    return _place(stops[-1], head.key.tenant, wording) if stops else None


def links_of(head: Head) -> dict[Key, str]:
    """Linked entities, with their status as last linked."""
    found = {}
    for item in (head.summary or {}).get("linked", ()):
        try:
            found[parse_key(item["key"])] = str(item["status"])
        except ValueError:
            continue  # a key of a form that this version doesn't know can't be shown
    return found


def parts_of(head: Head, revisions: Iterable[Revision]) -> list[Key]:
    """The shipments into which a shipment is split."""
    parts = split_into(item.record for item in revisions)
    return [part for part in parts if part.tenant == head.key.tenant]


def sort(told: Iterable[Milestone], wording: Wording) -> Told:
    """Tell facts, open expectations and positions apart."""
    sorted_out = Told()
    estimates = []
    for item in told:
        kind = wording.kind(item.event_type)
        stream = kind is not None and kind.cardinality is Cardinality.STREAM
        if (kind is not None and kind.closed_by) or (
            item.current.classifier not in (Classifier.ACTUAL, Classifier.UNRECOGNISED)
        ):
            estimates.append(item)
        elif stream:
            sorted_out.positions += [item] if item.stands else []
        else:
            sorted_out.facts.append(item)
    sorted_out.expected = [
        item for item in estimates if item.stands and not _settled(item, sorted_out.facts, wording)
    ]
    return sorted_out


def _settled(estimate: Milestone, facts: Iterable[Milestone], wording: Wording) -> bool:
    """Whether what was expected has happened."""
    kind = wording.kind(estimate.event_type)
    closing = {estimate.event_type, *([] if kind is None else kind.closed_by)}
    where = _location(estimate)
    return any(
        fact.stands and fact.event_type in closing and where in (None, _location(fact))
        for fact in facts
    )


def _milestone(group: list[Revision], home: str | None, manner: Manner) -> Milestone:
    newest = group[-1].record
    state = _state(newest)
    told = group[: -PREVIOUS_MAX - 2 : -1]
    versions = [_version(item, home, manner) for item in told]
    parts = split_into([newest])
    # Of what was taken back, what had been said
    told_last = versions[1] if state == "retracted" and len(versions) > 1 else versions[0]
    return Milestone(
        milestone_id=newest["milestone_id"],
        event_type=newest["event_type"],
        label=manner.wording.event(newest["event_type"], newest["tenant"], manner.language),
        state=state,
        stands=state in ("confirmed", "provisional", "corrected"),
        late=any(Flag.LATE in item.record["flags"] for item in group),
        entity_seq=newest["entity_seq"],
        generation=newest["generation"],
        split_into=[part.id for part in parts],
        taken_back=_taken_back(versions[0]) if state == "retracted" else None,
        current=versions[0],
        previous=versions[1:],
        flags=newest["flags"],
        agree=newest["agree"],
        dissent=newest["dissent"],
        document=told_last.document,
        quantity=told_last.quantity,
        amount=told_last.amount,
    )


def _state(record: Record) -> State:
    if not recognised(record):
        return "unrecognised"
    if record["action"] == Action.RETRACT:
        return "retracted"
    if record["assurance"] == Assurance.PROVISIONAL:
        return "provisional"
    return "corrected" if record["action"] == Action.CORRECT else "confirmed"


def _taken_back(version: Version) -> TakenBack:
    return TakenBack(
        by=version.by if version.reason == Reason.RETRACTED_BY_AUTHOR else None,
        reason=version.reason,
        reason_text=version.reason_text,
        at=version.published_at,
    )


def _version(revision: Revision, home: str | None, manner: Manner) -> Version:
    record, wording = revision.record, manner.wording
    stop = record["stop"]
    site = wording.site(record["tenant"], None if stop is None else stop["location"])
    zone = (None if stop is None else stop["zone"]) or (None if site is None else site.zone)
    zone = zone or (home if stop is None else None)
    return Version(
        revision=record["revision"],
        action=record["action"],
        assurance=record["assurance"],
        classifier=record["classifier"],
        occurred=moment(
            record["occurred"],
            zone,
            record["occurred_offset_minutes"],
            record["occurred_precision"],
        ),
        place=None if stop is None else _place(stop, record["tenant"], wording),
        by=Speaker(
            platform=record["platform"],
            role=record["role"],
            role_label=role(record["role"]),
            native_status=record["native_status"],
            person=record["stated_by"] if manner.staff else None,
            remark=record["remark"] if manner.staff else None,
        ),
        reason=record["reason"],
        reason_text=_meaning(record["reason"]),
        document=record["document"],
        quantity=_quantity(record["quantity"]),
        amount=_amount(record["amount"], record["currency"]),
        repaired=record["repaired_by"] is not None,
        repaired_by=record["repaired_by"] if manner.staff else None,
        received_at=utc(record["received"]),
        published_at=utc(revision.published_ms),
        applied_at=utc(revision.applied_ms),
    )


def _place(stop: Mapping[str, Any], tenant: str, wording: Wording) -> Place:
    site = wording.site(tenant, stop["location"])
    location = stop["location"]
    return Place(
        name=stop["name"] if site is None else site.name,
        city=stop["city"] if site is None else site.city or stop["city"],
        subdivision=stop["subdivision"] if site is None else site.subdivision or None,
        country=stop["country"] if site is None else site.country,
        location=None if location is None else location.partition("#")[0],
        stop=stop["number"],
        role=stop["role"],
    )


def _stop(
    stop: Mapping[str, Any], tenant: str, facts: Iterable[Milestone], wording: Wording
) -> Stop:
    place = _place(stop, tenant, wording)
    site = wording.site(tenant, stop["location"])
    there = [fact for fact in facts if fact.stands and _at(fact, place) and _happens(fact, wording)]
    newest = max(there, key=lambda fact: fact.current.occurred.at, default=None)
    return Stop(
        place=place,
        zone=None if site is None else site.zone,
        milestone=None if newest is None else newest.label,
        provisional=newest is not None and newest.state == "provisional",
        occurred=None if newest is None else newest.current.occurred,
    )


def _happens(fact: Milestone, wording: Wording) -> bool:
    """Whether a fact happens at its place: a plan only speaks of it."""
    kind = wording.kind(fact.event_type)
    return kind is None or not kind.sets_plan


def _at(fact: Milestone, place: Place) -> bool:
    """Whether a fact happened at a stop: by its number, where the list visits a place twice."""
    where = fact.current.place
    if where is None or where.location is None or where.location != place.location:
        return False
    return where.stop is None or place.stop is None or where.stop == place.stop


def _location(item: Milestone) -> str | None:
    return None if item.current.place is None else item.current.place.location


def _status(
    head: Head,
    revisions: Sequence[Revision],
    facts: Sequence[Milestone],
    manner: Manner,
) -> Status:
    """The status, and the standing milestone behind it: the newest that brought it about."""
    wording = manner.wording
    standing = {fact.milestone_id: fact for fact in facts if fact.stands}
    behind = None
    for revision in revisions:
        record = revision.record
        if record["status_after"] == head.status and record["milestone_id"] in standing:
            kind = wording.kind(record["event_type"])
            named = kind is None or head.status in (kind.status, kind.partial_status)
            if named:
                behind = standing[record["milestone_id"]]
    since: Moment | None = None if behind is None else behind.current.occurred
    return Status(
        code=head.status,
        label=wording.status(head.status, head.key, manner.language) if head.status else "Known",
        provisional=behind is not None and behind.state == "provisional",
        since=since,
        place=None if behind is None else behind.current.place,
    )


def _gaps(
    revisions: Iterable[Revision],
    facts: Sequence[Milestone],
    tenant: str,
    manner: Manner,
) -> list[Gap]:
    """Predecessors that standing milestones had to do without, and that never came."""
    standing = {fact.milestone_id for fact in facts if fact.stands}
    known = {fact.event_type for fact in facts if fact.stands}
    gaps: dict[str, Gap] = {}
    for revision in revisions:
        record = revision.record
        if record["milestone_id"] not in standing:
            continue
        for name in record["skipped"]:
            if name not in known and name not in gaps:
                gaps[name] = Gap(
                    event_type=name,
                    label=manner.wording.event(name, tenant, manner.language),
                    before=record["milestone_id"],
                )
    return list(gaps.values())


def _link(key: Key, known: Head | None, stated: str, manner: Manner) -> Link:
    status = known.status if known is not None and known.status else stated
    return Link(
        tenant=key.tenant,
        type=key.type,
        id=key.id,
        status=status,
        status_label=manner.wording.status(status, key, manner.language) if status else "",
        href=address(key) if known is not None and key.type in SHOWN else None,
    )


def _meaning(reason: str) -> str:
    try:
        return MEANINGS[Reason(reason)].text
    except (ValueError, KeyError):
        return reason


def _quantity(quantity: Mapping[str, Any] | None) -> str | None:
    if quantity is None:
        return None
    value = unscaled(quantity["value"], QUANTITY_SCALE).normalize()
    return f"{value:f} {unit(quantity['unit'])}{_COMPLETENESS.get(quantity['completeness'], '')}"


def _amount(amount: int | None, currency: str | None) -> str | None:
    if amount is None:
        return None
    value = unscaled(amount, AMOUNT_SCALE).normalize()
    cents = value if value.as_tuple().exponent in (-3, -4) else value.quantize(_CENT)
    return f"{cents:f} {currency or ''}".strip()
