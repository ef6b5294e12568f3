"""What comes in: records as bytes, and what is read from them before anybody judges it.

Takes off what sending on added, refuses what is too large, reads the value by the schema that its
topic allows. What can't be read is an arrival with a fault. Must never reach Kafka or a registry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol, cast

from pipeline.contract import codec, headers, names
from pipeline.contract.codec import Schema, UndecodableError
from pipeline.governance import ledger
from pipeline.governance.claims import Origin, Raw, RawEvent
from pipeline.governance.kernel import Arrival
from pipeline.governance.outputs import Record
from pipeline.governance.reasons import Reason

RAW, LINK, CONTROL = "raw-event", "link", "control"
_FORWARDED: Final = frozenset({names.REKEYED, names.REPLAY})
_SCHEMAS: Final = {names.LINKS: LINK, names.CONTROL: CONTROL}


class Taken(Protocol):
    """An input record, as the lane or a test driver hands it over; times in ms UTC."""

    @property
    def topic(self) -> str:
        """Input topic."""

    @property
    def offset(self) -> int:
        """Offset there."""

    @property
    def timestamp_ms(self) -> int:
        """Append time."""

    @property
    def key(self) -> bytes | None:
        """Key."""

    @property
    def value(self) -> bytes | None:
        """Value."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]] | None:
        """Headers."""


class Refused(NamedTuple):
    """Why a schema id can't be used on a topic."""

    reason: Reason
    detail: str


SchemaMap = Mapping[tuple[str, int], Schema | Refused]
"""What is known of schema ids, by topic and id."""


class Came:
    """A record as it first came, before its schema is known; with a fault it needs none."""

    __slots__ = ("fault", "hops", "origin", "raw", "record", "schema")

    def __init__(
        self,
        record: Taken,
        raw: Raw,
        origin: Origin,
        hops: int = 0,
        schema: tuple[str, int] = ("", 0),
        fault: Refused | None = None,
    ) -> None:
        self.record = record
        self.raw = raw
        self.origin = origin
        self.hops = hops
        self.schema = schema
        """Topic and id by which its schema is allowed."""
        self.fault = fault


class Decoded:
    """A record that was read: exactly one of arrival, link and control."""

    __slots__ = ("arrival", "control", "link", "record")

    def __init__(
        self,
        record: Taken,
        arrival: Arrival | None = None,
        link: Record | None = None,
        control: Record | None = None,
    ) -> None:
        self.record = record
        self.arrival = arrival
        self.link = link
        self.control = control


def as_it_came(bytes_max: int, partition: int, record: Taken) -> Came:
    """Take off what sending on added, and find out by which schema the value is to be read.

    Args:
        bytes_max: records above this size are not read.
        partition: where it was read.
        record: as it was read.

    """
    value = record.value
    raw = Raw(record.key, value, tuple(record.headers or ()))
    origin = Origin(record.topic, partition, record.offset, record.timestamp_ms)
    hops = 0
    if record.topic in _FORWARDED:
        try:
            found = headers.origin_of(raw.headers)
        except ValueError as error:
            fault = Refused(Reason.FIELD_INVALID, str(error))
            return Came(record, raw, origin, fault=fault)
        if found is not None:
            origin, hops = found
            raw = headers.restored(raw)
    size = headers.size_of(*raw)
    if size > bytes_max:
        detail = f"{size} bytes, at most {bytes_max} are read"
        fault = Refused(Reason.RECORD_TOO_LARGE, detail)
        return Came(record, raw, origin, hops, fault=fault)
    try:
        return Came(record, raw, origin, hops, (origin.topic, codec.schema_id(value)))
    except UndecodableError as error:
        return Came(record, raw, origin, hops, fault=Refused(error.reason, str(error)))


def try_decode(value: bytes, written: Schema, wanted: str) -> Record | UndecodableError:
    """Read a value by the schema it was written with, as the one that is wanted, or say why not."""
    try:
        return codec.decode(value, written, codec.committed(wanted))
    except UndecodableError as error:
        return error


def decode(schemas: SchemaMap, came: Came) -> Decoded:
    """Read one record: a claim, a link, a control record, or bytes that can't be read.

    Args:
        schemas: knows the schema that the record names.
        came: the record.

    """
    record, raw, origin, hops = came.record, came.raw, came.origin, came.hops
    forwarded = record.topic in _FORWARDED
    read = came.fault or schemas[came.schema]
    if not isinstance(read, Refused):
        result = try_decode(record.value or b"", read, _SCHEMAS.get(record.topic, RAW))
        if not isinstance(result, UndecodableError):
            if record.topic == names.LINKS:
                return Decoded(record, link=result)
            if record.topic == names.CONTROL:
                return Decoded(record, control=result)
            body = cast("RawEvent", result)
            by = _repaired_by(raw) if forwarded else None
            digest = ledger.digest(record.value)
            arrival = Arrival(
                origin, raw, digest, body=body, hops=hops, repaired_by=by,
                forwarded=forwarded, assigned=_assigned(record),
            )  # fmt: skip
            return Decoded(record, arrival=arrival)
        read = Refused(result.reason, str(result))
    digest = ledger.digest(record.value)
    arrival = Arrival(
        origin, raw, digest, fault=read.reason, detail=read.detail, hops=hops, forwarded=forwarded
    )
    return Decoded(record, arrival=arrival)


def _assigned(record: Taken) -> str:
    """Key to which we have sent a record on ourselves."""
    sent = record.topic == names.REKEYED and record.key is not None
    return record.key.decode("utf-8", "replace") if sent and record.key else ""


def _repaired_by(raw: Raw) -> str | None:
    for name, value in raw.headers:
        if name == names.HEADER_REPAIRED_BY and value:
            return value.decode("utf-8", "replace")
    return None
