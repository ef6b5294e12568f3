"""An entity as bytes, and back: what a partition keeps in memory and in its changelog.

What every record of an entity needs is written field by field; the claims of an occurrence are a
sealed part, which is read when somebody asks for them: most never do. What few entities have is
JSON. Numbers are written as Avro writes them. A text is its length and one more, and its bytes; one
of `WORDS` is its place there, below 0; a UUID is -1 and its 16 bytes; 0 is no text. Version 3,
which is read as well, had neither words nor UUIDs, and more JSON. Must never drop a field that
`entity_codec` keeps, which reads what earlier versions wrote.
"""

from __future__ import annotations

from typing import Any, Final, cast

from librt.strings import BytesWriter
from mypy_extensions import u8

from pipeline.contract.canonical import Source, UnusualError, read_bytes, read_long, write_long
from pipeline.contract.names import raw_topic
from pipeline.governance import entity_codec
from pipeline.governance.claims import Claim, Origin, Raw, RawEvent, raw_event
from pipeline.governance.entity import NO_ORDER, Entity, Occurrence, Sealed, Spoken
from pipeline.streams.entity_values import (
    read_content,
    read_json,
    read_list,
    read_number,
    read_optional,
    read_order,
    read_quantity,
    read_said,
    read_stop,
    read_stops,
    read_text,
    uuid_of,
    write_content,
    write_json,
    write_list,
    write_number,
    write_optional,
    write_order,
    write_quantity,
    write_stop,
    write_stops,
    write_text,
)

STATE_VERSION: Final = 4
_VERSION_OF_JSON: Final = 3
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
    write_text(out, entity.status)
    write_text(out, entity.told_status)
    write_text(out, entity.region)
    write_number(out, entity.start)
    write_list(out, entity.orders)
    write_list(out, entity.told)
    marks = bytes.fromhex("".join(entity.seen))
    write_long(out, len(marks))
    out.write(marks)
    rare = entity_codec.dump_rare(entity)
    write_json(out, rare if any(rare) else None)
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
    entity.status = read_said(source)
    entity.told_status = read_said(source)
    entity.region = read_text(source)
    entity.start = read_number(source)
    entity.orders = read_list(source)
    entity.told = read_list(source)
    marks = read_bytes(source).hex()
    entity.seen = {marks[at : at + 16]: None for at in range(0, len(marks), 16)}
    rare = read_json(source)
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
    write_text(out, occurrence.event_type)
    write_text(out, occurrence.discriminator)
    out.write(bytes.fromhex(occurrence.milestone_id.replace("-", "")))
    write_long(out, occurrence.revision)
    out.append(1 if occurrence.stands else 0)
    write_text(out, occurrence.platform)
    write_text(out, occurrence.assurance)
    write_text(out, occurrence.action)
    write_long(out, occurrence.occurred)
    write_text(out, occurrence.precision)
    write_long(out, occurrence.published)
    write_content(out, occurrence.content)
    write_long(out, occurrence.claim_seq)
    write_text(out, occurrence.claim_id)
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
    event_type, discriminator = read_said(source), read_said(source)
    at = source.at
    source.at = at + 16
    occurrence = Occurrence(event_type, discriminator, uuid_of(written[at : at + 16]))
    occurrence.revision = read_long(source)
    occurrence.stands = read_long(source) != 0
    occurrence.platform = read_said(source)
    occurrence.assurance = read_said(source)
    occurrence.action = read_said(source)
    occurrence.occurred = read_long(source)
    occurrence.precision = read_said(source)
    occurrence.published = read_long(source)
    occurrence.content = read_content(source)
    occurrence.claim_seq = read_long(source)
    occurrence.claim_id = read_said(source)
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
    write_text(out, spoken.written)
    write_text(out, spoken.region)
    write_text(out, spoken.place)
    write_content(out, spoken.content)
    write_long(out, spoken.first_received - claim.origin.received)
    write_order(out, None if spoken.order == claim.order else spoken.order)
    write_order(out, None if spoken.barrier == NO_ORDER else spoken.barrier)
    write_order(out, spoken.target_order)
    write_long(out, spoken.occurred)
    write_text(out, spoken.precision)
    write_list(out, spoken.replaces)
    flags = (1 if spoken.restates else 0) + (2 if spoken.retracts else 0)
    write_long(out, flags)
    write_text(out, spoken.fate)
    write_text(out, spoken.reason)
    write_number(out, spoken.deadline)
    write_long(out, len(spoken.restated))
    for event_id, order in spoken.restated.items():
        write_text(out, event_id)
        write_order(out, order)


