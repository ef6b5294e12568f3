"""Noise on the wire: what comes besides a story and must not change it.

Retransmissions, spoiled bytes, unknown codes and senders, clocks ahead, records on a wrong
partition. Unlike the faults of a story, a shipment may have several. Must never know how governance
decides.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Final

from connectors.simulation.faults import APPROVED, Fate, Said
from connectors.simulation.platforms import PLATFORMS, REDLINE, TMS_OF, WMS
from connectors.simulation.statement import Spoiling, Statement, raw_event
from connectors.simulation.world import HOUR_MS, MINUTE_MS, Shipment
from pipeline.governance.reasons import Reason
from pipeline.governance.vocabulary import Classifier, Disposition, EntityType, Precision

STRANGER: Final = "tms-apac"
"""A platform that no bundle knows; it writes to the topic of the region's TMS."""
STRANGERS_ACCOUNT: Final = "NORTHWIND-3PL"


def disturb(shipment: Shipment, said: Said, roll: random.Random, now_ms: int) -> Said:
    """Let noise befall a shipment, each kind by its own chance.

    Args:
        shipment: whose statements.
        said: after any fault of the story.
        roll: chance.
        now_ms: the world's present, for clocks that run ahead of it.

    """
    for name, (share, make) in _NOISES.items():
        if roll.random() < share:
            said = [*said, *(item.but(fault=name) for item in make(shipment, said, roll, now_ms))]
    if roll.random() < STRAY_SHARE:
        said = [
            item.but(stray=True, fault="stray") if item.platform == WMS and not item.fault else item
            for item in said
        ]
    return said


def _honest(said: Said) -> Said:
    """Statements of milestones that no fault has touched."""
    return [item for item in said if not item.fault and item.about is not None]


def _later(item: Statement, roll: random.Random) -> int:
    return item.sent_ms + roll.randrange(4, 90) * MINUTE_MS


def _repeated(_shipment: Shipment, said: Said, roll: random.Random, _now_ms: int) -> Said:
    """A platform that had no acknowledgement sends again, byte for byte."""
    honest = _honest(said)
    chosen = roll.sample(honest, min(len(honest), roll.randrange(1, 6)))
    return [item.but(sent_ms=_later(item, roll)) for item in chosen]


def _restated(_shipment: Shipment, said: Said, roll: random.Random, _now_ms: int) -> Said:
    """The same event through another interface: another event id, a time to the minute."""
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
    """An event id that was used before, with another time."""
    item = roll.choice(_honest(said))
    return [item.but(occurred=item.event["occurred"] - HOUR_MS, sent_ms=_later(item, roll))]


def _spoiled(spoiling: Spoiling) -> Callable[[Shipment, Said, random.Random, int], Said]:
    def make(_shipment: Shipment, said: Said, roll: random.Random, _now_ms: int) -> Said:
        """A second copy of a statement whose bytes are broken; the first one was fine."""
        item = roll.choice(_honest(said))
        event_id = f"{item.event['event_id']}-copy"
        return [item.but(event_id=event_id, sent_ms=_later(item, roll), spoiling=spoiling)]

    return make


def _unknown_code(shipment: Shipment, said: Said, roll: random.Random, _now_ms: int) -> Said:
    """A status that nobody has mapped: a new release of the TMS, a partner's own meaning of XB."""
    speakers = {TMS_OF[shipment.region], shipment.carrier}
    item = roll.choice([item for item in _honest(said) if item.platform in speakers])
    status = "XB" if item.platform == REDLINE else "YARD_CHECK"
    event_id = f"{item.event['event_id']}-new"
    return [item.but(native_status=status, event_id=event_id, sent_ms=_later(item, roll))]


def _other_customer(_shipment: Shipment, said: Said, roll: random.Random, _now_ms: int) -> Said:
    """The contract warehouse sends what belongs to another customer."""
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
    """A TMS that was never onboarded writes to another's topic."""
    item = roll.choice([item for item in said if item.platform in TMS_OF.values()])
    return [item.but(platform=STRANGER, sent_ms=_later(item, roll))]


def _clock_ahead(shipment: Shipment, _said: Said, _roll: random.Random, now_ms: int) -> Said:
    """A clock that runs a little ahead, within what the platform's profile tolerates."""
    return [_position(shipment, "ahead", now_ms + 4 * MINUTE_MS, now_ms)]


