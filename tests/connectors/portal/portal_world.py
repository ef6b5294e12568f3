"""A small world for the pages: one shipment with everything that can happen to a story, and others.

Times are relative to a given now, so that pages look as they do in use.
"""

from __future__ import annotations

from portal_records import ATLANTA, DALLAS, HOUR, MINUTE, approved, entity_status
from sqlalchemy import Engine

from connectors.applied import TopicPartition
from connectors.portal.apply import Arrived
from connectors.portal.writer import Batch, StoreWriter
from pipeline.contract.names import APPROVED, ENTITY_STATUS
from pipeline.governance.identity import entity_key

DAY = 24 * HOUR
CHICAGO = {
    "number": 2,
    "role": "TRANSIT",
    "location": "CHI1",
    "name": "Chicago cross dock",
    "city": "Chicago",
    "subdivision": "IL",
    "country": "US",
    "zone": "America/Chicago",
}
GOAL = ATLANTA | {"number": 3}
LYON = {
    "number": 2,
    "role": "DESTINATION",
    "location": "LYS1",
    "name": "Lyon customer centre",
    "city": "Lyon",
    "subdivision": None,
    "country": "FR",
    "zone": "Europe/Paris",
}
CARRIER = {"platform": "carrier-redline", "role": "CARRIER"}
WAREHOUSE = {"platform": "wms-3pl", "role": "WMS"}


def plan(*stops):
    return [{key: value for key, value in stop.items() if key != "zone"} for stop in stops]


def contested(now):
    """SHP-1001: corrected, retracted, late, unrecognised, skipped, provisional, expected."""
    t = now - 2 * DAY
    order = entity_key("acme", "order", "80001234")
    names = [
        {"kind": "PRO", "scope": "RDLN", "value": "0047-1122"},
        {"kind": "BOL", "scope": "", "value": "BOL-99812"},
        {"kind": "CONTAINER", "scope": "", "value": "MSKU 306520-8"},
    ]
    here = {"references": names, "correlations": [order]}
    yield approved(
        "shipment.tendered",
        1,
        occurred=t,
        native_status="TENDER",
        stop=None,
        status_after="tendered",
        **here,
    )
    yield approved(
        "carrier.accepted",
        2,
        occurred=t + 40 * MINUTE,
        native_status="990-A",
        stop=None,
        status_after="accepted",
        **CARRIER,
        **here,
    )
    yield approved(
        "pickup.arrived",
        3,
        occurred=t + 5 * HOUR,
        native_status="X3",
        status_after="at_pickup",
        **CARRIER,
        **here,
    )
    yield approved(
        "departed",
        4,
        occurred=t + 6 * HOUR,
        status_after="shipped",
        assurance="PROVISIONAL",
        reason="owner_silent",
        native_status="AF",
        skipped=["goods.issued"],
        **CARRIER,
        **here,
    )
    yield approved(
        "departed",
        5,
        revision=2,
        occurred=t + 6 * HOUR + 25 * MINUTE,
        status_after="shipped",
        reason="owner_corrected_deputy",
        previous_occurred=t + 6 * HOUR,
        dissent=["carrier-redline"],
        **here,
    )
    yield approved(
        "in_transit.arrived",
        6,
        occurred=t + 20 * HOUR,
        stop=CHICAGO,
        status_after="in_transit",
        native_status="X4",
        **CARRIER,
        **here,
    )
    yield approved(
        "exception.raised",
        7,
        occurred=t + 21 * HOUR,
        stop=CHICAGO,
        native_status="SD",
        status_after="in_transit",
        document="EX-1",
        **CARRIER,
        **here,
    )
    yield approved(
        "exception.raised",
        8,
        revision=2,
        action="RETRACT",
        occurred=t + 21 * HOUR,
        stop=CHICAGO,
        native_status="SD",
        status_after="in_transit",
        document="EX-1",
        reason="retracted_by_author",
        **CARRIER,
        **here,
    )
    yield approved(
        "in_transit.departed",
        9,
        occurred=t + 26 * HOUR,
        stop=CHICAGO,
        flags=["late"],
        status_after="in_transit",
        native_status="P1",
        **CARRIER,
        **here,
    )
    yield approved(
        "eta.updated",
        10,
        occurred=now + 9 * HOUR,
        classifier="ESTIMATED",
        stop=GOAL,
        status_after="in_transit",
        native_status="AG",
        **CARRIER,
        **here,
    )
    yield approved(
        "eta.updated",
        11,
        revision=2,
        action="ASSERT",
        occurred=now + 11 * HOUR,
        classifier="ESTIMATED",
        stop=GOAL,
        status_after="in_transit",
        reason="estimate_updated",
        native_status="AG",
        **CARRIER,
        **here,
    )
    yield approved(
        "position.reported",
        12,
        occurred=now - 70 * MINUTE,
        status_after="in_transit",
        stop={**CHICAGO, "name": None, "location": None, "city": "Nashville", "subdivision": "TN"},
        native_status="X6",
        **CARRIER,
        **here,
    )
    yield approved(
        "delivery.arrived",
        13,
        occurred=now - 35 * MINUTE,
        stop=GOAL,
        status_after="at_delivery",
        assurance="PROVISIONAL",
        reason="owner_silent",
        native_status="X1",
        **CARRIER,
        **here,
    )
    yield approved(
        "pod.received",
        14,
        action="UNRECOGNISED",
        occurred=now - 10 * MINUTE,
        stop=GOAL,
        status_after="at_delivery",
        **here,
    )
    yield entity_status(
        14,
        status="at_delivery",
        stops=plan(DALLAS, CHICAGO, GOAL),
        references=names,
        updated=now,
        linked=[
            {"key": order, "status": "packed"},
            {"key": entity_key("acme", "order", "80001235"), "status": ""},
        ],
    )


