"""What an entity knows of itself: its progress, what its plan tells, what linked entities told it.

The latest tender gives a shipment its stops, orders, start and region. One that its author took
back still does, until there is a new one: what was built on it stands. Must never judge a claim.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from pipeline.governance.claims import Order, RawEvent, stored_bytes
from pipeline.governance.entity import Entity, Linked, Occurrence, Plan, Spoken
from pipeline.governance.hearing import speaks
from pipeline.governance.identity import entity_key, normalise
from pipeline.governance.occurrence import plan_stops
from pipeline.governance.outputs import link_record
from pipeline.governance.policy import EventType, Policy
from pipeline.governance.reasons import Reason
from pipeline.governance.standing import authority
from pipeline.governance.vocabulary import EntityType, LinkKind

Record = dict[str, Any]
LINKED_MAX: Final = 1_000
"""Entities that one may be linked with."""
LINKED_BYTES_MAX: Final = 300_000
"""Bytes of their keys: a thousand of any length that people use."""


def progress(policy: Policy, entity: Entity) -> tuple[int, str]:
    """Rank and status: those of the furthest standing milestone.

    An event type with a partial status reaches its full one when every stop with one of its roles
    has it.
    """
    best, status = 0, ""
    for name, count in entity.standing.items():
        kind = policy.catalogue.get(name)
        if count <= 0 or kind is None or not kind.rank:
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


class _Stated(NamedTuple):
    """What the author of a plan said in one."""

    occurred: int
    spoken: Spoken
    stands: bool
    lists: bool
    """Whether its stop list is the newest of its author's in this plan."""

    @property
    def order(self) -> tuple[int, Order]:
        """By which the newest plan is found."""
        return self.occurred, self.spoken.stated


def replan(policy: Policy, entity: Entity) -> bool:
    """Take stops, orders, start and region from the plans that stand.

    A plan that is silent on one of them takes nothing away. Stop lists of other owners are kept to
    read claims by that were made when these stood.

    Returns:
        Whether claims have to be judged again.

    """
    starts: list[int] = []
    stated: list[_Stated] = []
    for occurrence in entity.occurrences.values():
        kind = policy.catalogue.get(occurrence.event_type)
        if kind is not None and kind.sets_plan:
            stated += _stated(policy, entity, occurrence, kind, starts)
    plans: list[Plan] = []
    orders: list[str] = []
    region = entity.region_by_link
    for item in sorted(stated, key=lambda item: item.order):
        spoken = item.spoken
        platform = policy.platforms.get(spoken.claim.body["platform"])
        if platform is not None and item.lists:
            stops = plan_stops(policy, platform, entity.name.tenant, spoken.subject["stops"])
            plans.append(Plan(item.occurred, spoken.stated, stops, item.stands))
        if item.stands:
            orders = _orders(policy, entity, spoken.subject) or orders
            region = spoken.region or region
    start = min(starts, default=None)
    before = (entity.region, entity.start, entity.plans)
    entity.region, entity.start, entity.plans, entity.orders = region, start, plans, orders
    return before != (region, start, plans)


def _stated(
    policy: Policy,
    entity: Entity,
    occurrence: Occurrence,
    kind: EventType,
    starts: list[int],
) -> list[_Stated]:
    """What owners said in one plan; the start of one that stands is added to `starts`."""
    found: list[_Stated] = []
    for name, voices in occurrence.spoken.items():
        latest = speaks(voices)
        stands = occurrence.platform == name and (occurrence.stands or latest.retracts)
        if stands:
            starts.append(latest.subject["occurred"] if latest.retracts else latest.occurred)
        else:
            rule = authority(policy, entity, kind, latest.claim, latest.region)
            if isinstance(rule, Reason) or rule.owner != name:
                continue
        listing = [item for item in voices if item.subject["stops"]]
        newest = max(listing, key=lambda item: item.stated, default=None)
        found += [
            _Stated(item.subject["occurred"], item, stands, item is newest) for item in voices
        ]
    return found


def _orders(policy: Policy, entity: Entity, subject: RawEvent) -> list[str]:
    """Keys of the orders that a plan names."""
    if entity.name.type != EntityType.SHIPMENT:
        return []
    platform = policy.platforms.get(subject["platform"])
    rules = () if platform is None else platform.id_rules.get(EntityType.ORDER.value, ())
    names = [normalise(order, rules) for order in subject["orders"]]
    return [entity_key(entity.name.tenant, EntityType.ORDER.value, name) for name in names if name]


def tell(
    policy: Policy, entity: Entity, *, hops: int, sent: int, partition: int, cause: int
) -> list[Record]:
    """Links to those who should know what has changed of the entity since it told them last.

    A shipment tells its orders its status, and an order its shipments their region. A tender that
    waits for its region asks the orders it names.

    Args:
        policy: the bundle in force.
        entity: changed in place: it remembers whom it told what.
        hops: links that led here; at the limit nothing is told, for now.
        sent: clock of the partition, ms UTC.
        partition: number of the partition.
        cause: ledger sequence of the record that caused the change.

    """
    if hops >= policy.limits.hops_max:
        return []

    def link(kind: LinkKind, target: str, *, ended: bool = False) -> Record:
        return link_record(
            entity,
            kind,
            target,
            hops=hops + 1,
            sent=sent,
            ended=ended,
            partition=partition,
            cause=cause,
        )

    if entity.name.type == EntityType.ORDER:
        return [
            link(LinkKind.REGION_OF_SHIPMENT, key)
            for key, item in entity.linked.items()
            if item.learns(entity.region)
        ]
    wanted = dict.fromkeys(entity.orders)
    for held in entity.held:
        wanted |= dict.fromkeys(_orders(policy, entity, held.subject))
    links = [
        link(LinkKind.SHIPMENT_OF_ORDER, order, ended=True)
        for order in entity.told
        if order not in wanted
    ]
    news = entity.status != entity.told_status
    links += [
        link(LinkKind.SHIPMENT_OF_ORDER, order)
        for order in wanted
        if news or order not in entity.told
    ]
    entity.told, entity.told_status = list(wanted), entity.status
    return links


def hear_link(entity: Entity, record: Record) -> Reason:
    """Take over what a linked entity says, once and in order.

    Args:
        entity: the link's target, changed in place.
        record: the link.

    Returns:
        Why it changed something or nothing.

    """
    source, kind = record["source"], record["kind"]
    wanted = {
        LinkKind.SHIPMENT_OF_ORDER.value: EntityType.ORDER.value,
        LinkKind.REGION_OF_SHIPMENT.value: EntityType.SHIPMENT.value,
    }
    if wanted.get(kind) != entity.name.type:
        return Reason.LINK_UNKNOWN
    known = entity.linked.get(source)
    if known is not None and record["source_seq"] <= known.seq:
        return Reason.LINK_REPEATED
    if known is None and _full(entity, source):
        return Reason.LINKS_FULL
    ended = record["valid_to"] is not None
    fresh = Linked(record["source_seq"], record["status"], ended=ended)
    if known is not None and not known.ended:
        fresh.region = known.region
    entity.linked[source] = fresh
    if kind == LinkKind.REGION_OF_SHIPMENT and record["region"]:
        entity.link_region[source] = record["region"]
    return Reason.LINK_APPLIED


def _full(entity: Entity, source: str) -> bool:
    """Whether there is no room for one more link."""
    keys = (source, *entity.linked)
    return len(keys) > LINKED_MAX or sum(map(stored_bytes, keys)) > LINKED_BYTES_MAX
