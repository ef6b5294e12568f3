"""Noise on the wire: what comes besides a story and must not change it.

Retransmissions, spoiled bytes, unknown codes and senders, clocks ahead, records on a wrong
partition. Unlike the faults of a story, a shipment may have several. Must never know how governance
decides.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from connectors.simulation.faults import APPROVED
from connectors.simulation.platforms import PLATFORMS, REDLINE, TMSES, WMS
from connectors.simulation.retelling import Fate, Mark, Said
from connectors.simulation.statement import Spoiling, Statement, raw_event
from connectors.simulation.world import HOUR_MS, MINUTE_MS, Shipment
from pipeline.governance.reasons import Reason
from pipeline.governance.vocabulary import Classifier, Disposition, EntityType, Precision

STRANGER: Final = "tms-apac"
"""A platform that no bundle knows; it writes to the topic of the region's TMS."""
EARLY_MS: Final = 170 * HOUR_MS
"""How long before the present the last claim is sent that waits in vain."""
STRANGERS_ACCOUNT: Final = "NORTHWIND-3PL"


def disturb(shipment: Shipment, said: Said, roll: random.Random, now_ms: int) -> Said:
    """Let noise befall a shipment, each kind by its own chance.

    Args:
        shipment: whose statements.
        said: after any fault of the story.
        roll: chance.
        now_ms: the world's present, for clocks that run ahead of it.

    """
    if roll.random() < STRAY_SHARE:
        said = [
            item.but(stray=True, fault="stray") if item.platform == WMS and not item.fault else item
            for item in said
        ]
    for name, (share, make) in _NOISES.items():
        if roll.random() < share:
            said = [*said, *(item.but(fault=name) for item in make(shipment, said, roll, now_ms))]
    return said


def _honest(said: Said) -> Said:
    """Statements of milestones that no fault has touched."""
    return [item for item in said if not item.fault and item.about is not None]


def _later(item: Statement, roll: random.Random) -> int:
    return item.sent_ms + roll.randrange(4, 90) * MINUTE_MS


def _repeated(_shipment: Shipment, said: Said, roll: random.Random, _now_ms: int) -> Said:
    honest = _honest(said)
    chosen = roll.sample(honest, min(len(honest), roll.randrange(1, 6)))
    return [item.but(sent_ms=_later(item, roll)) for item in chosen]


def _restated(_shipment: Shipment, said: Said, roll: random.Random, _now_ms: int) -> Said:
    item = roll.choice(_honest(said))
    width = 60_000
    return [
        item.but(
            event_id=f"{item.event['event_id']}-api",
            occurred=item.event["occurred"] // width * width,
            occurred_precision=Precision.MINUTE.value,
            sent_ms=_later(item, roll),
        )
    ]


def _id_reused(_shipment: Shipment, said: Said, roll: random.Random, _now_ms: int) -> Said:
    item = roll.choice(_honest(said))
    return [item.but(occurred=item.event["occurred"] - HOUR_MS, sent_ms=_later(item, roll))]


def _spoiled(spoiling: Spoiling) -> Callable[[Shipment, Said, random.Random, int], Said]:
    def make(_shipment: Shipment, said: Said, roll: random.Random, _now_ms: int) -> Said:
        """A second copy of a statement whose bytes are broken; the first one was fine."""
        item = roll.choice(_honest(said))
        event_id = f"{item.event['event_id']}-{spoiling.value}"
        return [item.but(event_id=event_id, sent_ms=_later(item, roll), spoiling=spoiling)]

    return make


def _unknown_code(shipment: Shipment, said: Said, roll: random.Random, _now_ms: int) -> Said:
    speakers = {shipment.tms, shipment.carrier}
    item = roll.choice([item for item in _honest(said) if item.platform in speakers])
    status = "XB" if item.platform == REDLINE else "YARD_CHECK"
    event_id = f"{item.event['event_id']}-new"
    return [item.but(native_status=status, event_id=event_id, sent_ms=_later(item, roll))]


