"""Avro in Confluent wire format: magic byte 0, four-byte big-endian schema id, datum.

Records are plain dictionaries named after the Avro fields: timestamps are integer ms UTC, decimals
are scaled integers (an amount of 12.50 at scale 4 is 125000). Must never ask a registry: schemas
are handed in by id.

The decoder beneath takes some bytes that Avro forbids. What would be written on and break another
reader is refused here: an `int` beyond 32 bits, a decimal beyond its precision. What comes out as a
value that the schema has is taken as that value: a branch or symbol numbered from the end, a
boolean byte above 1. Telling them apart costs as much as encoding every record once more, and what
is published is encoded afresh.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from io import BytesIO
from typing import Any, Final, NamedTuple

import fastavro

from pipeline.contract import canonical
from pipeline.contract.names import data_root
from pipeline.governance.reasons import Reason

AMOUNT_SCALE: Final = 4
QUANTITY_SCALE: Final = 6
_HEADER_BYTES = 5
_EACH = "[]"
_MAGIC = 0

Record = dict[str, Any]


class UndecodableError(ValueError):
    """These bytes are no record of that schema; `reason` says in which way."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Schema(NamedTuple):
    """A parsed schema, ready to read and write plain dictionaries with."""

    name: str
    parsed: Any
    fingerprint: str
    decimals: tuple[tuple[str, ...], ...]
    """Paths of decimal fields, which are integers in the dictionary and bytes on the wire."""
    limits: tuple[tuple[tuple[str, ...], int, int], ...]
    """Path, least and greatest value of integers that the wire could exceed."""
    node: canonical.RecordNode | None
    """The fast half, where it knows every type of the schema."""


def parse(definition: Mapping[str, Any]) -> Schema:
    """Prepare a schema.

    Args:
        definition: the schema as JSON gives it.

    Raises:
        fastavro.schema.SchemaParseException: it is no Avro schema.

    """
    full = fastavro.parse_schema(dict(definition))
    fingerprint = fastavro.schema.fingerprint(
        fastavro.schema.to_parsing_canonical_form(full), "CRC-64-AVRO"
    )
    parsed = fastavro.parse_schema(_without_logical_types(definition))
    decimals = tuple(_decimal_paths(definition))
    limits = tuple(_limits(definition, (), {}))
    node = canonical.compile_schema(definition)
    return Schema(str(definition["name"]), parsed, fingerprint, decimals, limits, node)


@cache
def committed(name: str) -> Schema:
    """The schema in `schemas/<name>.avsc`."""
    return parse(definition(name))


@cache
def definition(name: str) -> Any:
    """The JSON of `schemas/<name>.avsc`; treat it as read-only."""
    return json.loads((data_root() / "schemas" / f"{name}.avsc").read_text(encoding="utf-8"))


def schema_id(value: bytes | None) -> int:
    """Schema id that a value names.

    Raises:
        UndecodableError: the value has no Confluent header.

    """
    if value is None:
        raise UndecodableError(Reason.UNDECODABLE, "no value")
    if len(value) < _HEADER_BYTES or value[0] != _MAGIC:
        detail = f"no Confluent header: first bytes {value[:_HEADER_BYTES].hex() or 'none'}"
        raise UndecodableError(Reason.UNDECODABLE, detail)
    return int.from_bytes(value[1:_HEADER_BYTES], "big")


def decode(value: bytes, written: Schema, wanted: Schema | None = None) -> Record:
    """Read one framed value.

    Args:
        value: header and datum.
        written: schema whose id the header names.
        wanted: schema of the dictionary, where it differs.

    Raises:
        UndecodableError: the datum is malformed, a number is out of its range, or bytes are left
            over.

    """
    same = wanted is None or wanted.fingerprint == written.fingerprint
    if same and written.node is not None:
        found = canonical.decode(written.node, value, _HEADER_BYTES)
        if found is not None:
            return found
    source = BytesIO(value)
    source.seek(_HEADER_BYTES)
    reader = None if same or wanted is None else wanted.parsed
    try:
        record = fastavro.schemaless_reader(source, written.parsed, reader)
    except Exception as error:  # noqa: BLE001  fastavro raises a dozen kinds on bad bytes
        detail = f"{written.name}: {type(error).__name__} {error}"[:300]
        raise UndecodableError(Reason.UNDECODABLE, detail) from None
    if source.tell() != len(value):
        detail = f"{written.name}: {len(value) - source.tell()} bytes after the end"
        raise UndecodableError(Reason.TRAILING_BYTES, detail)
    if not isinstance(record, dict):
        raise UndecodableError(Reason.UNDECODABLE, f"{written.name} is no record")
    shape = wanted or written
    for path in shape.decimals:
        _convert(record, path, _to_integer)
    for path, least, greatest in shape.limits:
        for number in _numbers(record, path):
            if not least <= number <= greatest:
                detail = f"{written.name}: {'.'.join(path)} is out of its range"
                raise UndecodableError(Reason.UNDECODABLE, detail)
    return record


def head(registered_id: int) -> bytes:
    """What goes before a datum: the magic byte and the id of its schema."""
    return b"\0" + registered_id.to_bytes(_HEADER_BYTES - 1, "big")


