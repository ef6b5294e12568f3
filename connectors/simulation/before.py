"""The old landscape: a portal that believes whoever speaks first, and an ERP that books each event.

Reads the same raw records as the governor. One table maps every status of every platform to a
label; whatever comes first for a milestone is shown; every event that the ERP cares for is booked
again. Must never know the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from connectors.simulation.shown import (
    COMPARED,
    DELIVERED,
    SHIPPED,
    Shown,
    Version,
    ranks_of,
    site_at,
)
from connectors.simulation.statement import Record
from connectors.simulation.world import World
from pipeline.contract.bundle import Bundle
from pipeline.governance.vocabulary import EntityType

LABELS: Final[Mapping[str, str]] = {
    # the warehouse
    "GI": "goods.issued",
    # both TMS, X12, IFTSTA and the portal in one table: SHIPPED is SHIPPED
    "SHIPPED": SHIPPED,
    "PICKED_UP": SHIPPED,
    "AF": SHIPPED,
    "13": SHIPPED,
    "departed": SHIPPED,
    "AT_HUB": "in_transit.arrived",
    "X4": "in_transit.arrived",
    "1": "in_transit.arrived",
    "LEFT_HUB": "in_transit.departed",
    "P1": "in_transit.departed",
    "24": "in_transit.departed",
    "AT_CONSIGNEE": "delivery.arrived",
    "X1": "delivery.arrived",
    "DELIVERED": DELIVERED,
    "D1": DELIVERED,
    "21": DELIVERED,
    "delivered": DELIVERED,
    # the ERP
    "FRT": "charge.posted",
    "INV": "invoice.approved",
}
BOOKED: Final = {
    "goods.issued": "goods-issue",
    DELIVERED: "billing-release",
    "charge.posted": "freight-accrual",
    "invoice.approved": "payment-release",
}
"""What the old interface books, by label."""


class Received(NamedTuple):
    """A raw record as the old interface received it."""

    sequence: int
    """Order in which the platforms sent them."""
    event: Record | None
    """None: the interface could not read it, and dropped it."""


def old_portal(world: World, bundle: Bundle, received: Iterable[Received]) -> Shown:
    """Show and book what the old landscape did.

    Args:
        world: its shipments, to tell which entity a spelling means.
        bundle: ranks of labels, the same as the governed portal's.
        received: raw records, in any order.

    """
    ranks = ranks_of(bundle)
    shipments = {shipment.number: shipment for shipment in world.shipments}
    shown = Shown()
    for item in sorted(received, key=lambda item: item.sequence):
        event = item.event
        if event is None or event["entity_type"] != EntityType.SHIPMENT:
            continue
        shipment = shipments.get(str(event["entity_id"]).strip().upper())
        label = LABELS.get(event["native_status"])
        if shipment is None or label is None:
            continue
        site = site_at(shipment, event["stop"])
        if label in BOOKED:
            effect = event["document"] or site or ""
            shown.postings[BOOKED[label], shipment.number, effect] += 1
        versions = shown.milestones[shipment.number, label, ""]
        if versions or label not in COMPARED:
            continue
        versions.append(Version(event["occurred"], site))
        shown.move(shipment.number, ranks[label])
        if label == DELIVERED:
            shown.finished.setdefault(shipment.number, event["occurred"])
    return shown
