"""Faults of a story: platforms that disagree, err, correct themselves, come late or keep silent.

A shipment has at most one of them. Each says how its statements should end, so that a rehearsal
can hold governance to it. Must never know how governance decides.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from connectors.simulation.platforms import (
    ERP,
    OPS_DESK,
    PLATFORMS,
    PORTAL,
    SITE_ZONES,
    TMS_EU,
    WMS,
)
from connectors.simulation.retelling import (
    Mark,
    Said,
    change,
    of,
    shifted,
    true,
    without,
)
from connectors.simulation.statement import Statement, stop_record
from connectors.simulation.world import HOUR_MS, MINUTE_MS, Happening, Shipment
from pipeline.governance.reasons import Reason
from pipeline.governance.vocabulary import Change, Classifier, Disposition

OWNER_DELAY_S: Final = 7.0
"""How long a slow owner keeps silent: longer than the longest silence of the demo's bundle."""

NOTICED_AFTER_S: Final = 5.0
"""Seconds of the run until an owner notices its error: the ERP has booked it by then."""


class Fault(NamedTuple):
    """Something that goes wrong with a shipment's story."""

    name: str
    share: float
    """Of all shipments."""
    apply: Callable[[Shipment, Said, random.Random], Said]


APPROVED: Final = (Disposition.APPROVED.value, Reason.OWNER_SPOKE)
AGREED: Final = (Disposition.CORROBORATED.value, Reason.AGREES_WITH_OWNER)
DIFFERED: Final = (Disposition.OVERRULED.value, Reason.DIFFERS_FROM_OWNER)
NOT_OWNER: Final = (Disposition.OVERRULED.value, Reason.NOT_OWNER)
STANDS_IN: Final = (Disposition.PROVISIONAL.value, Reason.OWNER_SILENT)
ACTUAL_KNOWN: Final = (Disposition.STALE.value, Reason.ACTUAL_KNOWN)


def afflict(shipment: Shipment, said: Said, roll: random.Random, faults: Iterable[Fault]) -> Said:
    """Let at most one of some faults befall a shipment's story."""
    chance = roll.random()
    for fault in faults:
        if chance < fault.share:
            return fault.apply(shipment, said, roll)
        chance -= fault.share
    return said


def _late_batch(shipment: Shipment, said: Said, roll: random.Random) -> Said:
    ends = [item.at_ms for item in shipment.story if item.event_type == "delivered"]
    sent_ms = max(ends) + roll.randrange(2, 12) * HOUR_MS
    return [
        item.but(sent_ms=sent_ms, fault="late_batch")
        if item.platform == shipment.carrier and item.about is not None
        else item
        for item in said
    ]


def _owner_late(shipment: Shipment, said: Said, _roll: random.Random) -> Said:
    ends = [item.at_ms for item in shipment.story if item.event_type == "delivered"]
    return change(
        said,
        shipment.tms,
        "departed",
        lambda item: item.but(sent_ms=max(ends) + HOUR_MS, fault="owner_late"),
    )


def _conflicting_shipped(shipment: Shipment, said: Said, roll: random.Random) -> Said:
    wrong_ms = roll.choice((-1, 1)) * roll.randrange(45, 200) * MINUTE_MS
    return change(
        said,
        shipment.carrier,
        "departed",
        lambda item: shifted(item, wrong_ms).but(fault="conflicting_shipped"),
    )


def _portal_shipped(shipment: Shipment, said: Said, roll: random.Random) -> Said:
    return [*said, _self_report(shipment, "departed", true(shipment, "goods.issued"), roll)]


def _portal_delivered(shipment: Shipment, said: Said, roll: random.Random) -> Said:
    early = true(shipment, "delivered").at_ms - roll.randrange(90, 300) * MINUTE_MS
    stated = true(shipment, "delivered")._replace(at_ms=early)
    return [*said, _self_report(shipment, "delivered", stated, roll)]


def _self_report(
    shipment: Shipment, event_type: str, stated: Happening, roll: random.Random
) -> Statement:
    portal = PLATFORMS[PORTAL]
    lag_s = roll.randrange(*portal.lag_s)
    happening = stated._replace(event_type=event_type, document=None, quantity=0)
    event = portal.says(shipment, happening, "auto", lag_s)
    name = "portal_shipped" if event_type == "departed" else "portal_delivered"
    return Statement(event, event["recorded"], true(shipment, event_type), name)


def _local_time(shipment: Shipment, said: Said, _roll: random.Random) -> Said:

    def mistaken(item: Statement) -> Statement:
        if item.platform != shipment.carrier or item.about is None or item.about.stop is None:
            return item
        zone = ZoneInfo(SITE_ZONES[item.about.stop.site])
        offset = datetime.fromtimestamp(item.event["occurred"] / 1000, UTC).astimezone(zone)
        shift = offset.utcoffset()
        assert shift is not None  # noqa: S101  it was given a zone
        return shifted(item, int(shift.total_seconds()) * 1000).but(fault="local_time")

    return [mistaken(item) for item in said]


