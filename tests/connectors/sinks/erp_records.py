"""Approved milestones for tests of sinks: a record as the governor writes it, with changes."""

from __future__ import annotations

from typing import Any

from pipeline.governance.identity import entity_key, milestone_id

T0 = 1_764_000_000_000


def approved(event_type: str = "goods.issued", revision: int = 1, **changes: Any) -> dict[str, Any]:
    """One revision; `key` names what tells this milestone from others of its type."""
    entity_id = changes.pop("entity_id", "S1")
    discriminator = changes.pop("key", "")
    entity = entity_key("acme", "shipment", entity_id)
    milestone = milestone_id(entity, event_type, discriminator, 1)
    record: dict[str, Any] = {
        "event_id": f"{milestone}:{revision}",
        "milestone_id": milestone,
        "revision": revision,
        "action": "ASSERT" if revision == 1 else "CORRECT",
        "assurance": "AUTHORITATIVE",
        "event_type": event_type,
        "classifier": "ACTUAL",
        "tenant": "acme",
        "entity_type": "shipment",
        "entity_id": entity_id,
        "entity_seq": 1,
        "correlations": [],
        "references": [],
        "stop": None,
        "region": "NA",
        "leg": None,
        "attempt": None,
        "document": None,
        "warehouse_task": None,
        "quantity": None,
        "amount": None,
        "currency": None,
        "occurred": T0,
        "occurred_precision": "SECOND",
        "occurred_offset_minutes": None,
        "recorded": None,
        "received": T0,
        "platform": "wms-3pl",
        "role": "WMS",
        "native_status": "GI",
        "native_reason": None,
        "source_event_id": "1",
        "raw_topic": "logistics.raw.wms-3pl.v1",
        "raw_partition": 0,
        "raw_offset": 0,
        "raw_digest": "",
        "policy_version": "test",
        "rule": "test",
        "reason": "owner_spoke",
        "supersedes": None,
        "previous_occurred": None,
        "advances_status": False,
        "status_after": "",
        "skipped": [],
        "agree": [],
        "dissent": [],
        "flags": [],
        "ledger_partition": 0,
        "ledger_seq": 0,
        "shipments": [],
        "stated_by": None,
        "remark": None,
        "repaired_by": None,
        "generation": 1,
    }
    return {**record, **changes}
