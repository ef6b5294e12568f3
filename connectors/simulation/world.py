"""A seeded manufacturer: orders, shipments with their stops, and what truly happened to each, when.

The truth that no platform knows as a whole. Same seed and same present, same world. Must never
know a native code, a topic or a fault.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final, NamedTuple

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
TENANT: Final = "acme"
LONGEST_MS: Final = 180 * HOUR_MS
"""From an order's release to its last invoice, at most."""
STAGGER_MS: Final = 60 * HOUR_MS
"""Orders are released over this long a time."""
HANDED_OVER_MS: Final = 208 * HOUR_MS
"""How long before the present Europe moved to the other TMS: half of its shipments were tendered
before."""
SEEDS: Final = 1000
"""Seeds whose orders and shipments have numbers of their own."""
SHIPMENTS_MAX: Final = 9_999


class Stop(NamedTuple):
    """A stop of a shipment: a site of `policy/sites.yaml` and what is done there."""

    number: int
    role: str
    site: str


class Happening(NamedTuple):
    """Something that truly happened (ms UTC), named by the catalogue's event type."""

    event_type: str
    at_ms: int
    stop: Stop | None = None
    document: str | None = None
    quantity: int = 0
    amount: int = 0
    """Money, in units of 1/10,000."""
    attempt: str | None = None


class Shipment(NamedTuple):
    """A shipment, the order it carries, and its true story in order of time."""

    ordinal: int
    number: str
    region: str
    order: str
    carrier: str
    currency: str
    stops: tuple[Stop, ...]
    story: tuple[Happening, ...]
    tms: str = ""
    """The TMS in which it was tendered: its transport is followed there to the end."""

    @property
    def origin(self) -> Stop:
        """Where it starts."""
        return self.stops[0]

    @property
    def drops(self) -> tuple[Stop, ...]:
        """Where goods are delivered."""
        return tuple(stop for stop in self.stops if stop.role == "DELIVERY")

    def truth(self, event_type: str, site: str | None = None) -> Happening | None:
        """What happened, at a site if one is given; None: it never did."""
        for happening in self.story:
            place = None if happening.stop is None else happening.stop.site
            if happening.event_type == event_type and (site is None or place == site):
                return happening
        return None


class World(NamedTuple):
    """All shipments of a seed, as seen from one present moment."""

    seed: int
    now_ms: int
    shipments: tuple[Shipment, ...]
    handover_ms: int | None = None
    """From when on Europe's shipments were tendered in North America's TMS; None: never."""

    def shipment(self, number: str) -> Shipment | None:
        """A shipment by its number."""
        return next((item for item in self.shipments if item.number == number), None)


class _Region(NamedTuple):
    warehouse: str
    hub: str
    customers: tuple[str, ...]
    carrier: str
    tms: str
    currency: str
    handed_over_h: tuple[float, float]
    """Hours from goods issue until the carrier has it."""


_REGIONS: Final = {
    "NA": _Region(
        "DAL1", "CHI1", ("ATL1", "SEA1", "DEN1"), "carrier-redline", "tms-na", "USD", (0.25, 1.3)
    ),
    # In Europe a shuttle brings the goods to the carrier's yard: hours pass in between
    "EU": _Region(
        "RTM1", "LEJ1", ("MUC1", "LYS1", "WAW1"), "carrier-alpen", "tms-eu", "EUR", (2.0, 9.0)
    ),
}


def dice(seed: int, *purpose: object) -> random.Random:
    """A source of chance of its own for each purpose, so that one more roll moves nothing else."""
    text = ":".join(map(str, (seed, *purpose)))
    return random.Random(text)  # noqa: S311  a story that can be told again, no secret


def present(now_ms: int) -> int:
    """The present from which a world looks back: a full minute, so that rounding never differs."""
    return now_ms - now_ms % MINUTE_MS


def handover(now_ms: int) -> int:
    """When Europe moved to North America's TMS, as seen from a present; ms UTC."""
    return present(now_ms) - HANDED_OVER_MS


def shipments(seed: int, now_ms: int, handover_ms: int | None = None) -> Iterator[Shipment]:
    """The shipments of a seed, one after the other; each depends on its place in the line only.

    Args:
        seed: any number; the numbers of orders and shipments repeat after `SEEDS` seeds.
        now_ms: present, ms UTC; everything happened before it.
        handover_ms: from when on Europe's shipments are tendered in North America's TMS.

    """
    for ordinal in range(1, SHIPMENTS_MAX + 1):
        yield _shipment(seed, present(now_ms), ordinal, handover_ms)


