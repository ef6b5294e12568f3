"""The JSON form of a raw event: a pydantic model made from the Avro schema, and back to a record.

Times are ISO 8601 with an offset, amounts are strings; everything else is as in the schema. Must
never know who sends it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Annotated, Any, Final, Literal, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    create_model,
)

from connectors.formats.reading import Record
from pipeline.contract import codec
from pipeline.governance.vocabulary import Precision

SCHEMA: Final = "raw-event"
TEXT_CHARACTERS_MAX: Final = 2_000
ITEMS_MAX: Final = 500
_INT_BITS: Final = {"int": 31, "long": 63}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(?P<seconds>:\d{2}(?P<fraction>[.,]\d+)?)?"
    r"(?P<offset>[Zz]|[+-]\d{2}(?::?\d{2})?)"
)


class Moment:
    """A time as it was written: the instant, how exact it is and its offset from UTC."""

    __slots__ = ("offset_minutes", "precision", "utc_ms")

    def __init__(self, text: str) -> None:
        """Read ISO 8601.

        Raises:
            ValueError: it is no date and time with an offset.

        """
        match = _TIME.fullmatch(text)
        if match is None:
            raise ValueError(
                "give a date and time with its offset, such as 2026-03-01T08:00:00-08:00"
            )
        try:
            moment = datetime.fromisoformat(text.replace(",", ".").upper())
            self.utc_ms = (moment - _EPOCH) // timedelta(milliseconds=1)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"no such date and time ({error})") from None
        self.offset_minutes = (moment.utcoffset() or timedelta()) // timedelta(minutes=1)
        self.precision = Precision.MINUTE
        if match["seconds"]:
            self.precision = Precision.MILLISECOND if match["fraction"] else Precision.SECOND


@cache
def event_model() -> type[BaseModel]:
    """The model of one event; made once, from `schemas/raw-event.avsc`."""
    return _record(codec.definition(SCHEMA), {})


def to_record(event: BaseModel) -> Record:
    """A validated event as the plain dictionary that is encoded.

    Precision and offset are taken from how `occurred` is written, unless they are given.
    """
    record = cast("Record", _plain(event))
    occurred = cast("Any", event).occurred
    if record["occurred_precision"] == Precision.UNRECOGNISED:
        record["occurred_precision"] = str(occurred.precision)
    if record["occurred_offset_minutes"] is None:
        record["occurred_offset_minutes"] = occurred.offset_minutes
    return record


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Moment):
        return value.utc_ms
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _record(schema: dict[str, Any], named: dict[str, Any]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for field in schema["fields"]:
        kind = _type(field["type"], named)
        default = field.get("default", ...)
        about = field.get("doc")
        if isinstance(default, list | dict):
            fields[field["name"]] = (kind, Field(default_factory=type(default), description=about))
        else:
            fields[field["name"]] = (kind, Field(default, description=about))
    model: type[BaseModel] = create_model(
        schema["name"],
        __config__=ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True),
        __doc__=schema.get("doc"),
        **fields,
    )
    named[schema["name"]] = model
    return model


def _type(schema: Any, named: dict[str, Any]) -> Any:
    if isinstance(schema, str):
        if schema in named:
            return named[schema]
        return _primitive(schema)
    if isinstance(schema, list):
        branches = [_type(branch, named) for branch in schema if branch != "null"]
        kind = branches[0]
        return kind | None if "null" in schema else kind
    logical = schema.get("logicalType")
    if logical == "timestamp-millis":
        return _MOMENT
    if logical == "decimal":
        return _decimal(schema["precision"], schema["scale"])
    match schema["type"]:
        case "record":
            return _record(schema, named)
        case "enum":
            kind = Literal[tuple(schema["symbols"])]
            named[schema["name"]] = kind
            return kind
        case "array":
            return Annotated[_LIST[_type(schema["items"], named)], Field(max_length=ITEMS_MAX)]
        case "map":
            inner = _type(schema["values"], named)
            return Annotated[_MAP[_TEXT, inner], Field(max_length=ITEMS_MAX)]
        case other:
            return _primitive(other)


def _primitive(name: str) -> Any:
    if name == "string":
        return _TEXT
    bits = _INT_BITS[name]
    return Annotated[StrictInt, Field(ge=-(2**bits), le=2**bits - 1)]


def _decimal(precision: int, scale: int) -> Any:
    """A decimal as text, read to the scaled integer that records hold."""

    def read(value: object) -> int:
        if not isinstance(value, str):
            raise ValueError('give it as a string, such as "12.50": JSON numbers lose digits')  # noqa: TRY004  pydantic wants it
        try:
            number = Decimal(value)
            if not number.is_finite():
                raise ValueError(f"{value[:40]!r} is no number")
            scaled = codec.scaled(number, scale)
        except InvalidOperation:
            raise ValueError(f"{value[:40]!r} is no number") from None
        if abs(scaled) >= 10**precision:
            raise ValueError(f"at most {precision - scale} digits before the point")
        return scaled

    return Annotated[
        int,
        BeforeValidator(read),
        WithJsonSchema({"type": "string", "pattern": rf"^-?\d+(\.\d{{1,{scale}}})?$"}),
    ]


def _moment(value: object) -> Moment:
    if not isinstance(value, str):
        raise ValueError("give it as a string, such as 2026-03-01T08:00:00-08:00")  # noqa: TRY004  pydantic wants it
    return Moment(value)


_LIST: Any = list
_MAP: Any = dict
_TEXT: Any = Annotated[StrictStr, Field(max_length=TEXT_CHARACTERS_MAX)]
_MOMENT: Any = Annotated[
    Moment,
    BeforeValidator(_moment),
    PlainSerializer(lambda moment: moment.utc_ms),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