def delivered(now):
    """SHP-2002: in Europe, delivered, confirmed and charged."""
    t = now - 3 * DAY
    here = {"entity_id": "SHP-2002", "platform": "tms-eu"}
    yield approved("goods.issued", 1, occurred=t, status_after="goods_issued", **here)
    yield approved("departed", 2, occurred=t + 2 * HOUR, status_after="shipped", **here)
    yield approved(
        "delivered",
        3,
        occurred=t + 30 * HOUR,
        stop=LYON,
        status_after="delivered",
        assurance="PROVISIONAL",
        reason="owner_silent",
        **here | CARRIER,
    )
    yield approved(
        "delivered",
        4,
        revision=2,
        action="CONFIRM",
        occurred=t + 30 * HOUR,
        stop=LYON,
        status_after="delivered",
        reason="owner_confirmed_deputy",
        agree=["carrier-redline"],
        **here,
    )
    yield approved(
        "charge.posted",
        5,
        occurred=t + 48 * HOUR,
        stop=None,
        document="C-1",
        status_after="delivered",
        amount=12_500_000,
        currency="EUR",
        **here | {"platform": "erp-global", "role": "ERP"},
    )
    yield entity_status(
        5,
        entity_id="SHP-2002",
        status="delivered",
        linked=[],
        references=[],
        stops=plan(DALLAS, LYON),
        updated=now,
    )


def under_way(now):
    """SHP-3900: on the road, with an estimate that moved."""
    here = {"entity_id": "SHP-3900", **CARRIER}
    yield approved("departed", 1, occurred=now - 8 * HOUR, status_after="shipped", **here)
    yield approved(
        "eta.updated",
        2,
        occurred=now + 9 * HOUR,
        classifier="ESTIMATED",
        stop=GOAL,
        status_after="shipped",
        native_status="AG",
        **here,
    )
    yield approved(
        "eta.updated",
        3,
        revision=2,
        action="ASSERT",
        occurred=now + 11 * HOUR,
        classifier="ESTIMATED",
        stop=GOAL,
        status_after="shipped",
        reason="estimate_updated",
        native_status="AG",
        **here,
    )
    yield entity_status(
        3,
        entity_id="SHP-3900",
        linked=[],
        references=[],
        stops=plan(DALLAS, CHICAGO, GOAL),
        updated=now,
    )


def ordered(now):
    """The order behind SHP-1001, and many shipments that have only begun."""
    t = now - 3 * DAY
    here = {"entity_type": "order", "entity_id": "80001234", "stop": None}
    erp = {"platform": "erp-global", "role": "ERP"}
    yield approved(
        "order.released", 1, occurred=t, status_after="released", name="o1", **here, **erp
    )
    yield approved(
        "pick.confirmed",
        2,
        occurred=t + 4 * HOUR,
        status_after="picking",
        name="o2",
        document="P-1",
        quantity={"value": 12_000_000, "unit": "PCE", "basis": "DELTA", "completeness": "PARTIAL"},
        **here,
        **WAREHOUSE,
    )
    yield approved(
        "pack.confirmed",
        3,
        occurred=t + 6 * HOUR,
        status_after="packed",
        name="o3",
        document="P-2",
        **here,
        **WAREHOUSE,
    )
    yield entity_status(
        3,
        entity_type="order",
        entity_id="80001234",
        status="packed",
        stops=[],
        references=[{"kind": "PO", "scope": "", "value": "4500017"}],
        updated=t,
        linked=[{"key": entity_key("acme", "shipment", "SHP-1001"), "status": ""}],
    )
    for number in range(3001, 3008):
        name = f"SHP-{number}"
        yield approved(
            "shipment.tendered",
            1,
            entity_id=name,
            occurred=now - 5 * HOUR,
            stop=None,
            status_after="tendered",
        )
        yield entity_status(
            1, entity_id=name, status="tendered", linked=[], references=[], stops=plan(DALLAS, GOAL)
        )


def settle(engine: Engine, url: str, now: int, records) -> None:
    """Apply records as if they had just been read, and Kafka had said that there are no more."""
    writer = StoreWriter(engine, url, lambda: now)
    at = TopicPartition(APPROVED, 0)
    writer.prepare("cluster", [at])
    partitions = writer.claim([at])
    batch = Batch()
    records = list(records)
    start = max(0, partitions[at].position)
    for offset, record in enumerate(records, start):
        topic = ENTITY_STATUS if "milestones" in record else APPROVED
        published = max(record["received"], now - 2 * DAY) if "received" in record else now
        batch.add(Arrived(topic, 0, offset, min(now, published), record))
    partitions[at].asked_end(now, start + len(records))
    partitions[at].reached_end(start + len(records))
    writer.commit(batch, partitions)
    writer.tell("reading", "", now)
