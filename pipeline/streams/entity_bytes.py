"""An entity as bytes, and back: what a partition keeps in memory and in its changelog.

What every record of an entity needs is written field by field; the claims of an occurrence are a
sealed part, which is read when somebody asks for them: most never do. What few entities have is
JSON. Numbers are written as Avro writes them. A text is its length and one more, and its bytes; one
of `WORDS` is its place there, below 0; a UUID is -1 and its 16 bytes; 0 is no text. Version 3, which
this reads as well, had neither words nor UUIDs, and more JSON. Must never drop a field that
`entity_codec` keeps, which reads what earlier versions wrote.
"""

from __future__ import annotations

from typing import Any, Final, cast

import orjson
from librt.strings import BytesWriter
from mypy_extensions import u8

from pipeline.contract.canonical import Source, UnusualError, read_bytes, read_long, write_long
from pipeline.contract.names import raw_topic
from pipeline.governance import entity_codec
from pipeline.governance.claims import Claim, Order, Origin, Raw, RawEvent, raw_event
from pipeline.governance.entity import NO_ORDER, Entity, Occurrence, Sealed, Spoken

STATE_VERSION: Final = 4
_VERSION_OF_JSON: Final = 3
WORDS: Final = tuple(
    "ACTUAL SECOND AUTHORITATIVE ASSERT approved owner_spoke MINUTE MILLISECOND DAY ESTIMATED PLANNED"
    " REQUESTED UNRECOGNISED PROVISIONAL CONFIRM CORRECT RETRACT overruled agrees_with_owner"
    " differs_from_owner not_owner held awaiting_owner corroborated provisional owner_silent confirmed"
    " corrected retracted owner_corrected stale PICKUP TRANSIT DELIVERY EA DELTA CUMULATIVE PARTIAL"
    " COMPLETE order.released order.changed order.cancelled pick.confirmed pack.confirmed"
    " shipment.tendered carrier.accepted pickup.arrived goods.issued departed in_transit.arrived"
    " in_transit.departed delivery.arrived delivered pod.received eta.updated shipped in_transit"
    " at_delivery at_pickup released picked packed accepted tendered goods_issued"
    " estimate_updated region_unresolved stop_unresolved awaiting_predecessor uncorrelated"
    " shipment.cancelled carrier.declined partially_delivered picking NA EU charge.posted"
    " delivery.promised delivery.refused exception.raised exception.resolved inventory.confirmed"
    " inventory.moved invoice.approved position.reported shipment.changed".split()
)
"""Texts that state has often, the first 63 of them in one byte. Their places are stored: new ones
come last, and raise the version."""
_PLACES: Final = {word: -2 - place for place, word in enumerate(WORDS)}
_UUID: Final = -1
_UUID_CHARACTERS: Final = 36
_STOP: Final = ("number", "role", "location", "name", "city", "subdivision", "country")
_TEXTS: Final = (
    "event_id",
    "platform",
    "native_status",
    "native_reason",
    "native_qualifier",
    "classifier",
    "occurred_precision",
    "leg",
    "attempt",
    "document",
    "warehouse_task",
    "currency",
    "retracts",
    "stated_by",
    "remark",
)
_NUMBERS: Final = ("occurred", "occurred_offset_minutes", "recorded", "sequence", "amount")
_LISTS: Final = ("stop", "reference", "quantity", "orders", "stops", "references", "shipments")
"""Fields of a claim that are kept, by how they are written. Their places are stored: new ones come
last, and raise the version."""
_FIRST_NUMBER: Final = 64
_FIRST_LIST: Final = 128
_PACKED_STOP: Final = 192
_PACKED_QUANTITY: Final = 193
_PACKED_STOPS: Final = 194
KEPT: Final = {
    first + place: name
    for first, fields in ((1, _TEXTS), (_FIRST_NUMBER, _NUMBERS), (_FIRST_LIST, _LISTS))
    for place, name in enumerate(fields)
} | {_PACKED_STOP: "stop", _PACKED_QUANTITY: "quantity", _PACKED_STOPS: "stops"}
"""Fields of a claim by the place under which they are stored."""
_WRITTEN: Final = tuple(
    (place, name)
    for place, name in KEPT.items()
    if place >= _PACKED_STOP or name not in {"stop", "quantity", "stops"}
)
_SILENT: Final = cast("dict[str, Any]", raw_event())


