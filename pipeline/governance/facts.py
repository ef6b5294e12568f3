"""What an entity knows of itself: its progress, what its plan tells, whether it is over.

The latest tender gives a shipment its stops, orders, start and region. One that its author took
back still does, until there is a new one: what was built on it stands. Must never judge a claim.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pipeline.governance.claims import Order, RawEvent
from pipeline.governance.entity import Entity, Occurrence, Plan, Spoken
from pipeline.governance.hearing import speaks
from pipeline.governance.identity import entity_key, normalise
from pipeline.governance.occurrence import plan_stops
from pipeline.governance.policy import EventType, Policy
from pipeline.governance.reasons import Reason
from pipeline.governance.standing import authority
from pipeline.governance.vocabulary import EntityType

PARTIAL: Final = "PARTIAL"
"""Completeness of a quantity of which more is to come."""


def progress(policy: Policy, entity: Entity) -> tuple[int, str]:
    """Rank and status: those of the furthest standing milestone.

    An event type with a partial status reaches its full one when every stop with one of its roles
    has it, or, where it has no stops, when some document says that no more is to come.
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
    """Whether it stands everywhere it is due, and nothing more is to come there."""
    if not kind.by_stop:
        return any(
            item.stands and item.event_type == kind.name and not _partial(item)
            for item in entity.occurrences.values()
        )
    return all(
        (occurrence := entity.occurrences.get(f"{kind.name}|{item.place}")) is not None
        and occurrence.stands
        and not _partial(occurrence)
        for item in entity.stops
        if item.stop["role"] in kind.stop_roles
    )


def _partial(occurrence: Occurrence) -> bool:
    """Whether what stands says that more is to come."""
    quantity = None if occurrence.content is None else occurrence.content[0]
    return quantity is not None and quantity["completeness"] == PARTIAL


class _Stated(NamedTuple):
    """What the author of a plan said in one."""

    occurred: int
    spoken: Spoken
    stands: bool
    splits: bool
    """Whether the plan is not taken back, so that a shipment that it splits is split."""
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
    split: list[str] = []
    region = entity.region_by_link
    for item in sorted(stated, key=lambda item: item.order):
        spoken = item.spoken
        platform = policy.platforms.get(spoken.claim.body["platform"])
        if platform is not None and item.lists:
            stops = plan_stops(policy, platform, entity.name.tenant, spoken.subject["stops"])
            plans.append(Plan(item.occurred, spoken.stated, stops, item.stands))
        if item.stands:
            orders = named_orders(policy, entity, spoken.subject) or orders
            split = (item.splits and _children(policy, entity, spoken.subject)) or split
            region = spoken.region or region
    start = min(starts, default=None)
    before = (entity.region, entity.start, entity.plans)
    entity.region, entity.start, entity.plans = region, start, plans
    entity.orders, entity.split = orders or _inherited(entity), split
    return before != (region, start, plans)


def _inherited(entity: Entity) -> list[str]:
    """Keys of the orders of all the shipments that this one is made from."""
    parents = sorted(entity.inherited)
    return list(dict.fromkeys(order for key in parents for order in entity.inherited[key]))


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
            _Stated(item.subject["occurred"], item, stands, occurrence.stands, item is newest)
            for item in voices
        ]
    return found


def named_orders(policy: Policy, entity: Entity, subject: RawEvent) -> list[str]:
    """Keys of the orders that a plan names."""
    return _keys(policy, entity, subject, EntityType.ORDER, subject["orders"])


def _children(policy: Policy, entity: Entity, subject: RawEvent) -> list[str]:
    """Keys of the shipments into which a plan splits this one."""
    keys = _keys(policy, entity, subject, EntityType.SHIPMENT, subject["shipments"])
    return [key for key in keys if key != entity.key]


def _keys(
    policy: Policy, entity: Entity, subject: RawEvent, kind: EntityType, ids: list[str]
) -> list[str]:
    if entity.name.type != EntityType.SHIPMENT or not ids:
        return []
    platform = policy.platforms.get(subject["platform"])
    rules = () if platform is None else platform.id_rules.get(kind.value, ())
    names = [normalise(name, rules) for name in ids]
    return [entity_key(entity.name.tenant, kind.value, name) for name in names if name]


def cancelled_at(policy: Policy, entity: Entity) -> int | None:
    """Since when the entity itself is cancelled, ms UTC; None: it is not."""
    return _earliest(entity, policy.cancelling)


def after_cancel(policy: Policy, entity: Entity, kind: EventType, occurred: int) -> bool:
    """Whether something physical happened after the entity, or an order of it, was cancelled."""
    if not kind.physical:
        return False
    own = cancelled_at(policy, entity)
    if own is not None and occurred > own:
        return True
    ours = carried(entity)
    return any(occurred > at for order, at in entity.cancels.items() if order in ours)


def carried(entity: Entity) -> list[str]:
    """Keys of the orders whose goods a shipment has itself: after a split its children have them.

    Only they count, whatever was told of an order before it went elsewhere.
    """
    return [] if entity.split else entity.orders


def closed_at(policy: Policy, entity: Entity) -> int | None:
    """Since when nothing more is expected of the entity, ms UTC; None: something is."""
    done = [name for name in policy.closing if entity.standing[name] > 0]
    if not done or not all(_complete(entity, policy.catalogue[name]) for name in done):
        return None
    return max(
        item.published
        for item in entity.occurrences.values()
        if item.stands and item.event_type in done
    )


def _earliest(entity: Entity, names: frozenset[str]) -> int | None:
    if not any(entity.standing[name] > 0 for name in names):
        return None
    return min(
        item.published
        for item in entity.occurrences.values()
        if item.stands and item.event_type in names
    )
