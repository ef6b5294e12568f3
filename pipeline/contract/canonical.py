"""Avro datums in their canonical form, read and written by a tree of nodes compiled from a schema.

The fast half of the codec, made for compilation (`pipeline/native.py`). It takes what writers
usually write: shortest varints, blocks that are counted and not sized, branches and symbols in
range, values of the field's own type. Everything else raises `UnusualError` and is left to the
reference, fastavro, so the fast half can only be wrong by taking too much; a differential test
holds that it doesn't (tests/contract/test_canonical.py).

Format: the Apache Avro 1.11 specification, "Binary Encoding".
"""

from __future__ import annotations

import sys
from typing import Any, Final, cast

from librt.strings import BytesWriter, read_f64_le, write_f64_le
from mypy_extensions import i64, u8

_MISSING: Final = object()
_INT_MIN: Final = -(2**31)
_INT_MAX: Final = 2**31 - 1
_SHIFTED_MAX: Final = 2**61
"""Numbers up to here, doubled, stay within 63 bits."""


class UnusualError(Exception):
    """Not the canonical form, or not this schema: the reference has to look."""


class Source:
    """Bytes and how far they have been read."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at: i64 = at
        self.end: i64 = len(data)


def read_long(source: Source) -> i64:
    """A zigzag varint of 64 bits, in as few bytes as possible."""
    data, at = source.data, source.at
    if at >= source.end:
        raise UnusualError
    byte: i64 = data[at]
    at += 1
    if byte < 128:
        source.at = at
        return (byte >> 1) ^ -(byte & 1)
    value: i64 = byte & 127
    shift: i64 = 7
    while True:
        if at >= source.end:
            raise UnusualError
        byte = data[at]
        at += 1
        if shift == 63:
            break
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    if byte == 0 or (shift == 63 and byte != 1):
        raise UnusualError
    source.at = at
    if shift == 63:
        great: int = int(value) + 2**63
        return (great >> 1) ^ -(great & 1)
    return (value >> 1) ^ -(value & 1)


def write_long(out: BytesWriter, number: i64) -> None:
    """A zigzag varint of 64 bits."""
    if number > _SHIFTED_MAX or number < -_SHIFTED_MAX:
        great: int = number
        coded: int = 2 * great if great >= 0 else -2 * great - 1
        while coded > 127:
            out.append(u8((coded & 127) | 128))
            coded >>= 7
        out.append(u8(coded))
        return
    value: i64 = (number << 1) ^ (number >> 63)
    while value > 127:
        out.append(u8((value & 127) | 128))
        value >>= 7
    out.append(u8(value))


class Node:
    """Reads and writes the values of one type."""

    __slots__ = ()

    def read(self, source: Source) -> object:
        """The value at this place.

        Raises:
            UnusualError: it is not in canonical form, or out of its range.

        """
        raise UnusualError

    def write(self, out: BytesWriter, value: object) -> None:
        """Append a value.

        Raises:
            UnusualError: it is not of this type.

        """
        raise UnusualError


class NullNode(Node):
    """`null`."""

    def read(self, source: Source) -> object:
        return None

    def write(self, out: BytesWriter, value: object) -> None:
        if value is not None:
            raise UnusualError


class BooleanNode(Node):
    """`boolean`."""

    def read(self, source: Source) -> object:
        if source.at >= source.end:
            raise UnusualError
        byte: i64 = source.data[source.at]
        if byte > 1:
            raise UnusualError
        source.at += 1
        return byte == 1

    def write(self, out: BytesWriter, value: object) -> None:
        if value is True:
            out.append(1)
        elif value is False:
            out.append(0)
        else:
            raise UnusualError


class IntNode(Node):
    """`int`: 32 bits."""

    def read(self, source: Source) -> object:
        number: i64 = read_long(source)
        if number < _INT_MIN or number > _INT_MAX:
            raise UnusualError
        return int(number)

    def write(self, out: BytesWriter, value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise UnusualError
        number: i64 = value
        if number < _INT_MIN or number > _INT_MAX:
            raise UnusualError
        write_long(out, number)


class LongNode(Node):
    """`long`."""

    def read(self, source: Source) -> object:
        return int(read_long(source))

    def write(self, out: BytesWriter, value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise UnusualError
        write_long(out, value)


class DoubleNode(Node):
    """`double`."""

    def read(self, source: Source) -> object:
        at = source.at
        if at + 8 > source.end:
            raise UnusualError
        source.at = at + 8
        return read_f64_le(source.data, at)

    def write(self, out: BytesWriter, value: object) -> None:
        if not isinstance(value, float):
            raise UnusualError
        write_f64_le(out, value)


def read_bytes(source: Source) -> bytes:
    """Bytes behind their length."""
    size: i64 = read_long(source)
    at = source.at
    until: i64 = at + size
    if size < 0 or until > source.end:
        raise UnusualError
    source.at = until
    return source.data[at:until]


class BytesNode(Node):
    """`bytes`."""

    def read(self, source: Source) -> object:
        return read_bytes(source)

    def write(self, out: BytesWriter, value: object) -> None:
        if not isinstance(value, bytes):
            raise UnusualError
        write_long(out, len(value))
        out.write(value)


class DecimalNode(Node):
    """`bytes` of logical type decimal, as the scaled integer."""

    def __init__(self, precision: int) -> None:
        self.greatest = 10**precision - 1

    def read(self, source: Source) -> object:
        number = int.from_bytes(read_bytes(source), "big", signed=True)
        if number < -self.greatest or number > self.greatest:
            raise UnusualError
        return number

    def write(self, out: BytesWriter, value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise UnusualError
        written = value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)
        write_long(out, len(written))
        out.write(written)


class StringNode(Node):
    """`string`."""

    def read(self, source: Source) -> object:
        return read_bytes(source).decode("utf-8")

    def write(self, out: BytesWriter, value: object) -> None:
        if not isinstance(value, str):
            raise UnusualError
        written = value.encode("utf-8")
        write_long(out, len(written))
        out.write(written)


class EnumNode(Node):
    """`enum`, as the symbol's name."""

    def __init__(self, symbols: list[str]) -> None:
        self.symbols = symbols
        self.places = {symbol: place for place, symbol in enumerate(symbols)}

    def read(self, source: Source) -> object:
        place: i64 = read_long(source)
        if place < 0 or place >= len(self.symbols):
            raise UnusualError
        return self.symbols[place]

    def write(self, out: BytesWriter, value: object) -> None:
        if not isinstance(value, str):
            raise UnusualError
        place = self.places.get(value)
        if place is None:
            raise UnusualError
        write_long(out, place)