def _delivery_estimate(shipment: Shipment, said: Said, roll: random.Random) -> Said:
    tms = shipment.tms
    # Never in the same moment as an ETA: of two words of one moment either may count
    minutes = roll.randrange(30, 240)
    sent_ms = true(shipment, "departed").at_ms + minutes * MINUTE_MS + MINUTE_MS // 2
    extra = [
        item.but(
            event_id=f"{item.event['event_id']}-plan",
            classifier=Classifier.ESTIMATED.value,
            occurred=item.event["occurred"] - roll.randrange(60, 240) * MINUTE_MS,
            recorded=sent_ms,
            sent_ms=sent_ms,
            fault="delivery_estimate",
        )
        for item in of(said, tms, "delivered")[:1]
    ]
    return said + extra


def _estimate_late(shipment: Shipment, said: Said, roll: random.Random) -> Said:
    stop = shipment.drops[0]
    delivered = true(shipment, "delivered")
    sent_ms = delivered.at_ms + roll.randrange(90, 300) * MINUTE_MS
    tms = PLATFORMS[shipment.tms]
    event = tms.says(shipment, delivered._replace(stop=stop), "etalate", 0) | {
        "native_status": "ETA",
        "classifier": Classifier.ESTIMATED.value,
        "occurred": delivered.at_ms + HOUR_MS,
        "recorded": sent_ms,
    }
    return [*said, Statement(event, sent_ms, None, "estimate_late")]


def _owner_corrects(shipment: Shipment, said: Said, roll: random.Random) -> Said:
    tms, event_type = shipment.tms, roll.choice(("departed", "delivered"))
    wrong_ms = roll.choice((-1, 1)) * roll.randrange(40, 300) * MINUTE_MS
    right = of(said, tms, event_type)[0]
    corrected_ms = right.sent_ms + roll.randrange(60, 200) * MINUTE_MS
    wrong = shifted(right, wrong_ms).but(
        event_id=f"{right.event['event_id']}-a", fault="owner_errs"
    )
    corrected = right.but(
        recorded=corrected_ms,
        sent_ms=corrected_ms,
        delay_s=NOTICED_AFTER_S,
        fault="owner_corrects",
    )
    return [*(item for item in said if item is not right), wrong, corrected]


def _owner_mistaken(shipment: Shipment, said: Said, roll: random.Random) -> Said:
    wrong_ms = roll.choice((-1, 1)) * roll.randrange(45, 160) * MINUTE_MS
    return change(
        said,
        shipment.tms,
        "departed",
        lambda item: shifted(item, wrong_ms).but(fault="owner_mistaken"),
    )


def _owner_slow(shipment: Shipment, said: Said, roll: random.Random) -> Said:
    event_type = roll.choice(("departed", "delivered"))
    said = _held_back(said, shipment.tms, event_type, "owner_slow")
    return change(said, shipment.carrier, event_type, lambda item: item.but(fault="stood_in"))


def _owner_slow_differs(shipment: Shipment, said: Said, roll: random.Random) -> Said:
    event_type = roll.choice(("departed", "delivered"))
    wrong_ms = roll.randrange(45, 150) * MINUTE_MS
    said = _held_back(said, shipment.tms, event_type, "owner_slow")
    return change(
        said,
        shipment.carrier,
        event_type,
        lambda item: shifted(item, wrong_ms).but(fault="stood_in_wrongly"),
    )


def _owner_silent(shipment: Shipment, said: Said, roll: random.Random) -> Said:
    event_type = roll.choice(("departed", "delivered"))
    said = without(said, shipment.tms, event_type)
    return change(said, shipment.carrier, event_type, lambda item: item.but(fault="owner_silent"))


def _telephone(shipment: Shipment, said: Said, roll: random.Random) -> Said:
    said = without(said, shipment.tms, "departed")
    said = without(said, shipment.carrier, "departed")
    desk = PLATFORMS[OPS_DESK]
    departed = true(shipment, "departed")
    event = desk.says(shipment, departed, "1", roll.randrange(*desk.lag_s))
    return [*said, Statement(event, event["recorded"], departed, "telephone")]


def _warehouse_silent(shipment: Shipment, said: Said, _roll: random.Random) -> Said:
    if shipment.tms != TMS_EU:
        return said
    said = without(said, WMS, "goods.issued")
    return change(said, TMS_EU, "goods.issued", lambda item: item.but(fault="warehouse_silent"))


def _charge_early(shipment: Shipment, said: Said, roll: random.Random) -> Said:
    sent_ms = true(shipment, "departed").at_ms + roll.randrange(10, 60) * MINUTE_MS
    return change(
        said,
        ERP,
        "charge.posted",
        lambda item: item.but(
            sent_ms=sent_ms, recorded=sent_ms, occurred=sent_ms, fault="charge_early"
        ),
    )