def _read_spoken(source: Source) -> Spoken:
    claim = _read_claim(source)
    subject = _read_body(source)
    written, region, place = read_said(source), read_text(source), read_text(source)
    spoken = Spoken(claim, written, region, place)
    if subject is not None:
        spoken.subject = subject
    spoken.content = read_content(source)
    spoken.first_received = claim.origin.received + read_long(source)
    order = read_order(source)
    if order is not None:
        spoken.order = order
    barrier = read_order(source)
    if barrier is not None:
        spoken.barrier = barrier
    spoken.target_order = read_order(source)
    spoken.occurred = read_long(source)
    spoken.precision = read_said(source)
    spoken.replaces = read_list(source)
    flags: int = read_long(source)
    spoken.restates = flags & 1 != 0
    spoken.retracts = flags & 2 != 0
    spoken.fate = read_said(source)
    spoken.reason = read_said(source)
    spoken.deadline = read_number(source)
    for _ in range(read_long(source)):
        event_id, said = read_said(source), read_order(source)
        spoken.restated[event_id] = said or NO_ORDER
    return spoken


def _write_claim(out: BytesWriter, claim: Claim) -> None:
    _write_body(out, claim.body)
    origin = claim.origin
    usual = origin.topic == raw_topic(claim.body["platform"])
    write_text(out, None if usual else origin.topic)
    write_long(out, origin.partition)
    write_long(out, origin.offset)
    write_long(out, origin.received)
    write_long(out, claim.seq)
    write_long(out, len(claim.digest))
    out.write(claim.digest)
    write_text(out, claim.tenant)
    write_text(out, claim.repaired_by)
    write_long(out, claim.hops)
    out.append(1 if claim.clock_ahead else 0)
    raw = claim.raw
    out.append(0 if raw is None else 1)
    if raw is not None:
        write_optional(out, raw.key)
        write_optional(out, raw.value)
        write_long(out, len(raw.headers))
        for name, value in raw.headers:
            write_text(out, name)
            write_optional(out, value)


def _read_claim(source: Source) -> Claim:
    body = _read_body(source)
    if body is None:
        raise UnusualError
    named = read_text(source)
    topic = raw_topic(body["platform"]) if named is None else named
    partition, offset, received = read_long(source), read_long(source), read_long(source)
    seq = read_long(source)
    digest, tenant = read_bytes(source), read_said(source)
    repaired_by, hops = read_text(source), read_long(source)
    ahead, kept = read_long(source) != 0, read_long(source) != 0
    raw = None
    if kept:
        key, value = read_optional(source), read_optional(source)
        count = read_long(source)
        headers = [(read_said(source), read_optional(source)) for _ in range(count)]
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
            write_text(out, value)
        elif place < _FIRST_LIST:
            write_long(out, value)
        elif place == _PACKED_STOP:
            write_stop(out, value)
        elif place == _PACKED_QUANTITY:
            write_quantity(out, value)
        elif place == _PACKED_STOPS:
            write_stops(out, value)
        else:
            write_json(out, entity_codec.dump_field(name, value))
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
            record[name] = read_text(source)
        elif place < _FIRST_LIST:
            record[name] = int(read_long(source))
        elif place == _PACKED_STOP:
            record[name] = read_stop(source)
        elif place == _PACKED_QUANTITY:
            record[name] = read_quantity(source)
        elif place == _PACKED_STOPS:
            record[name] = read_stops(source)
        else:
            record[name] = entity_codec.load_field(name, read_json(source))
        place = data[source.at]
        source.at += 1
    return body
