"""The governed landscape: what the approved topic let a portal show, and what the ERP booked.

Must never know the truth, nor anything that is not on the approved topic or in the ERP's books.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from connectors.simulation.shown import COMPARED, DELIVERED, Shown, Version, site_at
from connectors.simulation.statement import Record
from connectors.simulation.world import TENANT, World
from pipeline.contract.bundle import Bundle
from pipeline.governance.vocabulary import Action, Assurance, EntityType


def governed_portal(world: World, bundle: Bundle, approved: Iterable[Record]) -> Shown:
    """Show what the approved topic says, revision by revision.

    Args:
        world: its shipments, to tell which of their stops a record names.
        bundle: ranks of statuses.
        approved: decoded records of the approved topic, each partition in order.

    """
    ranks = _status_ranks(bundle)
    shipments = {shipment.number: shipment for shipment in world.shipments}
    shown = Shown()
    for record in approved:
        shipment = shipments.get(record["entity_id"])
        ours = record["tenant"] == TENANT and record["entity_type"] == EntityType.SHIPMENT
        if not ours or shipment is None:
            continue
        number, event_type = shipment.number, record["event_type"]
        status = record["status_after"]
        taken_back = record["action"] == Action.RETRACT
        shown.move(number, ranks.get(status, 0), told=taken_back)
        if event_type not in COMPARED:
            continue
        versions = shown.milestones[number, event_type, record["milestone_id"]]
        if taken_back:
            versions.clear()
            if event_type == DELIVERED:
                shown.finished.pop(number, None)
            continue
        provisional = record["assurance"] == Assurance.PROVISIONAL
        site = site_at(shipment, record["stop"])
        versions.append(Version(record["occurred"], site, provisional))
        if event_type == DELIVERED and status == DELIVERED:
            shown.finished[number] = max(
                item[-1].occurred_ms
                for key, item in shown.milestones.items()
                if key[:2] == (number, DELIVERED) and item
            )
    return shown


def book(shown: Shown, postings: Iterable[Mapping[str, Any]]) -> None:
    """Add what the ERP booked.

    Args:
        shown: changed in place.
        postings: the ERP's books; adjustments and reversals are bookings of their own.

    """
    for item in postings:
        shown.postings[item["posting"], item["entity"], item["key"]] += 1


def _status_ranks(bundle: Bundle) -> dict[str, int]:
    ranks = {row.status: row.rank for row in bundle.event_types if row.status}
    ranks |= {row.partial_status: row.partial_rank for row in bundle.event_types}
    return ranks