class Claims(Sealed):
    """The claims of an occurrence as they were written, behind what the occurrence says itself.

    What it says changes by judging its claims only, so while they are sealed all of it holds.
    """

    __slots__ = ("begin", "written")

    def __init__(self, written: bytes, begin: int, weight: int, *, waits: bool) -> None:
        self.written = written
        self.begin = begin
        self.weight = weight
        self.waits = waits

    def open(self) -> list[Spoken]:
        """The claims."""
        source = Source(self.written, self.begin)
        return [_read_spoken(source) for _ in range(read_long(source))]


def dump(entity: Entity) -> bytes:
    """The entity's bytes; claims that were opened are sealed again."""
    out = BytesWriter()
    out.append(STATE_VERSION)
    write_long(out, entity.generation)
    write_long(out, entity.seq)
    write_long(out, entity.rank)
    write_long(out, entity.received)
    write_long(out, entity.link_seq)
    out.append(1 if entity.forgotten else 0)
    _text(out, entity.status)
    _text(out, entity.told_status)
    _text(out, entity.region)
    _number(out, entity.start)
    _list(out, entity.orders)
    _list(out, entity.told)
    marks = bytes.fromhex("".join(entity.seen))
    write_long(out, len(marks))
    out.write(marks)
    rare = entity_codec.dump_rare(entity)
    _json(out, rare if any(rare) else None)
    write_long(out, len(entity.occurrences))
    for occurrence in entity.occurrences.values():
        _write_occurrence(out, occurrence)
    return out.getvalue()


def load(key: str, value: bytes, begin: int) -> Entity:
    """The entity that `dump` gave.

    Args:
        key: its key.
        value: holds its bytes.
        begin: where they begin.

    Raises:
        ValueError: it was written by a newer Milepost.

    """
    if value[begin] not in {STATE_VERSION, _VERSION_OF_JSON}:
        raise ValueError(
            f"state of {key} has version {value[begin]}, this Milepost reads up to {STATE_VERSION}"
        )
    source = Source(value, begin + 1)
    entity = Entity(key)
    entity.generation = read_long(source)
    entity.seq = read_long(source)
    entity.rank = read_long(source)
    entity.received = read_long(source)
    entity.link_seq = read_long(source)
    entity.forgotten = read_long(source) != 0
    entity.status = _said(source)
    entity.told_status = _said(source)
    entity.region = _read_text(source)
    entity.start = _read_number(source)
    entity.orders = _read_list(source)
    entity.told = _read_list(source)
    marks = read_bytes(source).hex()
    entity.seen = {marks[at : at + 16]: None for at in range(0, len(marks), 16)}
    rare = _read_json(source)
    if rare is not None:
        entity_codec.load_rare(entity, rare)
    for _ in range(read_long(source)):
        _read_occurrence(source, entity)
    return entity


def _write_occurrence(out: BytesWriter, occurrence: Occurrence) -> None:
    sealed = occurrence.sealed
    claims = sealed if isinstance(sealed, Claims) else _seal(occurrence)
    write_long(out, len(claims.written))
    out.write(claims.written)


