"""Dead letters repaired by a person: a time shifted, a field set, and sent through again.

What comes of it is a raw event like its platform's own, with the event id, the place and the time
of receipt of the one that was refused; a header names the person. Must never judge whether the
repaired record can be governed, nor change what only its platform can say.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple, cast

from pipeline.contract import codec, headers, names
from pipeline.contract.codec import UndecodableError
from pipeline.governance import bounds
from pipeline.governance.claims import Raw, RawEvent
from pipeline.governance.placement import RefusedError
from pipeline.governance.reasons import Reason
from pipeline.governance.vocabulary import EntityType
from pipeline.kafka.clients import Outgoing
from pipeline.operations.dead_letters import Letter

Record = dict[str, Any]
Decode = Callable[[bytes | None, str], Record]

FIELDS: Final = (
    "account",
    "entity_type",
    "entity_id",
    "native_status",
    "native_reason",
    "native_qualifier",
    "classifier",
    "occurred",
    "occurred_precision",
    "recorded",
    "leg",
    "attempt",
    "document",
    "amount",
    "currency",
    "retracts",
    *(f"stop.{name}" for name in ("number", "role", "location", "city", "subdivision", "country")),
    *(f"reference.{name}" for name in ("kind", "scope", "value")),
    *(f"quantity.{name}" for name in ("value", "unit", "basis", "completeness")),
)
"""What a person may set. Who spoke and under which id is not among it."""
TIMES: Final = ("occurred", "recorded")
_SPANS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SHIFT: Final = re.compile(r"([+-])(\d{1,12})(ms|s|m|h|d)")
_FAR_MS: Final = 1 << 47


class UnusableEditError(ValueError):
    """An edit that can't be made; the message says what to do instead."""


class Edit(NamedTuple):
    """What a person changes."""

    shift_ms: int
    values: Mapping[str, str]
    """Text by name of a field; an empty one takes the value away."""


class Repair(NamedTuple):
    """A dead letter and what is made of it; without `event` it can't be, and `why` says so."""

    letter: Letter
    event: Record | None
    changes: list[tuple[str, str, str]]
    """Field, before, after, as texts."""
    why: str = ""

    def document(self) -> Record:
        """As one JSON value."""
        return {
            "id": self.letter.name,
            "event_id": None if self.event is None else self.event["event_id"],
            "changes": [
                {"field": field, "before": before, "after": after}
                for field, before, after in self.changes
            ],
            "left_out": self.why,
        }


def shift(text: str) -> int:
    """A span that times are shifted by, such as -2h or +30m, ms.

    Raises:
        UnusableEditError: it is none.

    """
    found = _SHIFT.fullmatch(text.strip())
    if found is None:
        raise UnusableEditError(f"{text!r} is no shift: give a sign and a unit, e.g. -2h or +30m")
    sign, number, unit = found.groups()
    return int(f"{sign}{number}") * _SPANS[unit]


def fitting_shift(letter: Letter) -> int | None:
    """The shift by which what occurred after it was received would fit, ms; None: it isn't that."""
    event = letter.event
    if letter.reason != Reason.OCCURRED_IN_FUTURE or event is None:
        return None
    return int(letter.origin.received - event["occurred"])


def edit(shift_ms: int, settings: Iterable[str]) -> Edit:
    """An edit as a person wrote it.

    Args:
        shift_ms: by how much times are shifted.
        settings: each `field=value`.

    Raises:
        UnusableEditError: a field is not to be set, or its value can't be.

    """
    values: dict[str, str] = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or name not in FIELDS:
            known = ", ".join(FIELDS)
            raise UnusableEditError(f"{text!r}: give field=value; fields are {known}")
        _read(name, value)
        values[name] = value
    if not values and not shift_ms:
        raise UnusableEditError("nothing is changed: give --shift or --set")
    if shift_ms and not values.keys().isdisjoint(TIMES):
        raise UnusableEditError("a time is either shifted or set, not both")
    return Edit(shift_ms, values)


def repaired(letter: Letter, wanted: Edit, decode: Decode) -> Repair:
    """What becomes of one letter's event by an edit.

    Args:
        letter: the dead letter, unchanged.
        wanted: the edit.
        decode: reads a value as a committed schema, whichever it was written with.

    """
    if letter.omitted:
        return Repair(letter, None, [], "it was too large to have been kept with its bytes")
    try:
        before = decode(letter.value, "raw-event")
    except UndecodableError as error:
        return Repair(letter, None, [], f"its bytes can't be read: {error}")
    event = copy.deepcopy(before)
    for name in TIMES if wanted.shift_ms else ():
        if event[name] is not None:
            event[name] += wanted.shift_ms
            if abs(event[name]) > _FAR_MS:
                return Repair(letter, None, [], f"{name} would lie outside any calendar")
    for name, text in wanted.values.items():
        _set(event, name, _read(name, text))
    flaw = _flaw(event)
    if flaw:
        return Repair(letter, None, [], f"it would be no raw event: {flaw}")
    refused = _refused(event)
    if refused:
        return Repair(letter, None, [], f"it would be refused again: {refused}")
    changed = [
        (name, _told(name, _get(before, name)), _told(name, _get(event, name)))
        for name in FIELDS
        if _get(before, name) != _get(event, name)
    ]
    return Repair(letter, event, changed, "" if changed else "the edit changes nothing in it")


