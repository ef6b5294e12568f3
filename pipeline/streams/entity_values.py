"""The values that an entity's bytes are made of: texts, stops, quantities, what was said.

A text is its length and one more, and its bytes; one of `WORDS` is its place there, below 0; a UUID
is -1 and its 16 bytes; 0 is no text. Must never write a value in two ways.
"""

from __future__ import annotations

from typing import Any, Final

import orjson
from librt.strings import BytesWriter
from mypy_extensions import u8

from pipeline.contract.canonical import Source, read_long, write_long
from pipeline.governance import entity_codec
from pipeline.governance.claims import Order

WORDS: Final = (
    "ACTUAL", "SECOND", "AUTHORITATIVE", "ASSERT", "approved", "owner_spoke", "MINUTE",
    "MILLISECOND", "DAY", "ESTIMATED", "PLANNED", "REQUESTED", "UNRECOGNISED", "PROVISIONAL",
    "CONFIRM", "CORRECT", "RETRACT", "overruled", "agrees_with_owner", "differs_from_owner",
    "not_owner", "held", "awaiting_owner", "corroborated", "provisional", "owner_silent",
    "confirmed", "corrected", "retracted", "owner_corrected", "stale", "PICKUP", "TRANSIT",
    "DELIVERY", "EA", "DELTA", "CUMULATIVE", "PARTIAL", "COMPLETE", "order.released",
    "order.changed", "order.cancelled", "pick.confirmed", "pack.confirmed", "shipment.tendered",
    "carrier.accepted", "pickup.arrived", "goods.issued", "departed", "in_transit.arrived",
    "in_transit.departed", "delivery.arrived", "delivered", "pod.received", "eta.updated",
    "shipped", "in_transit", "at_delivery", "at_pickup", "released", "picked", "packed",
    "accepted", "tendered", "goods_issued", "estimate_updated", "region_unresolved",
    "stop_unresolved", "awaiting_predecessor", "uncorrelated", "shipment.cancelled",
    "carrier.declined", "partially_delivered", "picking", "NA", "EU", "charge.posted",
    "delivery.promised", "delivery.refused", "exception.raised", "exception.resolved",
    "inventory.confirmed", "inventory.moved", "invoice.approved", "position.reported",
    "shipment.changed",
)  # fmt: skip
"""Texts that state has often, the first 63 of them in one byte. Their places are stored: new ones
come last, and raise the version."""
_PLACES: Final = {word: -2 - place for place, word in enumerate(WORDS)}
_UUID: Final = -1
_UUID_CHARACTERS: Final = 36
_STOP: Final = ("number", "role", "location", "name", "city", "subdivision", "country")


def write_stop(out: BytesWriter, stop: Any) -> None:
    """Which fields it has, one bit each, and these."""
    mask = 0
    for place, name in enumerate(_STOP):
        if stop[name] is not None:
            mask |= 1 << place
    out.append(u8(mask))
    for name in _STOP:
        if name == "number":
            if mask & 1:
                write_long(out, stop[name])
        elif stop[name] is not None:
            write_text(out, stop[name])


def read_stop(source: Source) -> Any:
    """A stop as `write_stop` wrote it."""
    mask: int = source.data[source.at]
    source.at += 1
    stop: dict[str, Any] = {}
    for place, name in enumerate(_STOP):
        if not mask >> place & 1:
            stop[name] = None
        elif place:
            stop[name] = read_said(source)
        else:
            stop[name] = int(read_long(source))
    return stop


def write_stops(out: BytesWriter, stops: Any) -> None:
    """How many stops there are, and these."""
    write_long(out, len(stops))
    for stop in stops:
        write_stop(out, stop)


def read_stops(source: Source) -> list[Any]:
    """Stops as `write_stops` wrote them."""
    return [read_stop(source) for _ in range(read_long(source))]


def write_quantity(out: BytesWriter, quantity: Any) -> None:
    """Value, unit, basis and completeness."""
    write_long(out, quantity["value"])
    write_text(out, quantity["unit"])
    write_text(out, quantity["basis"])
    write_text(out, quantity["completeness"])


def read_quantity(source: Source) -> Any:
    """A quantity as `write_quantity` wrote it."""
    return {
        "value": int(read_long(source)),
        "unit": read_said(source),
        "basis": read_said(source),
        "completeness": read_said(source),
    }