def _seal(occurrence: Occurrence) -> Claims:
    out = BytesWriter()
    _text(out, occurrence.event_type)
    _text(out, occurrence.discriminator)
    out.write(bytes.fromhex(occurrence.milestone_id.replace("-", "")))
    write_long(out, occurrence.revision)
    out.append(1 if occurrence.stands else 0)
    _text(out, occurrence.platform)
    _text(out, occurrence.assurance)
    _text(out, occurrence.action)
    write_long(out, occurrence.occurred)
    _text(out, occurrence.precision)
    write_long(out, occurrence.published)
    _content(out, occurrence.content)
    write_long(out, occurrence.claim_seq)
    _text(out, occurrence.claim_id)
    write_long(out, occurrence.seq)
    voices = list(occurrence.voices())
    waits, weight = occurrence.waits(), occurrence.weight()
    write_long(out, weight)
    out.append(2 if waits else 0)
    begin = len(out)
    write_long(out, len(voices))
    for spoken in voices:
        _write_spoken(out, spoken)
    claims = Claims(out.getvalue(), begin, weight, waits=waits)
    occurrence.seal(claims)
    return claims


def _read_occurrence(whole: Source, entity: Entity) -> None:
    written = read_bytes(whole)
    source = Source(written, 0)
    event_type, discriminator = _said(source), _said(source)
    at = source.at
    source.at = at + 16
    occurrence = Occurrence(event_type, discriminator, _uuid(written[at : at + 16]))
    occurrence.revision = read_long(source)
    occurrence.stands = read_long(source) != 0
    occurrence.platform = _said(source)
    occurrence.assurance = _said(source)
    occurrence.action = _said(source)
    occurrence.occurred = read_long(source)
    occurrence.precision = _said(source)
    occurrence.published = read_long(source)
    occurrence.content = _read_content(source)
    occurrence.claim_seq = read_long(source)
    occurrence.claim_id = _said(source)
    occurrence.seq = read_long(source)
    weight = read_long(source)
    waits = read_long(source) != 0
    occurrence.sealed = Claims(written, source.at, weight, waits=waits)
    entity.occurrences[occurrence.name] = occurrence
    if occurrence.revision:
        entity.said.add(event_type)
    if occurrence.stands:
        entity.standing[event_type] += 1


def _write_spoken(out: BytesWriter, spoken: Spoken) -> None:
    claim = spoken.claim
    body = claim.body
    _write_claim(out, claim)
    _write_body(out, None if spoken.subject is body else spoken.subject)
    _text(out, spoken.written)
    _text(out, spoken.region)
    _text(out, spoken.place)
    _content(out, spoken.content)
    write_long(out, spoken.first_received - claim.origin.received)
    _order(out, None if spoken.order == claim.order else spoken.order)
    _order(out, None if spoken.barrier == NO_ORDER else spoken.barrier)
    _order(out, spoken.target_order)
    write_long(out, spoken.occurred)
    _text(out, spoken.precision)
    _list(out, spoken.replaces)
    flags = (1 if spoken.restates else 0) + (2 if spoken.retracts else 0)
    write_long(out, flags)
    _text(out, spoken.fate)
    _text(out, spoken.reason)
    _number(out, spoken.deadline)
    write_long(out, len(spoken.restated))
    for event_id, order in spoken.restated.items():
        _text(out, event_id)
        _order(out, order)


def _read_spoken(source: Source) -> Spoken:
    claim = _read_claim(source)
    subject = _read_body(source)
    written, region, place = _said(source), _read_text(source), _read_text(source)
    spoken = Spoken(claim, written, region, place)
    if subject is not None:
        spoken.subject = subject
    spoken.content = _read_content(source)
    spoken.first_received = claim.origin.received + read_long(source)
    order = _read_order(source)
    if order is not None:
        spoken.order = order
    barrier = _read_order(source)
    if barrier is not None:
        spoken.barrier = barrier
    spoken.target_order = _read_order(source)
    spoken.occurred = read_long(source)
    spoken.precision = _said(source)
    spoken.replaces = _read_list(source)
    flags: int = read_long(source)
    spoken.restates = flags & 1 != 0
    spoken.retracts = flags & 2 != 0
    spoken.fate = _said(source)
    spoken.reason = _said(source)
    spoken.deadline = _read_number(source)
    for _ in range(read_long(source)):
        event_id, said = _said(source), _read_order(source)
        spoken.restated[event_id] = said or NO_ORDER
    return spoken


