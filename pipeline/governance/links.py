"""What crosses between entities: told by links, heard once and in order.

An entity never sees another's state. It remembers whom it told what, so that each change is told
once. Must never judge a claim.
"""

from __future__ import annotations

from typing import Any, Final

from pipeline.governance.claims import stored_bytes
from pipeline.governance.entity import Entity, Linked
from pipeline.governance.facts import cancelled_at, carried, closed_at, named_orders
from pipeline.governance.identity import REFERENCE
from pipeline.governance.outputs import Telling, link_record
from pipeline.governance.policy import Policy
from pipeline.governance.reasons import Reason
from pipeline.governance.references import hear_binding, news
from pipeline.governance.vocabulary import EntityType, LinkKind

Record = dict[str, Any]
LINKED_MAX: Final = 1_000
"""Entities that one may be linked with."""
LINKED_BYTES_MAX: Final = 300_000
"""Bytes of their keys: a thousand of any length that people use."""
_TARGETS: Final = {
    LinkKind.SHIPMENT_OF_ORDER.value: EntityType.ORDER.value,
    LinkKind.REGION_OF_SHIPMENT.value: EntityType.SHIPMENT.value,
    LinkKind.CANCEL.value: EntityType.SHIPMENT.value,
    LinkKind.SPLIT.value: EntityType.SHIPMENT.value,
    LinkKind.REFERENCE.value: REFERENCE,
}
"""What a link of each kind goes to."""


def tell(policy: Policy, entity: Entity, telling: Telling) -> list[Record]:
    """Links to those who should know what has changed of the entity since it told them last.

    A shipment tells its orders its status; one that was split tells its children the orders and the
    region. An order tells its shipments their region, and that it was cancelled. A tender that
    waits for its region asks the orders it names. Whoever has other names tells these whose they
    are.

    Args:
        policy: the bundle in force.
        entity: changed in place: it remembers whom it told what.
        telling: why; its hops are those that led here, and at the limit nothing is told, for now.

    """
    if telling.hops >= policy.limits.link_hops_max:
        return []

    def link(kind: LinkKind, target: str, **more: Any) -> Record:
        telling_on = telling._replace(hops=telling.hops + 1)
        return link_record(entity, kind, target, telling_on, **more)

    links = [
        link(LinkKind.REFERENCE, item.reference, valid_from=item.since, valid_to=item.until)
        for item in news(policy, entity, closed_at(policy, entity))
    ]
    if entity.name.type == EntityType.ORDER:
        return links + _order_tells(policy, entity, link, telling.sent)
    if entity.name.type == EntityType.SHIPMENT:
        links += _shipment_tells(policy, entity, link, telling.sent)
    return links


def _order_tells(policy: Policy, entity: Entity, link: Any, sent: int) -> list[Record]:
    cancelled = cancelled_at(policy, entity)
    links = []
    for key, item in entity.linked.items():
        if item.ended:
            continue
        if entity.region is not None and item.region != entity.region:
            item.region = entity.region
            links.append(link(LinkKind.REGION_OF_SHIPMENT, key))
        if item.cancelled != cancelled:
            ended = sent if cancelled is None else None
            links.append(link(LinkKind.CANCEL, key, valid_from=cancelled, valid_to=ended))
            item.cancelled = cancelled
    return links


def _shipment_tells(policy: Policy, entity: Entity, link: Any, sent: int) -> list[Record]:
    wanted = dict.fromkeys(carried(entity))
    for held in entity.held:
        wanted |= dict.fromkeys(named_orders(policy, entity, held.subject))
    links = [
        link(LinkKind.SHIPMENT_OF_ORDER, order, valid_to=sent)
        for order in entity.told
        if order not in wanted
    ]
    changed = entity.status != entity.told_status
    links += [
        link(LinkKind.SHIPMENT_OF_ORDER, order)
        for order in wanted
        if changed or order not in entity.told
    ]
    entity.told, entity.told_status = list(wanted), entity.status
    gone = [child for child in entity.children if child not in entity.split]
    for child in gone:
        del entity.children[child]
        links.append(link(LinkKind.SPLIT, child, valid_to=sent))
    handed_down = [entity.region, *entity.orders]
    for child in entity.split:
        if entity.children.get(child) != handed_down:
            entity.children[child] = handed_down
            links.append(link(LinkKind.SPLIT, child, orders=entity.orders))
    return links


def hear_link(entity: Entity, record: Record) -> Reason:
    """Take over what a linked entity says, once and in order.

    Args:
        entity: the link's target, changed in place.
        record: the link.

    Returns:
        Why it changed something or nothing.

    """
    source, kind, seq = record["source"], record["kind"], record["source_seq"]
    if _TARGETS.get(kind) != entity.name.type:
        return Reason.LINK_UNKNOWN
    if kind == LinkKind.REFERENCE:
        return hear_binding(entity, source, seq, record["valid_from"], record["valid_to"])
    known = entity.linked.get(source)
    if known is not None and seq <= known.seq:
        return Reason.LINK_REPEATED
    if known is None and _full(entity, source):
        return Reason.LINKS_FULL
    ended = record["valid_to"] is not None and kind != LinkKind.CANCEL
    # Only a shipment tells each change of its status; what others had when they wrote goes stale
    status = record["status"] if kind == LinkKind.SHIPMENT_OF_ORDER else ""
    fresh = Linked(seq, status, ended=ended)
    if known is not None:
        fresh.cancelled = known.cancelled
        fresh.region = None if known.ended else known.region
    entity.linked[source] = fresh
    gives = kind in {LinkKind.REGION_OF_SHIPMENT, LinkKind.SPLIT} and not ended
    if gives and record["region"]:
        entity.link_region[source] = record["region"]
    if kind == LinkKind.CANCEL:
        if record["valid_to"] is None:
            entity.cancels[source] = record["valid_from"] or 0
        else:
            entity.cancels.pop(source, None)
    if kind == LinkKind.SPLIT:
        entity.inherited.pop(source, None)
        if not ended:
            entity.inherited[source] = list(record["orders"])
    return Reason.LINK_APPLIED


def _full(entity: Entity, source: str) -> bool:
    """Whether there is no room for one more link."""
    keys = (source, *entity.linked)
    return len(keys) > LINKED_MAX or sum(map(stored_bytes, keys)) > LINKED_BYTES_MAX