def encode_item(item: object, schema: Schema, field: str) -> bytes:
    """Write one item of a field that is an array, for `encode_with`.

    Raises:
        ValueError: it does not fit the schema, or only the reference knows the schema.

    """
    try:
        return canonical.encode_item(_node(schema), field, item)
    except canonical.UnusualError:
        raise ValueError(f"{schema.name}: {field} does not take {item!r:.200}") from None


def encode_with(
    record: Record, schema: Schema, registered_id: int, field: str, items: list[bytes], count: int
) -> bytes:
    """Write one framed value, an array of which is encoded already.

    Args:
        record: every other field.
        schema: to write it by.
        registered_id: of the schema.
        field: name of the array.
        items: what `encode_item` gave, any number of items in each.
        count: how many items there are.

    Raises:
        ValueError: the dictionary does not fit the schema, or only the reference knows the schema.

    """
    try:
        return canonical.encode_with(
            _node(schema), head(registered_id), record, field, items, count
        )
    except canonical.UnusualError:
        raise ValueError(f"{schema.name} does not take {record!r:.200}") from None


def _node(schema: Schema) -> canonical.RecordNode:
    if schema.node is None:
        raise ValueError(f"{schema.name} has a type that only the reference knows")
    return schema.node


def encode(record: Record, schema: Schema, registered_id: int) -> bytes:
    """Write one framed value; the dictionary is not changed.

    Raises:
        ValueError: the dictionary does not fit the schema.

    """
    framed = head(registered_id)
    if schema.node is not None:
        written = canonical.encode(schema.node, framed, record)
        if written is not None:
            return written
    if schema.decimals:
        record = dict(record)
        for path in schema.decimals:
            _convert(record, path, _to_bytes)
    target = BytesIO()
    target.write(framed)
    fastavro.schemaless_writer(target, schema.parsed, record, strict_allow_default=True)
    return target.getvalue()


def scaled(value: Decimal | str | int, scale: int) -> int:
    """A decimal as the integer that a record dictionary holds.

    Raises:
        ValueError: it has more decimal places than the scale.

    """
    number = Decimal(value).scaleb(scale)
    if number != number.to_integral_value():
        raise ValueError(f"{value} has more than {scale} decimal places")
    return int(number)


def unscaled(value: int, scale: int) -> Decimal:
    """The decimal behind a scaled integer."""
    return Decimal(value).scaleb(-scale)


def _without_logical_types(node: Any) -> Any:
    if isinstance(node, dict):
        drop = {"logicalType", "precision", "scale"} if "logicalType" in node else set()
        return {key: _without_logical_types(item) for key, item in node.items() if key not in drop}
    if isinstance(node, list):
        return [_without_logical_types(item) for item in node]
    return node


def _decimal_paths(
    node: Any, path: tuple[str, ...] = (), named: dict[str, Any] | None = None
) -> list[tuple[str, ...]]:
    """Paths through records and unions; decimals inside arrays and maps are not supported."""
    named = {} if named is None else named
    if isinstance(node, str) and node in named:
        node = named[node]
    if isinstance(node, list):
        return [found for branch in node for found in _decimal_paths(branch, path, named)]
    if not isinstance(node, dict):
        return []
    if node.get("logicalType") == "decimal":
        return [path]
    if node.get("type") == "record":
        named[node["name"]] = node
        return [
            found
            for field in node["fields"]
            for found in _decimal_paths(field["type"], (*path, field["name"]), named)
        ]
    return []


def _limits(
    node: Any, path: tuple[str, ...], named: dict[str, Any]
) -> Iterator[tuple[tuple[str, ...], int, int]]:
    """Ranges of ints and decimals, through records, unions, arrays and maps."""
    node = named.get(node, node) if isinstance(node, str) else node
    if isinstance(node, list):
        for branch in node:
            yield from _limits(branch, path, named)
    elif node == "int" or (isinstance(node, dict) and node.get("type") == "int"):
        yield path, -(2**31), 2**31 - 1
    elif isinstance(node, dict):
        kind = node.get("type")
        if node.get("logicalType") == "decimal":
            greatest = 10 ** node["precision"] - 1
            yield path, -greatest, greatest
        elif kind == "record":
            named[node["name"]] = node
            for field in node["fields"]:
                yield from _limits(field["type"], (*path, field["name"]), named)
        elif kind == "array":
            yield from _limits(node["items"], (*path, _EACH), named)
        elif kind == "map":
            yield from _limits(node["values"], (*path, _EACH), named)


def _numbers(value: Any, path: tuple[str, ...]) -> Iterator[int]:
    """Integers at the end of a path; none where something on the way is absent."""
    for at, name in enumerate(path):
        if name == _EACH:
            items = value.values() if isinstance(value, dict) else value
            for item in items or ():
                yield from _numbers(item, path[at + 1 :])
            return
        if not isinstance(value, dict):
            return
        value = value.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        yield value


def _convert(record: Record, path: tuple[str, ...], change: Any) -> None:
    """Change one decimal in place, copying nested records so that the caller's stay as they are."""
    inner: Any = record
    for name in path[:-1]:
        child = inner.get(name)
        if child is None:
            return
        child = dict(child)
        inner[name] = child
        inner = child
    if inner.get(path[-1]) is not None:
        inner[path[-1]] = change(inner[path[-1]])


def _to_integer(value: bytes) -> int:
    return int.from_bytes(value, "big", signed=True)


def _to_bytes(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)
