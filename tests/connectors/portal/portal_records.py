"""Governed records as the portal's tests need them: defaults, and what a test changes."""

from __future__ import annotations

import uuid
from typing import Any

from pipeline.contract import codec
from pipeline.governance.identity import entity_key

T0 = 1_762_250_400_000
"""2025-11-04T10:00:00Z."""
MINUTE = 60_000
HOUR = 60 * MINUTE

DALLAS = {
    "number": 1,
    "role": "ORIGIN",
    "location": "DAL1",
    "name": "Dallas distribution centre",
    "city": "Dallas",
    "subdivision": "TX",
    "country": "US",
    "zone": "America/Chicago",
}
ATLANTA = {
    "number": 2,
    "role": "DESTINATION",
    "location": "ATL1",
    "name": "Atlanta customer centre",
    "city": "Atlanta",
    "subdivision": "GA",
    "country": "US",
    "zone": "America/New_York",
}


def milestone_id(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def approved(event_type: str = "departed", seq: int = 1, **changes: Any) -> dict[str, Any]:
    """An approved milestone; `name` tells milestones of one event type apart."""
    shipment = changes.pop("entity_id", "SHP-1001")
    name = changes.pop("name", event_type)
    tenant = changes.get("tenant", "acme")
    milestone = milestone_id(f"{tenant}|{shipment}|{name}")
    revision = changes.pop("revision", 1)
    occurred = changes.pop("occurred", T0)
    record = {
        "event_id": f"{milestone}:{revision}",
        "milestone_id": milestone,
        "revision": revision,
        "action": "ASSERT" if revision == 1 else "CORRECT",
        "assurance": "AUTHORITATIVE",
        "event_type": event_type,
        "classifier": "ACTUAL",
        "tenant": "acme",
        "entity_type": "shipment",
        "entity_id": shipment,
        "entity_seq": seq,
        "correlations": [],
        "references": [],
        "stop": dict(DALLAS),
        "region": "NA",
        "leg": None,
        "attempt": None,
        "document": None,
        "warehouse_task": None,
        "quantity": None,
        "amount": None,
        "currency": None,
        "occurred": occurred,
        "occurred_precision": "MINUTE",
        "occurred_offset_minutes": -360,
        "recorded": occurred + MINUTE,
        "received": occurred + 2 * MINUTE,
        "platform": "tms-na",
        "role": "TMS",
        "native_status": "SHIPPED",
        "native_reason": None,
        "source_event_id": f"{name}-{revision}",
        "raw_topic": "logistics.raw.tms-na.v1",
        "raw_partition": 0,
        "raw_offset": seq,
        "raw_digest": "00" * 16,
        "policy_version": "2026.11.1",
        "rule": "departed-na",
        "reason": "owner_spoke",
        "supersedes": None if revision == 1 else f"{milestone}:{revision - 1}",
        "previous_occurred": None,
        "advances_status": True,
        "status_after": "shipped",
        "skipped": [],
        "agree": [],
        "dissent": [],
        "flags": [],
        "ledger_partition": 0,
        "ledger_seq": seq,
        "shipments": [],
        "stated_by": None,
        "remark": None,
        "repaired_by": None,
        "generation": 1,
    }
    unknown = set(changes) - set(record)
    assert not unknown, unknown
    return record | changes


def entity_status(seq: int = 1, **changes: Any) -> dict[str, Any]:
    record = {
        "tenant": "acme",
        "entity_type": "shipment",
        "entity_id": "SHP-1001",
        "entity_seq": seq,
        "status": "shipped",
        "region": "NA",
        "updated": T0,
        "milestones": [],
        "stops": [
            {key: value for key, value in stop.items() if key != "zone"}
            for stop in (DALLAS, ATLANTA)
        ],
        "linked": [{"key": entity_key("acme", "order", "80001234"), "status": "packed"}],
        "references": [{"kind": "PRO", "scope": "RDLN", "value": "0047-11 22"}],
        "flags": [],
        "policy_version": "2026.11.1",
    }
    unknown = set(changes) - set(record)
    assert not unknown, unknown
    return record | changes


def key_of(record: dict[str, Any]) -> bytes:
    return entity_key(record["tenant"], record["entity_type"], record["entity_id"]).encode()


def check(record: dict[str, Any], schema: str) -> dict[str, Any]:
    """The record, proven to fit the committed schema."""
    return codec.decode(codec.encode(record, codec.committed(schema), 1), codec.committed(schema))