class OptionNode(Node):
    """A union of null and one other type, in either order."""

    def __init__(self, other: Node, null_at: int) -> None:
        self.other = other
        self.null_byte: u8 = u8(2 * null_at)
        self.other_byte: u8 = u8(2 - 2 * null_at)

    def read(self, source: Source) -> object:
        if source.at >= source.end:
            raise UnusualError
        byte: i64 = source.data[source.at]
        source.at += 1
        if byte == i64(self.null_byte):
            return None
        if byte != i64(self.other_byte):
            raise UnusualError
        return self.other.read(source)

    def write(self, out: BytesWriter, value: object) -> None:
        if value is None:
            out.append(self.null_byte)
            return
        if isinstance(value, dict) and "-type" in value:
            raise UnusualError
        out.append(self.other_byte)
        self.other.write(out, value)


def read_block(source: Source) -> i64:
    """How many items the next block of an array or map has; 0 ends it."""
    count: i64 = read_long(source)
    if count < 0 or count > source.end - source.at:
        raise UnusualError
    return count


class ArrayNode(Node):
    """`array`."""

    def __init__(self, item: Node) -> None:
        self.item = item

    def read(self, source: Source) -> object:
        found: list[object] = []
        item, count = self.item, read_block(source)
        while count > 0:
            found.append(item.read(source))
            count = count - 1 or read_block(source)
        return found

    def write(self, out: BytesWriter, value: object) -> None:
        if not isinstance(value, list):
            raise UnusualError
        if value:
            write_long(out, len(value))
            item = self.item
            for one in value:
                item.write(out, one)
        out.append(0)


class MapNode(Node):
    """`map`."""

    def __init__(self, item: Node) -> None:
        self.item = item

    def read(self, source: Source) -> object:
        found: dict[str, object] = {}
        item, count = self.item, read_block(source)
        while count > 0:
            name = read_bytes(source).decode("utf-8")
            found[name] = item.read(source)
            count = count - 1 or read_block(source)
        return found

    def write(self, out: BytesWriter, value: object) -> None:
        if not isinstance(value, dict):
            raise UnusualError
        if value:
            write_long(out, len(value))
            item = self.item
            for name, one in value.items():
                if not isinstance(name, str):
                    raise UnusualError
                written = name.encode("utf-8")
                write_long(out, len(written))
                out.write(written)
                item.write(out, one)
        out.append(0)


class RecordNode(Node):
    """`record`, as a dictionary with every field."""

    def __init__(self, names: list[str], nodes: list[Node]) -> None:
        self.names = names
        self.nodes = nodes
        self.size = len(names)

    def read(self, source: Source) -> object:
        found: dict[str, object] = {}
        names, nodes = self.names, self.nodes
        for at in range(self.size):
            found[names[at]] = nodes[at].read(source)
        return found

    def write(self, out: BytesWriter, value: object) -> None:
        if not isinstance(value, dict):
            raise UnusualError
        record = cast("dict[str, object]", value)
        if len(record) != self.size:
            raise UnusualError
        names, nodes = self.names, self.nodes
        begin, at = len(out), 0
        for name, field in record.items():
            if name is not names[at]:
                break
            nodes[at].write(out, field)
            at += 1  # noqa: SIM113  enumerating a dictionary is slow where it is compiled
        else:
            return
        out.truncate(begin)
        self._write_by_name(out, record)

    def _write_by_name(self, out: BytesWriter, record: dict[str, object]) -> None:
        """A record whose fields are not in the schema's order."""
        for at in range(self.size):
            field = record.get(self.names[at], _MISSING)
            if field is _MISSING:
                raise UnusualError
            self.nodes[at].write(out, field)