def _clock_far_ahead(shipment: Shipment, _said: Said, roll: random.Random, now_ms: int) -> Said:
    """A date typed wrong: tomorrow's or next month's."""
    days = roll.choice((1, 2, 30))
    return [_position(shipment, "tomorrow", now_ms + days * 24 * HOUR_MS, now_ms)]


def _epoch(shipment: Shipment, _said: Said, _roll: random.Random, now_ms: int) -> Said:
    """A field that was empty and became 1970."""
    return [_position(shipment, "epoch", 0, now_ms)]


def _position(shipment: Shipment, serial: str, occurred_ms: int, now_ms: int) -> Statement:
    """A position report of the region's TMS, made at the present."""
    tms = PLATFORMS[TMS_OF[shipment.region]]
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


def _charge_for_nobody(shipment: Shipment, said: Said, roll: random.Random, _now_ms: int) -> Said:
    """A freight charge on a shipment number that was mistyped."""
    charge = next(item for item in said if item.event["native_status"] == "FRT")
    return [
        charge.but(
            event_id=f"{charge.event['event_id']}-typo",
            entity_id=f"{shipment.number}0",
            sent_ms=charge.sent_ms - roll.randrange(20, 40) * HOUR_MS,
        )
    ]


def _wrong_number(shipment: Shipment, said: Said, _roll: random.Random, _now_ms: int) -> Said:
    """The carrier's arrival at a shipment that nobody tendered, at a stop known by number only."""
    item = next(item for item in said if item.platform == shipment.carrier)
    return [
        item.but(
            event_id=f"{item.event['event_id']}-typo",
            entity_id=f"{shipment.number}9",
            stop=(item.event["stop"] or {}) | dict.fromkeys(("role", "location", "city")),
        )
    ]


def _unknown_pro(shipment: Shipment, said: Said, roll: random.Random, _now_ms: int) -> Said:
    """The carrier knows only a PRO number that nobody else ever mentioned."""
    item = next(item for item in said if item.platform == shipment.carrier)
    value = f"{roll.randrange(10**8, 10**9)}"
    return [
        item.but(
            event_id=f"{item.event['event_id']}-pro",
            entity_type=None,
            entity_id=None,
            reference={"kind": "PRO", "scope": "RDLN", "value": value},
        )
    ]


_Make = Callable[[Shipment, Said, random.Random, int], Said]
_NOISES: Final[Mapping[str, tuple[float, _Make]]] = {
    "repeated": (0.40, _repeated),
    "restated": (0.10, _restated),
    "id_reused": (0.012, _id_reused),
    "noise": (0.012, _spoiled(Spoiling.NOISE)),
    "cut": (0.012, _spoiled(Spoiling.CUT)),
    "trailing": (0.008, _spoiled(Spoiling.TRAILING)),
    "foreign_schema": (0.008, _spoiled(Spoiling.FOREIGN_SCHEMA)),
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
NOISES: Final[Mapping[str, frozenset[Fate]]] = {
    "repeated": frozenset({(_DUPLICATE, Reason.REPEATED)}),
    "restated": frozenset({(_DUPLICATE, Reason.RESTATED)}),
    "id_reused": frozenset({(_DUPLICATE, Reason.ID_REUSED)}),
    "noise": _dead(Reason.UNDECODABLE),
    "cut": _dead(Reason.UNDECODABLE),
    "trailing": _dead(Reason.TRAILING_BYTES),
    "foreign_schema": _dead(Reason.UNKNOWN_SCHEMA),
    "unknown_code": _dead(Reason.UNMAPPED_STATUS),
    "other_customer": _dead(Reason.UNKNOWN_TENANT),
    "stranger": _dead(Reason.UNKNOWN_PLATFORM),
    "clock_ahead": frozenset({APPROVED}),
    "clock_far_ahead": _dead(Reason.OCCURRED_IN_FUTURE),
    "epoch": _dead(Reason.IMPLAUSIBLE_TIME),
    "charge_for_nobody": _dead(Reason.AWAITING_PREDECESSOR),
    "wrong_number": _dead(Reason.STOP_UNRESOLVED) | _dead(Reason.REGION_UNRESOLVED),
    "unknown_pro": _dead(Reason.UNCORRELATED),
    "stray": frozenset({APPROVED, (Disposition.REROUTED.value, Reason.WRONG_PARTITION)}),
}
"""How the statements of each kind of noise end."""