def write_content(out: BytesWriter, content: list[Any] | None) -> None:
    """Which of its parts there are, one bit each, below 0, and these."""
    mask = 0
    for place, part in enumerate(content or ()):
        if part is not None:
            mask |= 1 << place
    write_long(out, -mask)
    if content is None or not mask:
        return
    quantity, amount, currency, orders, stops, shipments, site = content
    if quantity is not None:
        write_quantity(out, quantity)
    if amount is not None:
        write_long(out, amount)
    if currency is not None:
        write_text(out, currency)
    if orders is not None:
        write_list(out, orders)
    if stops is not None:
        write_stops(out, stops)
    if shipments is not None:
        write_list(out, shipments)
    if site is not None:
        write_text(out, site)


def read_content(source: Source) -> list[Any] | None:
    """What was said besides the time; of version 3 from JSON."""
    size = read_long(source)
    if size > 0:
        at = source.at
        source.at = at + size - 1
        return entity_codec.load_content(orjson.loads(source.data[at : at + size - 1]))
    mask: int = -size
    if not mask:
        return None
    return [
        read_quantity(source) if mask & 1 else None,
        int(read_long(source)) if mask & 2 else None,
        read_said(source) if mask & 4 else None,
        read_list(source) if mask & 8 else None,
        read_stops(source) if mask & 16 else None,
        read_list(source) if mask & 32 else None,
        read_said(source) if mask & 64 else None,
    ]


def write_optional(out: BytesWriter, value: bytes | None) -> None:
    """Bytes behind their length and one more; None is a length of -1."""
    if value is None:
        out.append(0)
        return
    write_long(out, len(value) + 1)
    out.write(value)


def read_optional(source: Source) -> bytes | None:
    """Bytes as `write_optional` wrote them."""
    size = read_long(source)
    if size == 0:
        return None
    at = source.at
    source.at = at + size - 1
    return source.data[at : at + size - 1]


def write_text(out: BytesWriter, value: str | None) -> None:
    """A text: a word's place, a UUID's bytes, or itself; None: absent."""
    if value is None:
        out.append(0)
        return
    place = _PLACES.get(value)
    if place is not None:
        write_long(out, place)
        return
    packed = _packed(value)
    if packed is not None:
        write_long(out, _UUID)
        out.write(packed)
        return
    write_optional(out, value.encode("utf-8"))


def read_text(source: Source) -> str | None:
    """A text as `write_text` wrote it."""
    size = read_long(source)
    if size == 0:
        return None
    at = source.at
    if size > 0:
        source.at = at + size - 1
        return source.data[at : at + size - 1].decode("utf-8")
    if size == _UUID:
        source.at = at + 16
        return uuid_of(source.data[at : at + 16])
    return WORDS[-2 - size]


def read_said(source: Source) -> str:
    """A text; an absent one is empty."""
    return read_text(source) or ""


def _packed(text: str) -> bytes | None:
    """The bytes of a UUID in its usual form; None: it is something else."""
    if len(text) != _UUID_CHARACTERS or text[8] != "-":
        return None
    try:
        packed = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return None
    return packed if len(packed) == 16 and uuid_of(packed) == text else None


def uuid_of(packed: bytes) -> str:
    """A UUID of 16 bytes in its usual form."""
    digits = packed.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def write_number(out: BytesWriter, value: int | None) -> None:
    """Whether there is a number, and it."""
    if value is None:
        out.append(0)
        return
    out.append(2)
    write_long(out, value)


def read_number(source: Source) -> int | None:
    """A number as `write_number` wrote it."""
    return int(read_long(source)) if read_long(source) else None


def write_list(out: BytesWriter, texts: list[str]) -> None:
    """How many texts there are, and these."""
    write_long(out, len(texts))
    for text in texts:
        write_text(out, text)


def read_list(source: Source) -> list[str]:
    """Texts as `write_list` wrote them."""
    return [read_said(source) for _ in range(read_long(source))]


def write_order(out: BytesWriter, order: Order | None) -> None:
    """Whether there is an order of a platform's statements, and it."""
    out.append(0 if order is None else 2)
    if order is not None:
        write_long(out, order[0])
        write_long(out, order[1])
        write_long(out, order[2])
        write_text(out, order[3])


def read_order(source: Source) -> Order | None:
    """An order as `write_order` wrote it."""
    if not read_long(source):
        return None
    return int(read_long(source)), int(read_long(source)), int(read_long(source)), read_said(source)


def write_json(out: BytesWriter, value: Any) -> None:
    """JSON of a value behind its length; None: absent."""
    write_optional(out, None if value is None else orjson.dumps(value))


def read_json(source: Source) -> Any:
    """A value as `write_json` wrote it."""
    written = read_optional(source)
    return None if written is None else orjson.loads(written)
