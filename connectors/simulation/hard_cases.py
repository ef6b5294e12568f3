"""Faults of a story that take more than an owner to put right: a delivery taken back, a carrier
that knows only its own number, two systems after a hand-over, an order cancelled after its pick.

Each says how its statements should end. Must never know how governance decides.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Final

from connectors.simulation.faults import (
    AGREED,
    APPROVED,
    NOTICED_AFTER_S,
    STANDS_IN,
    Fault,
)
from connectors.simulation.platforms import ERP, PLATFORMS, REDLINE, TMS_EU, TMS_NA
from connectors.simulation.retelling import Mark, Said, change, of, shifted, true, without
from connectors.simulation.statement import Record, Statement, raw_event
from connectors.simulation.world import MINUTE_MS, Happening, Shipment
from pipeline.governance.reasons import Reason
from pipeline.governance.vocabulary import Change, Disposition, EntityType

SCAC: Final = "RDLN"


def pro_number(shipment: Shipment) -> Record:
    """The number under which Redline carries a shipment, as a reference."""
    return {"kind": "PRO", "scope": SCAC, "value": f"70{shipment.order[1:]}"}


def _owner_retracts(shipment: Shipment, said: Said, roll: random.Random) -> Said:
    right = of(said, shipment.tms, "delivered")[-1]
    name, early_ms = right.event["event_id"], roll.randrange(150, 280) * MINUTE_MS
    noticed_ms = right.sent_ms - early_ms + roll.randrange(20, 100) * MINUTE_MS
    wrong = shifted(right, -early_ms).but(
        event_id=f"{name}-a",
        recorded=right.event["recorded"] - early_ms,
        sent_ms=right.sent_ms - early_ms,
        fault="said_in_error",
    )
    by_id = roll.random() < 0.5
    back = right.but(
        event_id=f"{name}-b",
        occurred=noticed_ms,
        recorded=noticed_ms,
        sent_ms=noticed_ms,
        delay_s=NOTICED_AFTER_S,
        fault="taken_back_by_id" if by_id else "taken_back",
        **({"retracts": f"{name}-a"} if by_id else {"native_status": "NOT_DELIVERED"}),
    )
    anew = right.but(delay_s=NOTICED_AFTER_S, fault="said_anew")
    # What it says afterwards comes later too: a platform keeps its own order
    others = [
        item.but(delay_s=NOTICED_AFTER_S)
        if item.platform == shipment.tms and item.sent_ms > right.sent_ms
        else item
        for item in said
        if item is not right
    ]
    return [*others, wrong, back, anew]


def _pro_only(shipment: Shipment, said: Said, _roll: random.Random) -> Said:
    if shipment.carrier != REDLINE:
        return said
    number = pro_number(shipment)
    sent_ms = true(shipment, "departed").at_ms + 60 * MINUTE_MS
    said = change(
        said,
        shipment.tms,
        "shipment.tendered",
        lambda item: item.but(references=[*item.event["references"], number], sent_ms=sent_ms),
    )
    said = without(said, shipment.tms, "delivered")

    def anonymous(item: Statement) -> Statement:
        if item.platform != REDLINE:
            return item
        fault = ""
        if item.about is not None:
            last = item.about.event_type == "delivered"
            fault = "pro_only_delivered" if last else "pro_only"
        return item.but(entity_type=None, entity_id=None, reference=number, fault=fault)

    return [anonymous(item) for item in said]


def _two_systems(shipment: Shipment, said: Said, roll: random.Random) -> Said:
    """The TMS that is not responsible reports the departure of its plan, hours early."""
    if shipment.region != "EU":
        return said
    other = TMS_NA if shipment.tms == TMS_EU else TMS_EU
    departed = true(shipment, "departed")
    planned = departed._replace(at_ms=departed.at_ms - roll.randrange(100, 240) * MINUTE_MS)
    platform = PLATFORMS[other]
    event = platform.says(shipment, planned, "plan", roll.randrange(*platform.lag_s))
    fault = "trial_feed" if other == TMS_NA else "retired_feed"
    return [*said, Statement(event, event["recorded"], departed, fault)]


def _cancelled_after_pick(shipment: Shipment, said: Said, roll: random.Random) -> Said:
    picks = [item.at_ms for item in shipment.story if item.event_type == "pick.confirmed"]
    at_ms = max(picks) + roll.randrange(5, 20) * MINUTE_MS
    event = raw_event(
        event_id=f"IDOC{shipment.order[1:]}-can",
        platform=ERP,
        entity_type=EntityType.ORDER.value,
        entity_id=shipment.order.zfill(10),
        native_status="CAN",
        occurred=at_ms,
        recorded=at_ms + MINUTE_MS,
    )
    about = Happening("order.cancelled", at_ms)
    return [*said, Statement(event, at_ms + MINUTE_MS, about, "cancelled_after_pick")]


HARD_CASES: Final[Mapping[str, Fault]] = {
    fault.name: fault
    for fault in (
        Fault("owner_retracts", 0.03, _owner_retracts),
        Fault("pro_only", 0.03, _pro_only),
        Fault("two_systems", 0.04, _two_systems),
        Fault("cancelled_after_pick", 0.015, _cancelled_after_pick),
    )
}
_NOT_OWNER_THEN = (Disposition.OVERRULED.value, Reason.NOT_OWNER_AT_OCCURRENCE)
_TAKEN_BACK = (Disposition.APPROVED.value, Reason.RETRACTED_BY_AUTHOR)
HARD_MARKS: Final[Mapping[str, Mark]] = {
    "said_in_error": Mark(
        "The owner reports a delivery that has not happened.",
        frozenset({(Change.RETRACTED.value, Reason.RETRACTED_BY_AUTHOR)}),
    ),
    "taken_back_by_id": Mark(
        "The owner takes it back by naming its event id.", frozenset({_TAKEN_BACK})
    ),
    "taken_back": Mark(
        "The owner takes it back by saying NOT_DELIVERED.", frozenset({_TAKEN_BACK})
    ),
    "said_anew": Mark(
        "The owner reports the delivery once it has happened.", frozenset({APPROVED})
    ),
    "pro_only": Mark(
        "The carrier knows only its PRO number; the tender that binds it comes after the pick-up.",
        frozenset({AGREED}),
    ),
    "pro_only_delivered": Mark(
        "It reports the delivery under that number, and the owner never does.",
        frozenset({STANDS_IN}),
    ),
    "trial_feed": Mark(
        "Before Europe's hand-over the new TMS already reports, on trial, what it only planned.",
        frozenset({_NOT_OWNER_THEN}),
    ),
    "retired_feed": Mark(
        "After it the retired TMS still reports what it had planned.",
        frozenset({_NOT_OWNER_THEN}),
    ),
    "cancelled_after_pick": Mark(
        "The order is cancelled after its pick, and the goods leave all the same.",
        frozenset({APPROVED}),
    ),
}
"""By the name that statements carry."""