def _other_customer(_shipment: Shipment, said: Said, roll: random.Random, _now_ms: int) -> Said:
    item = roll.choice([item for item in said if item.platform == WMS])
    return [
        item.but(
            event_id=f"{item.event['event_id']}-nw",
            account=STRANGERS_ACCOUNT,
            entity_id=f"nw{item.event['entity_id']}",
            sent_ms=_later(item, roll),
        )
    ]


def _stranger(_shipment: Shipment, said: Said, roll: random.Random, _now_ms: int) -> Said:
    item = roll.choice([item for item in said if item.platform in TMSES])
    return [item.but(platform=STRANGER, sent_ms=_later(item, roll))]


def _clock_ahead(shipment: Shipment, _said: Said, _roll: random.Random, now_ms: int) -> Said:
    return [_position(shipment, "ahead", now_ms + 4 * MINUTE_MS, now_ms)]


def _clock_far_ahead(shipment: Shipment, _said: Said, roll: random.Random, now_ms: int) -> Said:
    days = roll.choice((1, 2, 30))
    return [_position(shipment, "tomorrow", now_ms + days * 24 * HOUR_MS, now_ms)]


def _epoch(shipment: Shipment, _said: Said, _roll: random.Random, now_ms: int) -> Said:
    return [_position(shipment, "epoch", 0, now_ms)]


def _position(shipment: Shipment, serial: str, occurred_ms: int, now_ms: int) -> Statement:
    """A position report of the region's TMS, made at the present."""
    tms = PLATFORMS[shipment.tms]
    event = raw_event(
        event_id=f"{tms.prefix}{shipment.order[1:]}-{serial}",
        platform=tms.name,
        entity_type=EntityType.SHIPMENT.value,
        entity_id=shipment.number,
        native_status="POSITION",
        classifier=Classifier.ACTUAL.value,
        occurred=occurred_ms,
        recorded=occurred_ms,
    )
    return Statement(event, now_ms - 30 * HOUR_MS)


def _charge_for_nobody(shipment: Shipment, said: Said, _roll: random.Random, now_ms: int) -> Said:
    charge = next(item for item in said if item.event["native_status"] == "FRT")
    return [_in_vain(charge, now_ms, entity_id=f"{shipment.number}0")]


def _wrong_number(shipment: Shipment, said: Said, _roll: random.Random, now_ms: int) -> Said:
    item = next(item for item in said if item.platform == shipment.carrier)
    nowhere = dict.fromkeys(("role", "location", "city"))
    stop = (item.event["stop"] or {}) | nowhere
    return [
        _in_vain(
            item,
            now_ms,
            entity_type=EntityType.SHIPMENT.value,
            entity_id=f"{shipment.number}9",
            reference=None,
            stop=stop,
        )
    ]


def _unknown_pro(shipment: Shipment, said: Said, roll: random.Random, now_ms: int) -> Said:
    item = next(item for item in said if item.platform == shipment.carrier)
    number = {"kind": "PRO", "scope": "RDLN", "value": f"{roll.randrange(10**8, 10**9)}"}
    return [_in_vain(item, now_ms, entity_type=None, entity_id=None, reference=number)]


def _in_vain(item: Statement, now_ms: int, **changes: Any) -> Statement:
    """A copy that will wait for what never comes, so early that the run sees the end of it."""
    sent_ms = min(item.sent_ms, now_ms - EARLY_MS)
    early = item.sent_ms - sent_ms
    return item.but(
        event_id=f"{item.event['event_id']}-lost",
        occurred=item.event["occurred"] - early,
        recorded=item.event["recorded"] - early,
        sent_ms=sent_ms,
        stray=False,
        delay_s=0.0,
        **changes,
    )