def _flaw(event: Record) -> str:
    """Why an edited event can't be written or read any more; empty: it can."""
    schema = codec.committed("raw-event")
    try:
        codec.decode(codec.encode(event, schema, 0), schema)
    except Exception as error:  # noqa: BLE001  fastavro raises a dozen kinds on what doesn't fit
        return f"{type(error).__name__} {error}"[:200]
    return ""


def _refused(event: Record) -> str:
    """What every edited event needs and this one lacks, by field; empty: nothing."""
    written, reference = (event["entity_id"] or "").strip(), event["reference"]
    if not written and (reference is None or not reference["value"].strip()):
        return "entity_id is empty and there is no reference: it would be about nothing"
    if written and event["entity_type"] not in set(EntityType):
        kinds = ", ".join(EntityType)
        return f"entity_type is {event['entity_type'] or 'empty'}: give one of {kinds}"
    try:
        bounds.check(cast("RawEvent", event), "")
    except RefusedError as error:
        return error.detail
    return ""


def outgoing(
    repair: Repair, key: bytes | None, schema_id: int, identity: str, by: str, why: str
) -> Outgoing:
    """What a repair sends: the edited event, its origin, and who repaired it and why.

    Args:
        repair: one with an event.
        key: of the entity it is about now.
        schema_id: registry id of the raw schema of its own topic.
        identity: of this run.
        by: who repairs.
        why: for the record.

    """
    letter = repair.letter
    dropped = (*headers.FAMILIES, names.REPLAY_PREFIX, names.HEADER_REPAIRED_BY)
    kept = tuple(item for item in letter.headers if not item[0].startswith(dropped))
    value = codec.encode(repair.event or {}, codec.committed("raw-event"), schema_id)
    stamped = headers.forwarded(Raw(letter.key, value, kept), key, letter.origin, 0)
    stamped += [
        (names.HEADER_REPAIRED_BY, by.encode()),
        (names.HEADER_REPLAY_ID, identity.encode()),
        (names.HEADER_REPLAY_BY, by.encode()),
        (names.HEADER_REPLAY_WHY, why.encode()),
        (names.HEADER_REPLAY_COUNT, str(letter.replays + 1).encode()),
    ]
    partition = letter.partition if key == letter.key else None
    return Outgoing(names.REPLAY, value, key, tuple(stamped), partition)


def _schema_of(name: str) -> Any:
    """The type of a field, which may be one of a record inside the event."""
    fields = codec.definition("raw-event")["fields"]
    for part in name.split("."):
        (field,) = (item for item in fields if item["name"] == part)
        kind = field["type"]
        inner = kind if isinstance(kind, list) else [kind]
        fields = next((item["fields"] for item in inner if "fields" in _mapping(item)), ())
    return kind


def _mapping(kind: Any) -> Mapping[str, Any]:
    return kind if isinstance(kind, dict) else {}


def _read(name: str, text: str) -> Any:
    """The value of a field that a person wrote.

    Raises:
        UnusableEditError: it can't be one.

    """
    kind = _schema_of(name)
    if isinstance(kind, list):
        if not text:
            return None
        (kind,) = (item for item in kind if item != "null")
    if not text:
        raise UnusableEditError(f"{name} can't be empty")
    logical = _mapping(kind).get("logicalType")
    try:
        if logical == "timestamp-millis":
            moment = datetime.fromisoformat(text)
            return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
        if logical == "decimal":
            return codec.scaled(Decimal(text), kind["scale"])
        if kind in ("int", "long"):
            return int(text)
    except (ValueError, InvalidOperation, OverflowError):
        what = "ISO 8601 time" if logical == "timestamp-millis" else "number"
        raise UnusableEditError(f"{name}: {text!r} is no {what}") from None
    symbols = _mapping(kind).get("symbols")
    if symbols is not None and text not in symbols:
        raise UnusableEditError(f"{name}: {text!r} is none of {', '.join(symbols)}")
    return text


def _get(event: Record, name: str) -> Any:
    outer, _, inner = name.partition(".")
    value = event[outer]
    return value if not inner else None if value is None else value[inner]


def _set(event: Record, name: str, value: Any) -> None:
    outer, _, inner = name.partition(".")
    if not inner:
        event[name] = value
        return
    if event[outer] is None:
        (kind,) = (
            item
            for field in codec.definition("raw-event")["fields"]
            if field["name"] == outer
            for item in field["type"]
            if item != "null"
        )
        event[outer] = {field["name"]: field.get("default", "") for field in kind["fields"]}
    event[outer][inner] = value


def _told(name: str, value: Any) -> str:
    if value is None:
        return "nothing"
    if name in TIMES:
        return datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if name in {"amount", "quantity.value"}:
        scale = codec.AMOUNT_SCALE if name == "amount" else codec.QUANTITY_SCALE
        return str(codec.unscaled(value, scale).normalize())
    return str(value)
