"""What one raw event may hold: refuses what no platform can mean and what state can't keep.

Each fault names its field and the bound. Must never know a policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from pipeline.governance.claims import RawEvent, texts_of
from pipeline.governance.flow import Stage
from pipeline.governance.placement import RefusedError
from pipeline.governance.reasons import Reason

ID_CHARACTERS_MAX: Final = 200
REMARK_CHARACTERS_MAX: Final = 1_000
LISTED_MAX: Final = 500
"""Stops, orders, references or shipments that one record may list."""
_DECIMAL_MAX: Final = 10**18
_OFFSET_MINUTES_MAX: Final = 18 * 60
_PERSONAL: Final[tuple[tuple[Literal["stated_by", "remark"], str], ...]] = (
    ("stated_by", "a person's statement has their name"),
    ("remark", "a person's statement has its reason"),
)


def check(body: RawEvent, key: str, *, personal: bool = False) -> None:
    """Refuse a raw event that breaks a bound.

    Args:
        body: the event.
        key: of its entity.
        personal: whether a person states it, who gives name and reason.

    Raises:
        RefusedError: it does; every fault is named.

    """
    faults = [] if _plain(body) else list(_faults(body))
    if personal:
        faults += [f"{name} is empty: {why}" for name, why in _PERSONAL if not body[name]]
    if faults:
        raise RefusedError(Reason.FIELD_INVALID, "; ".join(faults), Stage.BOUNDS, key)


def _plain(body: RawEvent) -> bool:
    """Whether a look at what most events have shows that it breaks no bound."""
    if body["amount"] is not None or body["quantity"] is not None or body["remark"]:
        return False
    if body["stops"] or body["orders"] or body["references"] or body["shipments"]:
        return False
    if not body["event_id"] or body["occurred_offset_minutes"] is not None:
        return False
    stop = body["stop"]
    said = list(body.values()) if stop is None else [*body.values(), *stop.values()]
    return not any(isinstance(text, str) and len(text) > ID_CHARACTERS_MAX for text in said)


def _faults(body: RawEvent) -> Iterator[str]:
    quantity, offset = body["quantity"], body["occurred_offset_minutes"]
    if not body["event_id"]:
        yield "event_id is empty"
    if body["amount"] is not None and not body["currency"]:
        yield "amount needs its currency"
    value = None if quantity is None else quantity["value"]
    for name, number in (("amount", body["amount"]), ("quantity", value)):
        if number is not None and abs(number) >= _DECIMAL_MAX:
            yield f"{name} has more than 18 digits"
    if offset is not None and abs(offset) > _OFFSET_MINUTES_MAX:
        yield f"occurred_offset_minutes is {offset}, at most {_OFFSET_MINUTES_MAX} are possible"
    lists = {
        "stops": len(body["stops"]),
        "orders": len(body["orders"]),
        "references": len(body["references"]),
        "shipments": len(body["shipments"]),
    }
    for name, count in lists.items():
        if count > LISTED_MAX:
            yield f"{name} lists {count}, at most {LISTED_MAX} are read"
    for name, text in texts_of(body):
        if len(text) > ID_CHARACTERS_MAX:
            yield f"{name} has {len(text)} characters, at most {ID_CHARACTERS_MAX} are read"
    if len(body["remark"] or "") > REMARK_CHARACTERS_MAX:
        yield f"remark has more than {REMARK_CHARACTERS_MAX} characters"
