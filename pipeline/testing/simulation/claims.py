"""What simulated platforms say: a few orders and shipments, told and contested by everybody.

Made to cross: shipments of one order and of each other, references that only a plan resolves,
splits that lead back. Must never know the broker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from pipeline.governance.claims import raw_event
from pipeline.testing.simulation.knowledge import NEWCOMER

Event = dict[str, Any]
HOUR_MS: Final = 3_600_000
_MINUTE_MS: Final = 60_000
_SITES: Final = {"NA": ("DAL1", "ATL1", "DEN1", "SEA1"), "EU": ("RTM1", "MUC1", "LYS1", "WAW1")}
_SILENT: Final = dict.fromkeys(
    ("number", "role", "location", "name", "city", "subdivision", "country")
)
_TRANSPORT: Final = (
    *("SHIPPED", "SHIPPED", "DELIVERED", "DELIVERED", "LEFT_WAREHOUSE", "AT_PICKUP", "ACCEPTED"),
    *("CANCELLED", "REFUSED", "POD", "NOT_DELIVERED", "ETA", "POSITION", "NOTE", "NO_SUCH_CODE"),
)
_ROAD: Final = ("AF", "AF", "D1", "D1", "X3", "A7", "X6", "AG")
_AT_START: Final = frozenset({"SHIPPED", "LEFT_WAREHOUSE", "AT_PICKUP", "AF", "X3", "GI", "13"})
_ESTIMATES: Final = frozenset({"ETA", "AG"})


class Author:
    """Makes up what is said, in the order in which it is said.

    Args:
        rnd: chance.
        shipments: how many there are; an order for every two.

    """

    def __init__(self, rnd: Random, shipments: int) -> None:
        self._rnd = rnd
        self._shipments = [f"S{number}" for number in range(1, shipments + 1)]
        self._orders = [f"{80_001 + number}" for number in range((shipments + 1) // 2)]
        self._said: list[Event] = []
        self._speakers: dict[str, Callable[[], Event]] = {
            "tms-na": self._plan_or_transport,
            "tms-eu": self._plan_or_transport,
            "carrier-redline": self._road,
            "carrier-alpen": self._abroad,
            "wms-3pl": self._warehouse,
            "erp-global": self._business,
            "ops-desk": self._desk,
            "portal": self._desk,
            NEWCOMER: self._road,
        }
        self._odds = (8, 3, 6, 2, 4, 4, 2, 1, 1)

    def say(self, now_ms: int) -> Event:
        """One event: something new, something again, or something taken back."""
        rnd, number = self._rnd, len(self._said)
        chance = rnd.random()
        if self._said and chance < 0.06:
            return rnd.choice(self._said)
        name = rnd.choices(list(self._speakers), self._odds)[0]
        late_ms = rnd.choice((0, 0, 0, 1, 5, 30, 100 * 24)) * HOUR_MS if chance > 0.7 else 0
        happened = now_ms - late_ms - rnd.randrange(8) * 10 * _MINUTE_MS
        body: Event = {
            "event_id": f"{name}-{number if rnd.random() > 0.08 else number // 2}",
            "platform": name,
            "classifier": "ACTUAL",
            "occurred": happened if chance > 0.02 else now_ms + 300 * HOUR_MS,
            "occurred_precision": rnd.choice(("MINUTE", "SECOND", "MILLISECOND")),
            "recorded": rnd.choice((None, happened, now_ms - 5 * _MINUTE_MS)),
            "account": "ACME-3PL" if name == "wms-3pl" else None,
        }
        if name == "ops-desk":
            body |= {"stated_by": "Kim", "remark": "the driver phoned"}
        earlier = [event for event in self._said if event["platform"] == name]
        if earlier and rnd.random() < 0.1:
            target = rnd.choice(earlier)
            about = ("entity_type", "entity_id", "reference")
            body |= {part: target[part] for part in about}
            body |= {"native_status": "-", "retracts": target["event_id"]}
        else:
            body |= self._speakers[name]()
        event = dict(raw_event(**body))
        self._said.append(event)
        return event

    def _plan_or_transport(self) -> Event:
        if self._rnd.random() < 0.35:
            return self._plan()
        return self._shipment() | self._where(self._rnd.choice(_TRANSPORT))

    def _plan(self) -> Event:
        rnd, about = self._rnd, self._shipment()
        region = rnd.choice(("NA", "NA", "NA", "EU"))
        start, *ends = _SITES[region]
        sites = [start, *rnd.sample(ends, rnd.choice((1, 2)))]
        plan = about | {
            "native_status": rnd.choice(("TENDERED", "TENDERED", "RETENDERED")),
            "document": f"V{len(self._said)}",
            "orders": rnd.sample(self._orders, rnd.randrange(len(self._orders) + 1)),
            "stops": [
                _stop(number=at, role="DELIVERY" if at > 1 else "PICKUP", location=site)
                for at, site in enumerate(sites, 1)
            ],
        }
        if rnd.random() < 0.7:
            kinds = rnd.sample(("PRO", "BOL"), rnd.choice((1, 2)))
            plan["references"] = [self._number(kind, about["entity_id"]) for kind in kinds]
        if rnd.random() < 0.25:
            plan["shipments"] = rnd.sample(self._shipments, rnd.choice((1, 2)))
        return plan

    def _road(self) -> Event:
        body = self._named("PRO") | self._where(self._rnd.choice(_ROAD))
        if body["native_status"] == "A7":
            body["attempt"] = self._rnd.choice(("1", "2"))
        if self._rnd.random() < 0.3:
            body["references"] = [self._number("BOL", self._rnd.choice(self._shipments))]
        return body

    def _abroad(self) -> Event:
        return self._shipment() | self._where(self._rnd.choice(("13", "21", "31")))

    def _warehouse(self) -> Event:
        if self._rnd.random() < 0.5:
            return self._named("BOL") | self._where("GI")
        document = f"T{self._rnd.randrange(3)}"
        kind = self._rnd.choice(("PICK", "PACK"))
        return self._order() | {"native_status": kind, "document": document} | self._amount()

    def _business(self) -> Event:
        kind = self._rnd.choice(("REL", "REL", "CAN", "FRT", "INV"))
        if kind in {"REL", "CAN"}:
            return self._order() | self._where(kind)
        money = {"amount": self._rnd.choice((1_000_000, 1_250_000)), "currency": "USD"}
        return self._shipment() | {"native_status": kind, "document": "D1"} | money

    def _desk(self) -> Event:
        kind = self._rnd.choice(("departed", "delivered", "goods.issued", "not.delivered"))
        return self._shipment() | self._where(kind)

    def _where(self, status: str) -> Event:
        """A status at a stop, written in one of the ways in which platforms write it."""
        rnd = self._rnd
        body: Event = {"native_status": status}
        if status in _ESTIMATES:
            body["classifier"] = "ESTIMATED"
        sites = _SITES[rnd.choice(("NA", "NA", "EU"))]
        start = status in _AT_START
        site = sites[0] if start else rnd.choice(sites[1:])
        role = "PICKUP" if start else "DELIVERY"
        way = rnd.randrange(5)
        if way < 3:
            body["stop"] = _stop(location=site, role=role if way else None)
        elif way == 3:
            body["stop"] = _stop(number=1 if start else 2)
        return body | self._amount()

    def _amount(self) -> Event:
        if self._rnd.random() < 0.8:
            return {}
        completeness = self._rnd.choice(("UNRECOGNISED", "PARTIAL", "COMPLETE"))
        quantity = {"value": 1_000_000, "unit": "C62", "basis": "DELTA"}
        return {"quantity": quantity | {"completeness": completeness}}

    def _shipment(self) -> Event:
        return {"entity_type": "shipment", "entity_id": self._rnd.choice(self._shipments)}

    def _order(self) -> Event:
        return {"entity_type": "order", "entity_id": self._rnd.choice(self._orders)}

    def _named(self, kind: str) -> Event:
        """A shipment by its own id, or by a number that a plan may bind."""
        about = self._shipment()
        if self._rnd.random() < 0.5:
            return {"reference": self._number(kind, about["entity_id"])}
        return about

    def _number(self, kind: str, shipment: str) -> Event:
        scope = "RDLN" if kind == "PRO" else ""
        value = f"4-{shipment}" if self._rnd.random() < 0.95 else "4-?"
        return {"kind": kind, "scope": scope, "value": value}


def _stop(**given: Any) -> Event:
    return _SILENT | given


def spoiled(rnd: Random, value: bytes, schema_ids: Sequence[int]) -> bytes | None:
    """Bytes that can't be governed: cut, prolonged, altered, of another schema, of none."""
    way = rnd.randrange(8)
    if way == 0:
        return None
    if way == 1:
        return rnd.randbytes(rnd.randrange(40))
    if way == 2:
        return value[: rnd.randrange(len(value))]
    if way == 3:
        return value + b"\0"
    if way == 4:
        return value[:1] + rnd.choice(schema_ids).to_bytes(4, "big") + value[5:]
    if way == 5:
        return value + bytes(3_000)
    at = rnd.randrange(5, len(value))
    return value[:at] + rnd.randbytes(1) + value[at + 1 :]
