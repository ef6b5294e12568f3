"""What a portal and an ERP made of the traffic, and how far that is from the truth.

One yardstick for the old portal and for the governed one. Must never know how either came to it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from connectors.simulation.platforms import site_of
from connectors.simulation.world import MINUTE_MS, Shipment, World
from pipeline.contract.bundle import Bundle

TOLERANCE_MS: Final = 30 * MINUTE_MS
"""How far a shown time may be from the truth: the tolerance of the shipped bundle."""
COMPARED: Final = frozenset(
    {
        "goods.issued",
        "departed",
        "in_transit.arrived",
        "in_transit.departed",
        "delivery.arrived",
        "delivered",
    }
)
"""Milestones that customers follow."""
SHIPPED, DELIVERED = "departed", "delivered"


class Version(NamedTuple):
    """One thing that was shown of a milestone."""

    occurred_ms: int
    site: str | None
    provisional: bool = False


MilestoneKey = tuple[str, str, str]
"""Shipment, event type, and what tells milestones of one type apart."""


@dataclass
class Shown:
    """Everything that was shown and booked, in order."""

    milestones: dict[MilestoneKey, list[Version]] = field(default_factory=lambda: defaultdict(list))
    ranks: dict[str, int] = field(default_factory=dict)
    """Rank of each shipment's status."""
    falls: int = 0
    """How often a status fell and nobody said that anything was taken back."""
    finished: dict[str, int] = field(default_factory=dict)
    """By shipment: when the last of its goods are said to have been delivered, ms UTC."""
    postings: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """How often each business effect was booked."""

    def move(self, shipment: str, rank: int, *, told: bool = False) -> None:
        """Show a shipment's status.

        Args:
            shipment: its number.
            rank: of the status.
            told: whether it is shown with the news that something was taken back.

        """
        self.falls += rank < self.ranks.get(shipment, rank) and not told
        self.ranks[shipment] = rank


class Measures(NamedTuple):
    """What customers and accountants were told that was not so."""

    milestones: int
    """Milestones shown."""
    contradictions: int
    """Milestones whose time, as shown in the end, is off the truth by more than the tolerance."""
    premature_shipped: int
    """Shipments shown as shipped, in the end, before the carrier had them."""
    premature_delivered: int
    """Shipments shown as delivered before the last of their goods were."""
    put_right: int
    """Milestones that were shown wrong for a while and are right in the end."""
    backwards: int
    """Times a status went backwards, and nobody said why."""
    postings: int
    double_postings: int
    """Bookings beyond the first of their business effect."""


def measure(world: World, shown: Shown) -> Measures:
    """Hold what was shown against what happened."""
    by_number = {shipment.number: shipment for shipment in world.shipments}
    wrong: set[MilestoneKey] = set()
    put_right = premature = compared = 0
    for key, versions in shown.milestones.items():
        shipment = by_number.get(key[0])
        if shipment is None or key[1] not in COMPARED or not versions:
            continue
        compared += 1
        off = [_off_ms(shipment, key[1], version) for version in versions]
        if off[-1] is None or abs(off[-1]) > TOLERANCE_MS:
            wrong.add(key)
        elif any(item is None or abs(item) > TOLERANCE_MS for item in off):
            put_right += 1
        if key[1] == SHIPPED and off[-1] is not None and off[-1] < -TOLERANCE_MS:
            premature += 1
    return Measures(
        milestones=compared,
        contradictions=len(wrong),
        premature_shipped=premature,
        premature_delivered=sum(
            _finished_early(by_number[number], at_ms)
            for number, at_ms in shown.finished.items()
            if number in by_number
        ),
        put_right=put_right,
        backwards=shown.falls,
        postings=shown.postings.total(),
        double_postings=sum(count - 1 for count in shown.postings.values()),
    )


def _off_ms(shipment: Shipment, event_type: str, version: Version) -> int | None:
    """How much later than the truth it was shown; None: it never happened."""
    site = version.site if event_type not in {SHIPPED, "goods.issued"} else None
    truth = shipment.truth(event_type, site)
    return None if truth is None else version.occurred_ms - truth.at_ms


def _finished_early(shipment: Shipment, at_ms: int) -> bool:
    ends = [item.at_ms for item in shipment.story if item.event_type == DELIVERED]
    return at_ms < max(ends) - TOLERANCE_MS


def ranks_of(bundle: Bundle) -> Mapping[str, int]:
    """Rank by event type."""
    return {row.name: row.rank for row in bundle.event_types}


def site_at(shipment: Shipment, stop: Mapping[str, Any] | None) -> str | None:
    """The site of a shipment's stop that a record names, in whatever way; None: it names none."""
    if stop is None:
        return None
    named = site_of(stop)
    for planned in shipment.stops:
        if planned.site == named or (named is None and planned.number == stop["number"]):
            return planned.site
    return named
