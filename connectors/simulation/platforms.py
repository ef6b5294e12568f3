"""The manufacturer's platforms: what each publishes of the truth, in its own codes and habits.

ERP order numbers have leading zeros and plants instead of site codes; the warehouse writes lower
case; North America's TMS says SHIPPED at carrier pickup, Europe's at warehouse departure. Must
never know a fault or what governance makes of a statement.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from connectors.simulation.statement import Record, Statement, raw_event, stop_record
from connectors.simulation.world import MINUTE_MS, Happening, Shipment, Stop, dice
from pipeline.governance.vocabulary import Classifier, EntityType, Precision

ERP, WMS = "erp-global", "wms-3pl"
TMS_NA, TMS_EU = "tms-na", "tms-eu"
REDLINE, ALPEN = "carrier-redline", "carrier-alpen"
PORTAL, OPS_DESK = "portal", "ops-desk"
WMS_ACCOUNT: Final = "ACME-3PL"
TMSES: Final = frozenset({TMS_NA, TMS_EU})

SITE_ZONES: Final = {
    "DAL1": "America/Chicago",
    "CHI1": "America/Chicago",
    "ATL1": "America/New_York",
    "SEA1": "America/Los_Angeles",
    "DEN1": "America/Denver",
    "RTM1": "Europe/Amsterdam",
    "LEJ1": "Europe/Berlin",
    "MUC1": "Europe/Berlin",
    "LYS1": "Europe/Paris",
    "WAW1": "Europe/Warsaw",
}
"""Zones that the platforms of the world know; a test compares them with the policy's sites."""

_PLANTS: Final = {"DAL1": "1010", "CHI1": "1020", "RTM1": "2010", "LEJ1": "2020"}
_TOWNS: Final = {
    "DAL1": ("DALLAS", "TX"),
    "CHI1": ("CHICAGO", "IL"),
    "ATL1": ("ATLANTA", "GA"),
    "SEA1": ("SEATTLE", "WA"),
    "DEN1": ("DENVER", "CO"),
}
_QUANTITY_SCALE: Final = 1_000_000
_ORDER, _SHIPMENT = EntityType.ORDER.value, EntityType.SHIPMENT.value

Place = Callable[[Stop], Record]
Extras = Callable[[Shipment, Happening], Record]


def _coded(stop: Stop) -> Record:
    """A stop by number, role and the manufacturer's site code."""
    return stop_record(number=stop.number, role=stop.role, location=_customer_code(stop.site))


def _customer_code(site: str) -> str:
    return site if site in _PLANTS else f"C-{site[:3]}"


def _plant(stop: Stop) -> Record:
    return stop_record(location=_PLANTS.get(stop.site, stop.site))


def _site(stop: Stop) -> Record:
    return stop_record(location=stop.site.lower())


def _town(stop: Stop) -> Record:
    """A stop as X12 214 names it: its number, city and state."""
    city, state = _TOWNS[stop.site]
    return stop_record(number=stop.number, role=stop.role, city=city, subdivision=state)


def _nothing(_shipment: Shipment, _happening: Happening) -> Record:
    return {}


@dataclass(frozen=True)
class Platform:
    """How one platform speaks."""

    name: str
    prefix: str
    """Of its event ids."""
    codes: Mapping[str, str]
    """Native status by event type; what is not there, it does not report."""
    lag_s: tuple[int, int]
    """Between what happens and its record of it."""
    entity: Callable[[Shipment, str], tuple[str, str]]
    """Type and id of the entity, as this platform writes it, by event type."""
    place: Place
    precision: str = Precision.SECOND.value
    extras: Extras = _nothing
    fixed: Record = field(default_factory=dict)

    def says(self, shipment: Shipment, happening: Happening, serial: object, lag_s: int) -> Record:
        """The raw event with which it reports a happening.

        Args:
            shipment: whose.
            happening: what.
            serial: makes its event id.
            lag_s: until it records it.

        """
        kind, name = self.entity(shipment, happening.event_type)
        known = happening.at_ms
        if self.precision == Precision.MINUTE:
            known -= known % MINUTE_MS
        quantity = happening.quantity and {
            "value": happening.quantity * _QUANTITY_SCALE,
            "unit": "C62",
            "basis": "DELTA",
            "completeness": "UNRECOGNISED",
        }
        return raw_event(
            event_id=f"{self.prefix}{shipment.order[1:]}-{serial}",
            platform=self.name,
            entity_type=kind,
            entity_id=name,
            native_status=self.codes[happening.event_type],
            occurred=known,
            occurred_precision=self.precision,
            recorded=happening.at_ms + lag_s * 1000,
            stop=None if happening.stop is None else self.place(happening.stop),
            attempt=happening.attempt,
            document=happening.document,
            quantity=quantity or None,
            **self.fixed,
            **self.extras(shipment, happening),
        )