def _shipment(seed: int, now_ms: int, ordinal: int, handover_ms: int | None) -> Shipment:
    roll = dice(seed, "shipment", ordinal)
    name = "NA" if roll.random() < 0.5 else "EU"
    region = _REGIONS[name]
    serial = f"{seed % SEEDS:03d}{ordinal:04d}"
    stops = _stops(region, roll)
    start_ms = now_ms - LONGEST_MS - int(roll.random() * STAGGER_MS)
    story = tuple(sorted(_story(region, stops, start_ms, serial, roll), key=_when))
    tendered_ms = next(item.at_ms for item in story if item.event_type == "shipment.tendered")
    moved = name == "EU" and handover_ms is not None and tendered_ms >= handover_ms
    return Shipment(
        ordinal=ordinal,
        number=f"{name}{serial}",
        region=name,
        order=f"8{serial}",
        carrier=region.carrier,
        currency=region.currency,
        stops=stops,
        story=story,
        tms=_REGIONS["NA"].tms if moved else region.tms,
    )


def _stops(region: _Region, roll: random.Random) -> tuple[Stop, ...]:
    places = [("PICKUP", region.warehouse)]
    if roll.random() < 0.45:
        places.append(("TRANSIT", region.hub))
    count = 2 if roll.random() < 0.22 else 1
    places += [("DELIVERY", site) for site in roll.sample(region.customers, count)]
    return tuple(Stop(number, role, site) for number, (role, site) in enumerate(places, 1))


def _story(
    region: _Region, stops: tuple[Stop, ...], start_ms: int, serial: str, roll: random.Random
) -> Iterator[Happening]:
    """What happens to one order and its shipment."""
    clock = _Clock(start_ms, roll)
    origin = stops[0]
    pieces = roll.randrange(4, 400)
    yield Happening("order.released", clock.now_ms, origin)
    tendered = clock.at(1, 4)
    yield Happening("shipment.tendered", tendered, origin)
    yield Happening("carrier.accepted", tendered + roll.randrange(10, 90) * MINUTE_MS)
    clock.after(3, 8)
    first = pieces if roll.random() < 0.7 else roll.randrange(1, pieces)
    yield Happening("pick.confirmed", clock.now_ms, origin, f"PL{serial}-1", first)
    if first < pieces:
        yield Happening(
            "pick.confirmed", clock.after(0.5, 2), origin, f"PL{serial}-2", pieces - first
        )
    yield Happening("pack.confirmed", clock.after(0.5, 2), origin, f"PK{serial}", pieces)
    yield Happening("goods.issued", clock.after(0.7, 2.5), origin, f"GI{serial}", pieces)
    departed = clock.after(*region.handed_over_h)
    yield Happening("pickup.arrived", departed - roll.randrange(10, 14) * MINUTE_MS, origin)
    yield Happening("departed", departed, origin)
    for stop in stops[1:]:
        arrived = clock.after(5, 20)
        if stop.role == "TRANSIT":
            yield Happening("in_transit.arrived", arrived, stop)
            yield Happening("in_transit.departed", clock.after(1, 5), stop)
            continue
        yield Happening("delivery.arrived", arrived, stop)
        if roll.random() < 0.04:
            yield Happening("delivery.refused", clock.after(0.1, 0.5), stop, attempt="1")
            clock.after(12, 22)
        delivered = clock.after(0.2, 0.9)
        yield Happening("delivered", delivered, stop)
        yield Happening("pod.received", delivered + roll.randrange(5, 60) * MINUTE_MS, stop)
    amount = roll.randrange(180, 4_800) * 10_000 + roll.randrange(0, 100) * 100
    clock.after(4, 20)
    yield Happening("charge.posted", clock.now_ms, None, f"FR{serial}", amount=amount)
    clock.after(5, 24)
    yield Happening("invoice.approved", clock.now_ms, None, f"IV{serial}", amount=amount)


class _Clock:
    """Time as it passes in one story."""

    def __init__(self, start_ms: int, roll: random.Random) -> None:
        self.now_ms = start_ms
        self._roll = roll

    def at(self, least_h: float, most_h: float) -> int:
        """A moment between so many hours from now, to the second; time does not move on."""
        seconds = self._roll.randrange(int(least_h * 3600), int(most_h * 3600))
        return self.now_ms + seconds * 1000

    def after(self, least_h: float, most_h: float) -> int:
        """Move on by between so many hours."""
        self.now_ms = self.at(least_h, most_h)
        return self.now_ms


def _when(happening: Happening) -> int:
    return happening.at_ms