_Make = Callable[[Shipment, Said, random.Random, int], Said]
_NOISES: Final[Mapping[str, tuple[float, _Make]]] = {
    "repeated": (0.40, _repeated),
    "restated": (0.10, _restated),
    "id_reused": (0.012, _id_reused),
    "noise": (0.012, _spoiled(Spoiling.NOISE)),
    "cut": (0.012, _spoiled(Spoiling.CUT)),
    "trailing": (0.008, _spoiled(Spoiling.TRAILING)),
    "foreign_schema": (0.003, _spoiled(Spoiling.FOREIGN_SCHEMA)),
    "unknown_code": (0.025, _unknown_code),
    "other_customer": (0.015, _other_customer),
    "stranger": (0.008, _stranger),
    "clock_ahead": (0.015, _clock_ahead),
    "clock_far_ahead": (0.012, _clock_far_ahead),
    "epoch": (0.006, _epoch),
    "charge_for_nobody": (0.008, _charge_for_nobody),
    "wrong_number": (0.008, _wrong_number),
    "unknown_pro": (0.008, _unknown_pro),
}
"""Share of all shipments, and what is said besides."""
STRAY_SHARE: Final = 0.03


def _dead(reason: Reason) -> frozenset[Fate]:
    return frozenset({(Disposition.DEAD_LETTERED.value, reason)})


_DUPLICATE = Disposition.DUPLICATE.value
NOISES: Final[Mapping[str, Mark]] = {
    "repeated": Mark(
        "A platform that had no acknowledgement sends again, byte for byte.",
        frozenset({(_DUPLICATE, Reason.REPEATED)}),
    ),
    "restated": Mark(
        "The same event through another interface: another event id, a time to the minute.",
        frozenset({(_DUPLICATE, Reason.RESTATED)}),
    ),
    "id_reused": Mark(
        "An event id that was used before, with another time.",
        frozenset({(_DUPLICATE, Reason.ID_REUSED)}),
    ),
    "noise": Mark("A proxy answers in HTML instead of a record.", _dead(Reason.UNDECODABLE)),
    "cut": Mark("The end of a record is missing.", _dead(Reason.UNDECODABLE)),
    "trailing": Mark(
        "Something hangs on behind the end of a record.", _dead(Reason.TRAILING_BYTES)
    ),
    "foreign_schema": Mark(
        "A record names a schema that no registry gave.", _dead(Reason.UNKNOWN_SCHEMA)
    ),
    "unknown_code": Mark(
        "A status that nobody has mapped: a new release of the TMS, a partner's own meaning of XB.",
        _dead(Reason.UNMAPPED_STATUS),
    ),
    "other_customer": Mark(
        "The contract warehouse sends what belongs to another customer.",
        _dead(Reason.UNKNOWN_TENANT),
    ),
    "stranger": Mark(
        "A TMS that was never onboarded writes to another's topic.", _dead(Reason.UNKNOWN_PLATFORM)
    ),
    "clock_ahead": Mark(
        "A clock that runs a little ahead, within what the platform's profile tolerates.",
        frozenset({APPROVED}),
    ),
    "clock_far_ahead": Mark(
        "A date typed wrong: tomorrow's or next month's.", _dead(Reason.OCCURRED_IN_FUTURE)
    ),
    "epoch": Mark("A field that was empty and became 1970.", _dead(Reason.IMPLAUSIBLE_TIME)),
    "charge_for_nobody": Mark(
        "A freight charge on a shipment number that was mistyped.",
        _dead(Reason.AWAITING_PREDECESSOR),
    ),
    "wrong_number": Mark(
        "The carrier's arrival at a shipment that nobody tendered, at a stop known by number only.",
        _dead(Reason.STOP_UNRESOLVED) | _dead(Reason.REGION_UNRESOLVED),
    ),
    "unknown_pro": Mark(
        "The carrier knows only a PRO number that nobody else ever mentioned.",
        _dead(Reason.UNCORRELATED),
    ),
    "stray": Mark(
        "The warehouse partitions by CRC32, so its records sit where they don't belong.",
        frozenset({APPROVED, (Disposition.REROUTED.value, Reason.WRONG_PARTITION)}),
    ),
}
"""By the name that statements carry."""
