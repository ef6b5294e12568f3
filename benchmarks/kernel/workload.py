"""What platforms say of shipments with twelve milestones each; nothing here knows a version."""

START_MS = 1_790_000_000_000
MINUTE_MS = 60_000
STEP_MS = 4 * MINUTE_MS
IN_FLIGHT = 50
"""Shipments that are told of at the same time."""
TMS, WMS, CARRIERS = (f"logistics.raw.{name}.v1" for name in ("tms-na", "wms-3pl", "carriers"))
REPLAY = "logistics.replay.v1"
EMPTY = dict.fromkeys(("number", "role", "location", "name", "city", "subdivision", "country"))
STOPS = [
    EMPTY | {"number": 1, "role": "PICKUP", "location": "DAL1"},
    EMPTY | {"number": 2, "role": "TRANSIT", "location": "CHI1"},
    EMPTY | {"number": 3, "role": "TRANSIT", "location": "DEN1"},
    EMPTY | {"number": 4, "role": "DELIVERY", "location": "ATL1"},
]
STORY = (
    ("TENDERED", "DAL1"), ("ACCEPTED", "DAL1"), ("AT_PICKUP", "DAL1"), ("GI", "DAL1"),
    ("SHIPPED", "DAL1"), ("AT_HUB", "CHI1"), ("LEFT_HUB", "CHI1"), ("AT_HUB", "DEN1"),
    ("LEFT_HUB", "DEN1"), ("AT_CONSIGNEE", "ATL1"), ("DELIVERED", "ATL1"), ("POD", "ATL1"),
)  # fmt: skip
CARRIER = {"AT_PICKUP": "X3", "SHIPPED": "AF", "DELIVERED": "D1"}


def said(number, place):
    """One milestone of a shipment, by its owner."""
    status, site = STORY[place]
    at = START_MS + number // IN_FLIGHT * len(STORY) * STEP_MS + place * STEP_MS
    event = {
        "event_id": f"{place}-{number}",
        "platform": "tms-na",
        "native_status": status,
        "entity_type": "shipment",
        "entity_id": f"B{number:07d}",
        "occurred": at,
        "recorded": at,
        "classifier": "ACTUAL",
        "occurred_precision": "SECOND",
        "stop": EMPTY | {"location": site},
    }
    if status == "GI":
        event |= {"platform": "wms-3pl", "account": "ACME-3PL"}
    if status == "TENDERED":
        event["stops"] = STOPS
        event["orders"] = [f"8{number // 2:07d}"]
    return WMS if status == "GI" else TMS, event


def by_carrier(event, **more):
    """The same milestone by the carrier, its deputy."""
    told = {"platform": "carrier-redline", "event_id": f"c-{event['event_id']}"}
    told["native_status"] = CARRIER[event["native_status"]]
    return CARRIERS, event | told | more


def plain(shipments):
    """A tenth of the shipments is told twice, a quarter also by the carrier.

    Yields:
        Topic and event.

    """
    for first in range(0, shipments, IN_FLIGHT):
        for place in range(len(STORY)):
            for number in range(first, min(first + IN_FLIGHT, shipments)):
                topic, event = said(number, place)
                yield topic, event
                if number % 10 == 0:
                    yield topic, event
                if number % 4 == 0 and event["native_status"] in CARRIER:
                    yield by_carrier(event)


def hard(shipments):
    """A fifth of the records is of the hard cases, one case for each shipment that has one.

    Yields:
        Topic and event; a replay's topic is that of replays.

    """
    for first in range(0, shipments, IN_FLIGHT):
        for place in range(len(STORY)):
            for number in range(first, min(first + IN_FLIGHT, shipments)):
                topic, event = said(number, place)
                case = number % 5
                reference = {"kind": "PRO", "scope": "RDLN", "value": f"P{number}"}
                if case == 0 and event["native_status"] == "TENDERED":
                    event["references"] = [reference]
                yield topic, event
                status = event["native_status"]
                if case == 0 and status in CARRIER:  # knows its own number only
                    yield by_carrier(event, reference=reference, entity_type=None, entity_id=None)
                if case == 1 and status in {"SHIPPED", "AT_HUB", "DELIVERED"}:
                    back = {"retracts": event["event_id"], "native_status": "-"}
                    yield topic, event | back | {"event_id": f"r-{event['event_id']}"}
                    yield topic, event | {"event_id": f"again-{event['event_id']}"}
                if case == 2 and status == "AT_PICKUP":
                    parts = [f"B{number:07d}{part}" for part in "AB"]
                    told = {"native_status": "RETENDERED", "document": "V2", "shipments": parts}
                    yield TMS, event | told | {"event_id": f"s-{event['event_id']}"}
                    for part in parts:
                        told = {"entity_id": part, "event_id": f"{part}-{place}"}
                        yield TMS, event | told | {"native_status": "SHIPPED"}
                if case == 3 and status in CARRIER:  # owns what happens after the hand-over
                    yield by_carrier(event)
                if case == 4 and place % 3 == 0:
                    yield REPLAY, event