def _tender_late(shipment: Shipment, said: Said, _roll: random.Random) -> Said:
    sent_ms = true(shipment, "departed").at_ms + 60 * MINUTE_MS
    said = change(
        said,
        shipment.tms,
        "shipment.tendered",
        lambda item: item.but(sent_ms=sent_ms),
    )
    early = {"pickup.arrived", "departed"}
    return [
        item.but(
            stop=stop_record(number=item.about.stop.number),
            fault="tender_late",
        )
        if item.platform == shipment.carrier
        and item.about is not None
        and item.about.stop is not None
        and item.about.event_type in early
        else item
        for item in said
    ]


def _held_back(said: Said, platform: str, event_type: str, name: str) -> Said:
    return change(
        said, platform, event_type, lambda item: item.but(delay_s=OWNER_DELAY_S, fault=name)
    )


FAULTS: Final[Mapping[str, Fault]] = {
    fault.name: fault
    for fault in (
        Fault("late_batch", 0.08, _late_batch),
        Fault("owner_late", 0.05, _owner_late),
        Fault("conflicting_shipped", 0.08, _conflicting_shipped),
        Fault("portal_shipped", 0.11, _portal_shipped),
        Fault("portal_delivered", 0.04, _portal_delivered),
        Fault("local_time", 0.06, _local_time),
        Fault("delivery_estimate", 0.07, _delivery_estimate),
        Fault("estimate_late", 0.04, _estimate_late),
        Fault("owner_corrects", 0.07, _owner_corrects),
        Fault("owner_mistaken", 0.01, _owner_mistaken),
        Fault("owner_slow", 0.04, _owner_slow),
        Fault("owner_slow_differs", 0.03, _owner_slow_differs),
        Fault("owner_silent", 0.04, _owner_silent),
        Fault("telephone", 0.02, _telephone),
        Fault("warehouse_silent", 0.03, _warehouse_silent),
        Fault("charge_early", 0.04, _charge_early),
        Fault("tender_late", 0.04, _tender_late),
    )
}
_CONFIRMED = (Change.CONFIRMED.value, Reason.OWNER_CONFIRMED_DEPUTY)
MARKS: Final[Mapping[str, Mark]] = {
    "late_batch": Mark(
        "The carrier's file of the whole journey arrives the day after.", frozenset({AGREED})
    ),
    "owner_late": Mark(
        "The owner's departure arrives when the goods are already delivered.", frozenset({APPROVED})
    ),
    "conflicting_shipped": Mark(
        "The carrier's departure is another than the owner's.", frozenset({DIFFERED})
    ),
    "portal_shipped": Mark(
        "The portal reports the departure when the goods leave the warehouse.",
        frozenset({NOT_OWNER, AGREED}),
    ),
    "portal_delivered": Mark(
        "The portal reports the delivery of the plan, hours before it happens.",
        frozenset({NOT_OWNER}),
    ),
    "local_time": Mark("The carrier sends local times as if they were UTC.", frozenset({DIFFERED})),
    "delivery_estimate": Mark(
        "The TMS says DELIVERED of a delivery that it only expects.", frozenset({APPROVED})
    ),
    "estimate_late": Mark(
        "An estimate of a delivery that has already happened.", frozenset({ACTUAL_KNOWN})
    ),
    "owner_corrects": Mark(
        "The owner puts its own error right, hours later.", frozenset({APPROVED})
    ),
    "owner_mistaken": Mark(
        "The owner errs and never knows: nobody else may say otherwise.", frozenset({APPROVED})
    ),
    "owner_slow": Mark(
        "The owner keeps silent past the deadline, then speaks.", frozenset({APPROVED})
    ),
    "owner_silent": Mark("The owner never speaks; the carrier stands in.", frozenset({STANDS_IN})),
    "telephone": Mark(
        "Neither owner nor carrier speaks; somebody rings the operations desk.",
        frozenset({STANDS_IN}),
    ),
    "warehouse_silent": Mark(
        "The warehouse never says that the goods left; Europe's TMS does.", frozenset({STANDS_IN})
    ),
    "charge_early": Mark(
        "The freight charge is posted while the goods are still on their way.",
        frozenset({APPROVED}),
    ),
    "tender_late": Mark(
        "The carrier names stops by number before the tender that lists them has come.",
        frozenset({AGREED}),
    ),
    "owner_errs": Mark(
        "The owner errs, for a few hours.",
        frozenset({(Change.CORRECTED.value, Reason.OWNER_CORRECTED)}),
    ),
    "stood_in": Mark(
        "A deputy stands in for a silent owner, which then says the same.",
        frozenset({_CONFIRMED, AGREED}),
    ),
    "stood_in_wrongly": Mark(
        "A deputy stands in for a silent owner, which then says otherwise.",
        frozenset({(Change.CORRECTED.value, Reason.OWNER_CORRECTED_DEPUTY), DIFFERED}),
    ),
}
"""By the name that statements carry. With hours of silence, deputies never get to stand in."""