def _erp_entity(shipment: Shipment, event_type: str) -> tuple[str, str]:
    if event_type.startswith("order."):
        return _ORDER, shipment.order.zfill(10)
    return _SHIPMENT, shipment.number


def _wms_entity(shipment: Shipment, event_type: str) -> tuple[str, str]:
    if event_type == "goods.issued":
        return _SHIPMENT, shipment.number.lower()
    return _ORDER, shipment.order


def _shipment_entity(shipment: Shipment, _event_type: str) -> tuple[str, str]:
    return _SHIPMENT, shipment.number


def _portal_entity(shipment: Shipment, _event_type: str) -> tuple[str, str]:
    return _SHIPMENT, f" {shipment.number} "


def _erp_extras(shipment: Shipment, happening: Happening) -> Record:
    if not happening.amount:
        return {}
    return {"amount": happening.amount, "currency": shipment.currency}


def _tms_extras(shipment: Shipment, happening: Happening) -> Record:
    if happening.event_type != "shipment.tendered":
        return {}
    return {
        "orders": [shipment.order],
        "stops": [_coded(stop) for stop in shipment.stops],
        "references": [{"kind": "LOAD", "scope": "", "value": f"L{shipment.number}"}],
    }


_TMS_CODES: Final = {
    "shipment.tendered": "TENDERED",
    "carrier.accepted": "ACCEPTED",
    "pickup.arrived": "AT_PICKUP",
    "in_transit.arrived": "AT_HUB",
    "in_transit.departed": "LEFT_HUB",
    "delivery.arrived": "AT_CONSIGNEE",
    "delivery.refused": "REFUSED",
    "delivered": "DELIVERED",
    "pod.received": "POD",
}
PLATFORMS: Final[Mapping[str, Platform]] = {
    platform.name: platform
    for platform in (
        Platform(
            ERP,
            "IDOC",
            {"order.released": "REL", "charge.posted": "FRT", "invoice.approved": "INV"},
            (5, 240),
            _erp_entity,
            _plant,
            extras=_erp_extras,
        ),
        Platform(
            WMS,
            "wt",
            {"pick.confirmed": "PICK", "pack.confirmed": "PACK", "goods.issued": "GI"},
            (1, 90),
            _wms_entity,
            _site,
            fixed={"account": WMS_ACCOUNT},
        ),
        Platform(
            TMS_NA,
            "NA-",
            _TMS_CODES | {"departed": "SHIPPED"},
            (20, 900),
            _shipment_entity,
            _coded,
            extras=_tms_extras,
        ),
        Platform(
            TMS_EU,
            "EU-",
            _TMS_CODES | {"goods.issued": "SHIPPED", "departed": "PICKED_UP"},
            (20, 900),
            _shipment_entity,
            _coded,
            extras=_tms_extras,
        ),
        Platform(
            REDLINE,
            "214-",
            {
                "pickup.arrived": "X3",
                "departed": "AF",
                "in_transit.arrived": "X4",
                "in_transit.departed": "P1",
                "delivery.arrived": "X1",
                "delivered": "D1",
            },
            (300, 2_400),
            _shipment_entity,
            _town,
            precision=Precision.MINUTE.value,
        ),
        Platform(
            ALPEN,
            "ift-",
            {
                "departed": "13",
                "in_transit.arrived": "1",
                "in_transit.departed": "24",
                "delivered": "21",
            },
            (60, 1_200),
            _shipment_entity,
            _coded,
        ),
        Platform(
            PORTAL,
            "web-",
            {"departed": "departed", "delivered": "delivered"},
            (30, 600),
            _portal_entity,
            _coded,
        ),
        Platform(
            OPS_DESK,
            "call-",
            {"departed": "departed", "delivered": "delivered", "goods.issued": "goods.issued"},
            (600, 3_600),
            _shipment_entity,
            _coded,
            precision=Precision.MINUTE.value,
            fixed={"stated_by": "Kim Lee", "remark": "the driver phoned"},
        ),
    )
}


