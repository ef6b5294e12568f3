"""Stories that took a turn: split, cancelled, taken back, stated by hand, a number used again.

Times are relative to a given now, as in `portal_world`.
"""

from __future__ import annotations

from portal_records import ATLANTA, DALLAS, HOUR, MINUTE, approved, entity_status
from portal_world import DAY, GOAL, WAREHOUSE, plan

from pipeline.governance.identity import entity_key

DESK = {"platform": "ops-desk", "role": "OPS_DESK"}
PERSON = {"stated_by": "Ana Perez", "remark": "the driver phoned from the gate"}
ORDER = entity_key("acme", "order", "80007000")
THERE = ATLANTA | {"number": 2}


def turns(now):
    """All of them."""
    yield from split(now)
    yield from after_cancel(now)
    yield from taken_back(now)
    yield from used_again(now)


def status_of(name, seq, status, **more):
    told = {"linked": [{"key": ORDER, "status": "picked"}], "references": []} | more
    return entity_status(seq, entity_id=name, status=status, stops=plan(DALLAS, THERE), **told)


def split(now):
    """SHP-7000 was split into A, which is delivered, and B, of which nothing is known yet."""
    t = now - DAY
    parts = [entity_key("acme", "shipment", f"SHP-7000-{name}") for name in "AB"]
    here = {"entity_id": "SHP-7000", "status_after": "tendered"}
    yield approved("shipment.tendered", 1, occurred=t, **here)
    yield approved("shipment.changed", 2, occurred=t + HOUR, document="V2", shipments=parts, **here)
    yield status_of("SHP-7000", 2, "tendered")
    part = {"entity_id": "SHP-7000-A"}
    yield approved("departed", 1, occurred=t + 3 * HOUR, status_after="shipped", **part)
    yield approved(
        "delivered", 2, occurred=t + 20 * HOUR, stop=THERE, status_after="delivered", **part
    )
    yield status_of("SHP-7000-A", 2, "delivered")
    yield status_of("SHP-7000-B", 0, "")


def after_cancel(now):
    """Order 80007000 was cancelled after the pick; SHP-7100 left all the same."""
    t = now - DAY
    here = {"entity_type": "order", "entity_id": "80007000", "stop": None}
    erp = {"platform": "erp-global", "role": "ERP"}
    yield approved(
        "order.released", 1, occurred=t, status_after="released", name="r", **here, **erp
    )
    pieces = {"unit": "C62", "basis": "DELTA", "completeness": "COMPLETE"}
    for revision, value in ((1, 40), (2, 38)):
        yield approved(
            "pick.confirmed",
            1 + revision,
            revision=revision,
            occurred=t + 2 * HOUR,
            document="P-1",
            quantity=pieces | {"value": value * 1_000_000},
            status_after="picked",
            **here,
            **WAREHOUSE,
        )
    cancelled = {"occurred": t + 5 * HOUR, "status_after": "picked", "name": "c"}
    yield approved("order.cancelled", 4, **cancelled, **here, **erp)
    yield entity_status(
        4,
        entity_type="order",
        entity_id="80007000",
        status="picked",
        stops=[],
        references=[],
        linked=[{"key": entity_key("acme", "shipment", "SHP-7100"), "status": "shipped"}],
    )
    there = {"entity_id": "SHP-7100", "status_after": "shipped", "flags": ["after_cancel"]}
    yield approved("departed", 1, occurred=t + 7 * HOUR, **there)
    yield status_of("SHP-7100", 1, "shipped")


def taken_back(now):
    """SHP-7200: delivered, taken back by the desk, stated anew by a person at the desk."""
    t = now - 10 * HOUR
    here = {"entity_id": "SHP-7200"}
    there = {**here, "stop": THERE}
    yield approved("departed", 1, occurred=t, status_after="shipped", **here)
    yield approved("delivered", 2, occurred=t + 2 * HOUR, status_after="delivered", **there)
    yield approved(
        "delivered",
        3,
        revision=2,
        action="RETRACT",
        reason="retracted_by_author",
        occurred=t + 3 * HOUR,
        status_after="shipped",
        **there,
    )
    yield approved(
        "delivered",
        4,
        revision=3,
        action="ASSERT",
        assurance="PROVISIONAL",
        reason="owner_silent",
        occurred=t + 8 * HOUR,
        status_after="delivered",
        **there,
        **DESK,
        **PERSON,
    )
    yield approved(
        "exception.raised", 5, occurred=t + 4 * HOUR, status_after="delivered", **there, **DESK
    )
    yield approved(
        "exception.raised",
        6,
        revision=2,
        action="RETRACT",
        reason="retracted_by_author",
        occurred=t + 5 * HOUR,
        status_after="delivered",
        **there,
        **DESK,
        **PERSON,
    )
    yield approved(
        "pickup.arrived",
        7,
        occurred=t - 30 * MINUTE,
        status_after="delivered",
        flags=["repaired"],
        repaired_by="Ben Okafor",
        **here,
    )
    yield status_of("SHP-7200", 7, "delivered")


def used_again(now):
    """SHP-7300: the number of a shipment of last year, used again."""
    here = {"entity_id": "SHP-7300"}
    long_ago = {**here, "stop": GOAL, "status_after": "delivered", "name": "first"}
    yield approved("delivered", 1, occurred=now - 400 * DAY, **long_ago)
    yield approved(
        "departed", 2, occurred=now - 2 * HOUR, generation=2, status_after="shipped", **here
    )
    yield status_of("SHP-7300", 2, "shipped")