def compile_schema(definition: Any) -> RecordNode | None:
    """The tree of nodes of a record's schema, as JSON gives it.

    None: it has something that only the reference knows (a type that contains itself, a union of
    more than null and one type, `fixed`, `float`, a default where a field may be missing).
    """
    try:
        node = _node(definition, {}, frozenset())
    except (KeyError, TypeError, ValueError, UnusualError):
        return None
    return node if isinstance(node, RecordNode) else None


def _node(given: Any, named: dict[str, Any], within: frozenset[str]) -> Node:
    if isinstance(given, list):
        return _option(given, named, within)
    if isinstance(given, str):
        if given in named:
            return _node(named[given], named, within)
        return _PRIMITIVES[given]()
    kind = given["type"]
    if kind == "bytes" and given.get("logicalType") == "decimal":
        return DecimalNode(given["precision"])
    if kind == "record":
        return _record(given, named, within)
    if kind == "enum":
        named[given["name"]] = given
        return EnumNode(list(given["symbols"]))
    if kind == "array":
        return ArrayNode(_sized(_node(given["items"], named, within)))
    if kind == "map":
        return MapNode(_node(given["values"], named, within))
    return _node(kind, named, within)


def _record(given: Any, named: dict[str, Any], within: frozenset[str]) -> RecordNode:
    name = given["name"]
    if name in within:
        raise UnusualError
    named[name] = given
    inner = within | {name}
    names = [sys.intern(field["name"]) for field in given["fields"]]
    return RecordNode(names, [_node(field["type"], named, inner) for field in given["fields"]])


def _option(given: list[Any], named: dict[str, Any], within: frozenset[str]) -> OptionNode:
    if len(given) != 2 or given.count("null") != 1:
        raise UnusualError
    null_at = given.index("null")
    if isinstance(given[1 - null_at], list):
        raise UnusualError
    return OptionNode(_node(given[1 - null_at], named, within), null_at)


def _sized(item: Node) -> Node:
    """An item that takes bytes: five bytes could stand for millions of the others."""
    if isinstance(item, NullNode) or (isinstance(item, RecordNode) and not item.size):
        raise UnusualError
    return item


_PRIMITIVES: Final[dict[str, type[Node]]] = {
    "null": NullNode,
    "boolean": BooleanNode,
    "int": IntNode,
    "long": LongNode,
    "double": DoubleNode,
    "bytes": BytesNode,
    "string": StringNode,
}


def decode(node: RecordNode, value: bytes, begin: int) -> dict[str, Any] | None:
    """A whole value from an offset on; None: ask the reference."""
    source = Source(value, begin)
    try:
        found = node.read(source)
    except (UnusualError, ValueError):
        return None
    return cast("dict[str, Any]", found) if source.at == source.end else None


def encode(node: RecordNode, head: bytes, record: dict[str, Any]) -> bytes | None:
    """A record behind its header; None: ask the reference."""
    out = BytesWriter()
    out.write(head)
    try:
        node.write(out, record)
    except (UnusualError, ValueError, OverflowError):
        return None
    return out.getvalue()


def encode_item(node: RecordNode, field: str, value: object) -> bytes:
    """One item of a record's field that is an array.

    Raises:
        UnusualError: it is not of that type.

    """
    array = node.nodes[node.names.index(field)]
    if not isinstance(array, ArrayNode):
        raise UnusualError
    out = BytesWriter()
    array.item.write(out, value)
    return out.getvalue()


def encode_with(
    node: RecordNode,
    head: bytes,
    record: dict[str, Any],
    field: str,
    items: list[bytes],
    count: int,
) -> bytes:
    """A record behind its header, one of whose fields is an array of items encoded before.

    Args:
        node: of the record.
        head: its header.
        record: every other field.
        field: name of the array.
        items: its items, any number of them in each.
        count: how many items there are.

    Raises:
        UnusualError: a field is not of its type.

    """
    out = BytesWriter()
    out.write(head)
    written: list[bytes] = []
    for at in range(node.size):
        name = node.names[at]
        if name != field:
            node.nodes[at].write(out, record[name])
            continue
        if count:
            write_long(out, count)
            written = [out.getvalue(), *items]
            out = BytesWriter()
        out.append(0)
    written.append(out.getvalue())
    return b"".join(written)