def voices(seed: int, shipment: Shipment) -> list[Statement]:
    """Everything the platforms say of a shipment and its order when nothing goes wrong."""
    roll = dice(seed, "voices", shipment.ordinal)
    speaking = (ERP, WMS, shipment.tms, shipment.carrier)
    said: list[Statement] = []
    for name in speaking:
        platform = PLATFORMS[name]
        told = [item for item in shipment.story if item.event_type in platform.codes]
        for number, happening in enumerate(told, 1):
            lag_s = roll.randrange(*platform.lag_s)
            event = platform.says(shipment, happening, number, lag_s)
            said.append(Statement(event, event["recorded"], happening))
    said += _asides(shipment, roll)
    said += _customers(shipment, roll)
    return said


def _asides(shipment: Shipment, roll: random.Random) -> Iterator[Statement]:
    """Estimates, positions and notes that come besides the milestones."""
    tms, carrier = PLATFORMS[shipment.tms], PLATFORMS[shipment.carrier]
    departed = shipment.truth("departed")
    assert departed is not None  # noqa: S101  every shipment of a world leaves
    for stop in shipment.drops:
        arrival = shipment.truth("delivery.arrived", stop.site)
        assert arrival is not None  # noqa: S101  and arrives
        for number in range(1, roll.randrange(2, 4)):
            guess = arrival.at_ms + roll.randrange(-180, 180) * MINUTE_MS
            at_ms = departed.at_ms + number * 45 * MINUTE_MS
            serial = f"eta{stop.number}{number}"
            yield _aside(tms, shipment, "ETA", serial, at_ms, stop, expected_ms=guess)
            if shipment.carrier == REDLINE and roll.random() < 0.4:
                near = guess + roll.randrange(-12, 12) * MINUTE_MS
                at_ms += 20 * MINUTE_MS
                yield _aside(carrier, shipment, "AG", serial, at_ms, stop, expected_ms=near)
    on_the_way = departed.at_ms + 3 * 60 * MINUTE_MS
    if shipment.carrier == REDLINE:
        yield _aside(carrier, shipment, "AM", "am", departed.at_ms - 5 * MINUTE_MS, shipment.origin)
        if roll.random() < 0.5:
            yield _aside(tms, shipment, "POSITION", "pos", on_the_way, None)
    elif roll.random() < 0.25:
        yield _aside(carrier, shipment, "31", "pos", on_the_way, None)
    if roll.random() < 0.15:
        yield _aside(tms, shipment, "NOTE", "note", departed.at_ms + 7 * MINUTE_MS, None)
    if roll.random() < 0.06:
        yield from _trouble(tms, shipment, on_the_way)


def _aside(
    platform: Platform,
    shipment: Shipment,
    status: str,
    serial: str,
    at_ms: int,
    stop: Stop | None,
    *,
    expected_ms: int | None = None,
    **more: Any,
) -> Statement:
    """A statement besides the milestones: an estimate, if a time is expected."""
    estimate = expected_ms is not None
    event = raw_event(
        event_id=f"{platform.prefix}{shipment.order[1:]}-{serial}",
        platform=platform.name,
        entity_type=_SHIPMENT,
        entity_id=shipment.number,
        native_status=status,
        classifier=(Classifier.ESTIMATED if estimate else Classifier.ACTUAL).value,
        occurred=at_ms if expected_ms is None else expected_ms,
        recorded=at_ms,
        stop=None if stop is None else platform.place(stop),
        **more,
    )
    return Statement(event, at_ms)


def _trouble(tms: Platform, shipment: Shipment, at_ms: int) -> Iterator[Statement]:
    """A problem on the way, and its end."""
    document = f"EX{shipment.number}"
    for status, later_min in (("EXCEPTION", 0), ("RESOLVED", 90)):
        moment = at_ms + later_min * MINUTE_MS
        yield _aside(tms, shipment, status, status.lower(), moment, None, document=document)


def _customers(shipment: Shipment, roll: random.Random) -> Iterator[Statement]:
    """Customers who press "received" on the portal: true, but it is not theirs to decide."""
    portal = PLATFORMS[PORTAL]
    for stop in shipment.drops:
        delivered = shipment.truth("delivered", stop.site)
        if delivered is not None and roll.random() < 0.3:
            lag_s = roll.randrange(*portal.lag_s)
            event = portal.says(shipment, delivered, f"r{stop.number}", lag_s)
            yield Statement(event, event["recorded"], delivered)


def site_of(stop: Mapping[str, Any]) -> str | None:
    """The site that a stop names by one of the manufacturer's codes or by its town."""
    code = str(stop["location"] or "").upper()
    city = str(stop["city"] or "").upper()
    for site in SITE_ZONES:
        codes = {site, _PLANTS.get(site), _customer_code(site)}
        if code in codes or (city and city == _TOWNS.get(site, ("",))[0]):
            return site
    return None