def _write_claim(out: BytesWriter, claim: Claim) -> None:
    _write_body(out, claim.body)
    origin = claim.origin
    usual = origin.topic == raw_topic(claim.body["platform"])
    _text(out, None if usual else origin.topic)
    write_long(out, origin.partition)
    write_long(out, origin.offset)
    write_long(out, origin.received)
    write_long(out, claim.seq)
    write_long(out, len(claim.digest))
    out.write(claim.digest)
    _text(out, claim.tenant)
    _text(out, claim.repaired_by)
    write_long(out, claim.hops)
    out.append(1 if claim.clock_ahead else 0)
    raw = claim.raw
    out.append(0 if raw is None else 1)
    if raw is not None:
        _bytes(out, raw.key)
        _bytes(out, raw.value)
        write_long(out, len(raw.headers))
        for name, value in raw.headers:
            _text(out, name)
            _bytes(out, value)


def _read_claim(source: Source) -> Claim:
    body = _read_body(source)
    if body is None:
        raise UnusualError
    named = _read_text(source)
    topic = raw_topic(body["platform"]) if named is None else named
    partition, offset, received = read_long(source), read_long(source), read_long(source)
    seq = read_long(source)
    digest, tenant = read_bytes(source), _said(source)
    repaired_by, hops = _read_text(source), read_long(source)
    ahead, kept = read_long(source) != 0, read_long(source) != 0
    raw = None
    if kept:
        key, value = _read_optional(source), _read_optional(source)
        count = read_long(source)
        headers = [(_said(source), _read_optional(source)) for _ in range(count)]
        raw = Raw(key, value, tuple(headers))
    origin = Origin(topic, partition, offset, received)
    claim = Claim(body, origin, seq, digest, tenant, raw=raw, repaired_by=repaired_by, hops=hops)
    claim.clock_ahead = ahead
    return claim


def _write_body(out: BytesWriter, body: RawEvent | None) -> None:
    """A raw event: the number of each field that says something, and what it says; 0 ends it."""
    if body is None:
        out.append(255)
        return
    record = cast("dict[str, Any]", body)
    for place, name in _WRITTEN:
        value = record[name]
        if value is None or value == _SILENT[name]:
            continue
        out.append(u8(place))
        if place < _FIRST_NUMBER:
            _text(out, value)
        elif place < _FIRST_LIST:
            write_long(out, value)
        elif place == _PACKED_STOP:
            _stop(out, value)
        elif place == _PACKED_QUANTITY:
            _quantity(out, value)
        elif place == _PACKED_STOPS:
            _stops(out, value)
        else:
            _json(out, entity_codec.dump_field(name, value))
    out.append(0)


def _read_body(source: Source) -> RawEvent | None:
    data = source.data
    place: int = data[source.at]
    source.at += 1
    if place == 255:
        return None
    body = raw_event()
    record = cast("dict[str, Any]", body)
    while place:
        name = KEPT[place]
        if place < _FIRST_NUMBER:
            record[name] = _read_text(source)
        elif place < _FIRST_LIST:
            record[name] = int(read_long(source))
        elif place == _PACKED_STOP:
            record[name] = _read_stop(source)
        elif place == _PACKED_QUANTITY:
            record[name] = _read_quantity(source)
        elif place == _PACKED_STOPS:
            record[name] = _read_stops(source)
        else:
            record[name] = entity_codec.load_field(name, _read_json(source))
        place = data[source.at]
        source.at += 1
    return body


def _stop(out: BytesWriter, stop: Any) -> None:
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
            _text(out, stop[name])


def _read_stop(source: Source) -> Any:
    mask: int = source.data[source.at]
    source.at += 1
    stop: dict[str, Any] = {}
    for place, name in enumerate(_STOP):
        if not mask >> place & 1:
            stop[name] = None
        elif place:
            stop[name] = _said(source)
        else:
            stop[name] = int(read_long(source))
    return stop


def _stops(out: BytesWriter, stops: Any) -> None:
    write_long(out, len(stops))
    for stop in stops:
        _stop(out, stop)


