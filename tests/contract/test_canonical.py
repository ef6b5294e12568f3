"""The fast half of the codec: the same as the reference, or left to it."""

from __future__ import annotations

import itertools
from io import BytesIO

import fastavro
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.contract import canonical, codec
from pipeline.contract.codec import UndecodableError

HEAD = b"\0\0\0\0\7"
COMMITTED = (
    "raw-event",
    "link",
    "control",
    "approved-milestone",
    "entity-status",
    "decision-block",
    "alert",
)
LONGS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)


@st.composite
def typed(draw, depth=0):
    """A type as JSON gives it, and a strategy of its values."""
    simple = [
        ("boolean", st.booleans()),
        ("int", st.integers(-(2**31), 2**31 - 1)),
        ("long", LONGS),
        ("double", st.floats(allow_nan=False)),
        ("bytes", st.binary(max_size=12)),
        ("string", TEXTS),
    ]
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
    simple.append((decimal, st.integers(-(10**9) + 1, 10**9 - 1)))
    if depth < 2:
        kind = draw(st.sampled_from(["simple", "option", "array", "map", "enum", "record"]))
    else:
        kind = "simple"
    if kind == "simple":
        return draw(st.sampled_from(simple))
    if kind == "enum":
        symbols = [f"S{number}" for number in range(draw(st.integers(1, 4)))]
        return {"type": "enum", "name": "E", "symbols": symbols}, st.sampled_from(symbols)
    if kind == "record":
        return draw(records(depth + 1))
    inner, values = draw(typed(depth=depth + 1))
    if kind == "option":
        if isinstance(inner, list):  # a union in a union is none
            inner, values = "long", LONGS
        union = ["null", inner] if draw(st.booleans()) else [inner, "null"]
        return union, st.one_of(st.none(), values)
    if _has_decimal(inner):
        inner, values = "string", TEXTS  # decimals in arrays and maps are not supported
    if kind == "array":
        return {"type": "array", "items": inner}, st.lists(values, max_size=3)
    return {"type": "map", "values": inner}, st.dictionaries(TEXTS, values, max_size=3)


def _has_decimal(given):
    return "decimal" in str(given)


@st.composite
def records(draw, depth=0):
    fields, values = [], {}
    for number in range(draw(st.integers(1, 4))):
        kind, found = draw(typed(depth=depth))
        fields.append({"name": f"f{number}", "type": kind})
        values[f"f{number}"] = found
    return {"type": "record", "name": "R", "fields": fields}, st.fixed_dictionaries(values)


def named_apart(node, count):
    """The definition with a name of its own for each type that has one."""
    if isinstance(node, list):
        return [named_apart(item, count) for item in node]
    if not isinstance(node, dict):
        return node
    told = {key: named_apart(item, count) for key, item in node.items()}
    if node.get("type") in ("record", "enum"):
        told["name"] = f"T{next(count)}"
    return told


@st.composite
def schemas_and_values(draw):
    definition, values = draw(records())
    return named_apart(definition, itertools.count()), draw(values)


def unwritten(schema, record):
    """The reference alone."""
    return codec.encode(record, schema._replace(node=None), 7)


def unread(schema, value):
    """The reference alone: what it reads, or why it does not."""
    try:
        return codec.decode(value, schema._replace(node=None))
    except UndecodableError as error:
        return error.reason


@given(schemas_and_values())
def test_it_writes_what_the_reference_writes_and_reads_it_back(given):
    definition, record = given
    schema = codec.parse(definition)
    assert schema.node is not None
    written = canonical.encode(schema.node, HEAD, record)
    assert written == unwritten(schema, record)
    assert canonical.decode(schema.node, written, 5) == record == unread(schema, written)


@given(schemas_and_values(), st.data())
def test_bytes_that_were_damaged_are_read_as_the_reference_reads_them_or_left_to_it(given, data):
    definition, record = given
    schema = codec.parse(definition)
    value = bytearray(unwritten(schema, record))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(5, len(value)))
        what = data.draw(st.sampled_from(["change", "insert", "cut"]))
        byte = data.draw(st.integers(0, 255))
        if what == "insert":
            value.insert(at, byte)
        elif what == "cut":
            del value[at : at + 1]
        elif at < len(value):
            value[at] = byte
    found = canonical.decode(schema.node, bytes(value), 5)
    if found is not None:
        assert found == unread(schema, bytes(value))


@given(schemas_and_values(), st.data())
def test_a_value_that_does_not_fit_is_left_to_the_reference(given, data):
    definition, record = given
    schema = codec.parse(definition)
    field = data.draw(st.sampled_from(sorted(record)))
    other = data.draw(
        st.one_of(st.none(), st.booleans(), st.integers(), TEXTS, st.binary(), st.just([1]))
    )
    changed = record | {field: other}
    written = canonical.encode(schema.node, HEAD, changed)
    if written is not None:
        assert written == unwritten(schema, changed)


@pytest.mark.parametrize("name", COMMITTED)
def test_every_schema_of_ours_is_one_that_it_knows(name):
    assert codec.committed(name).node is not None


@given(LONGS)
@example(2**61)
@example(2**61 + 1)
@example(-(2**61) - 1)
@example(2**63 - 1)
@example(-(2**63))
def test_numbers_are_written_as_the_reference_writes_them(number):
    schema = codec.parse({"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}]})
    out = BytesIO()
    fastavro.schemaless_writer(out, schema.parsed, {"n": number})
    assert canonical.encode(schema.node, b"", {"n": number}) == out.getvalue()
    assert canonical.decode(schema.node, out.getvalue(), 0) == {"n": number}


@pytest.mark.parametrize(
    ("what", "datum"),
    [
        ("a varint longer than it has to be", b"\x80\x00"),
        ("an end in the middle of a number", b"\x80"),
        ("bytes left over", b"\x02\x02"),
        ("a number beyond 64 bits", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
    ],
)
def test_what_is_not_canonical_is_left_to_the_reference(what, datum):
    schema = codec.parse({"type": "record", "name": "R", "fields": [{"name": "n", "type": "long"}]})
    assert canonical.decode(schema.node, datum, 0) is None, what


@pytest.mark.parametrize(
    "field",
    [
        {"name": "n", "type": ["null", "string", "long"]},
        {"name": "n", "type": "float"},
        {"name": "n", "type": {"type": "fixed", "name": "F", "size": 4}},
        {"name": "n", "type": ["null", "R"]},
        {"name": "n", "type": {"type": "array", "items": "null"}},
    ],
)
def test_a_schema_with_more_than_it_knows_is_the_references(field):
    definition = {"type": "record", "name": "R", "fields": [field]}
    assert canonical.compile_schema(definition) is None