def _read_stops(source: Source) -> list[Any]:
    return [_read_stop(source) for _ in range(read_long(source))]


def _quantity(out: BytesWriter, quantity: Any) -> None:
    write_long(out, quantity["value"])
    _text(out, quantity["unit"])
    _text(out, quantity["basis"])
    _text(out, quantity["completeness"])


def _read_quantity(source: Source) -> Any:
    return {
        "value": int(read_long(source)),
        "unit": _said(source),
        "basis": _said(source),
        "completeness": _said(source),
    }


def _content(out: BytesWriter, content: list[Any] | None) -> None:
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
        _quantity(out, quantity)
    if amount is not None:
        write_long(out, amount)
    if currency is not None:
        _text(out, currency)
    if orders is not None:
        _list(out, orders)
    if stops is not None:
        _stops(out, stops)
    if shipments is not None:
        _list(out, shipments)
    if site is not None:
        _text(out, site)


def _read_content(source: Source) -> list[Any] | None:
    size = read_long(source)
    if size > 0:
        at = source.at
        source.at = at + size - 1
        return entity_codec.load_content(orjson.loads(source.data[at : at + size - 1]))
    mask: int = -size
    if not mask:
        return None
    return [
        _read_quantity(source) if mask & 1 else None,
        int(read_long(source)) if mask & 2 else None,
        _said(source) if mask & 4 else None,
        _read_list(source) if mask & 8 else None,
        _read_stops(source) if mask & 16 else None,
        _read_list(source) if mask & 32 else None,
        _said(source) if mask & 64 else None,
    ]


def _bytes(out: BytesWriter, value: bytes | None) -> None:
    """Bytes behind their length and one more; None is a length of -1."""
    if value is None:
        out.append(0)
        return
    write_long(out, len(value) + 1)
    out.write(value)


def _read_optional(source: Source) -> bytes | None:
    size = read_long(source)
    if size == 0:
        return None
    at = source.at
    source.at = at + size - 1
    return source.data[at : at + size - 1]


def _text(out: BytesWriter, value: str | None) -> None:
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
    _bytes(out, value.encode("utf-8"))


def _read_text(source: Source) -> str | None:
    size = read_long(source)
    if size == 0:
        return None
    at = source.at
    if size > 0:
        source.at = at + size - 1
        return source.data[at : at + size - 1].decode("utf-8")
    if size == _UUID:
        source.at = at + 16
        return _uuid(source.data[at : at + 16])
    return WORDS[-2 - size]


def _said(source: Source) -> str:
    return _read_text(source) or ""


def _packed(text: str) -> bytes | None:
    """The bytes of a UUID in its usual form; None: it is something else."""
    if len(text) != _UUID_CHARACTERS or text[8] != "-":
        return None
    try:
        packed = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return None
    return packed if len(packed) == 16 and _uuid(packed) == text else None


def _uuid(packed: bytes) -> str:
    digits = packed.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _number(out: BytesWriter, value: int | None) -> None:
    if value is None:
        out.append(0)
        return
    out.append(2)
    write_long(out, value)


def _read_number(source: Source) -> int | None:
    return int(read_long(source)) if read_long(source) else None


def _list(out: BytesWriter, texts: list[str]) -> None:
    write_long(out, len(texts))
    for text in texts:
        _text(out, text)


def _read_list(source: Source) -> list[str]:
    return [_said(source) for _ in range(read_long(source))]


def _order(out: BytesWriter, order: Order | None) -> None:
    out.append(0 if order is None else 2)
    if order is not None:
        write_long(out, order[0])
        write_long(out, order[1])
        write_long(out, order[2])
        _text(out, order[3])


def _read_order(source: Source) -> Order | None:
    if not read_long(source):
        return None
    return int(read_long(source)), int(read_long(source)), int(read_long(source)), _said(source)


def _json(out: BytesWriter, value: Any) -> None:
    _bytes(out, None if value is None else orjson.dumps(value))


def _read_json(source: Source) -> Any:
    written = _read_optional(source)
    return None if written is None else orjson.loads(written)
