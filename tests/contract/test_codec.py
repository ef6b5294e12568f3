"""The codec: plain dictionaries to bytes and back, and bytes that are refused."""

import contextlib
import copy
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract import codec
from pipeline.contract.codec import UndecodableError
from pipeline.governance.reasons import Reason

RAW = codec.committed("raw-event")
STOP = dict.fromkeys(("number", "role", "location", "name", "city", "subdivision", "country"))
# An int and a long are the same on the wire
WIDE = codec.parse(json.loads(json.dumps(codec.definition("raw-event")).replace('"int"', '"long"')))
SMALL = codec.parse(
    {
        "type": "record",
        "name": "Small",
        "fields": [
            {"name": "union", "type": ["null", "string"]},
            {"name": "word", "type": {"type": "enum", "name": "W", "symbols": ["A", "B"]}},
            {"name": "flag", "type": "boolean"},
            {"name": "number", "type": "int"},
        ],
    }
)
FRAME = b"\0\0\0\0\7"


def event(**given_fields):
    fields = codec.definition("raw-event")["fields"]
    body = {field["name"]: copy.deepcopy(field.get("default")) for field in fields}
    body |= {
        "event_id": "e1",
        "platform": "p",
        "native_status": "S",
        "classifier": "ACTUAL",
        "occurred": 1_790_000_000_000,
        "occurred_precision": "SECOND",
    }
    return body | given_fields


def quantity(value):
    record = next(f for f in codec.definition("raw-event")["fields"] if f["name"] == "quantity")
    fields = record["type"][1]["fields"]
    found = {field["name"]: field.get("default", "") for field in fields}
    return found | {"value": value, "unit": "EA"}


@given(st.integers(-(10**18) + 1, 10**18 - 1), st.integers(-(10**18) + 1, 10**18 - 1))
def test_every_decimal_comes_back_as_the_integer_that_it_was(amount, value):
    given_event = event(amount=amount, currency="EUR", quantity=quantity(value))
    before = copy.deepcopy(given_event)
    written = codec.encode(given_event, RAW, 7)
    assert codec.schema_id(written) == 7
    assert codec.decode(written, RAW) == before
    assert given_event == before


@pytest.mark.parametrize("text", ["0", "-0.0001", "12.50", "-99999999999999.9999", "1E+2"])
def test_a_decimal_is_scaled_and_back_without_loss(text):
    scaled = codec.scaled(Decimal(text), codec.AMOUNT_SCALE)
    assert codec.unscaled(scaled, codec.AMOUNT_SCALE) == Decimal(text)


def test_a_decimal_with_too_many_places_is_refused():
    with pytest.raises(ValueError, match="more than 4 decimal places"):
        codec.scaled("0.00001", codec.AMOUNT_SCALE)


@pytest.mark.parametrize("field", ["amount", "quantity"])
def test_a_decimal_beyond_its_precision_is_refused(field):
    for number in (10**18, -(10**18), 1 << 600):
        value = number if field == "amount" else quantity(number)
        with pytest.raises(UndecodableError, match=field) as refused:
            codec.decode(codec.encode(event(**{field: value}), RAW, 7), RAW)
        assert refused.value.reason is Reason.UNDECODABLE


@pytest.mark.parametrize(
    ("place", "given_fields"),
    [
        ("occurred_offset_minutes", {"occurred_offset_minutes": 1 << 40}),
        ("stop.number", {"stop": STOP | {"number": -(1 << 33)}}),
        ("stops.[].number", {"stops": [STOP, STOP | {"number": 1 << 31}]}),
    ],
)
def test_an_int_beyond_32_bits_is_refused_wherever_it_is(place, given_fields):
    """It would stop whoever writes it on, and readers whose ints have 32 bits."""
    with pytest.raises(UndecodableError) as refused:
        codec.decode(codec.encode(event(**given_fields), WIDE, 7), RAW)
    assert place in str(refused.value)
    assert refused.value.reason is Reason.UNDECODABLE


def test_the_limits_of_an_int_are_taken():
    for number in (-(2**31), 2**31 - 1):
        body = event(occurred_offset_minutes=number, stops=[STOP | {"number": number}])
        assert codec.decode(codec.encode(body, RAW, 7), RAW) == body


@pytest.mark.parametrize(
    ("datum", "read"),
    [
        (b"\1\2x\0\1\2", {"union": "x", "word": "A", "flag": True, "number": 1}),
        (b"\0\1\1\2", {"union": None, "word": "B", "flag": True, "number": 1}),
        (b"\0\0\5\2", {"union": None, "word": "A", "flag": True, "number": 1}),
    ],
    ids=["branch -1", "symbol -1", "boolean 5"],
)
def test_what_reads_as_a_value_of_the_schema_is_that_value_and_is_written_properly(datum, read):
    """Decided: telling them apart costs a second encoding; what goes out is encoded afresh."""
    assert codec.decode(FRAME + datum, SMALL) == read
    assert codec.encode(read, SMALL, 7) != FRAME + datum
    assert codec.decode(codec.encode(read, SMALL, 7), SMALL) == read


@pytest.mark.parametrize(
    "datum", [b"\4", b"\0\4\1\2", b"\0", b"", b"\2\3", b"\2\2\xff\0\1\2", b"\0\0\1" + b"\xff" * 11]
)
def test_malformed_bytes_are_refused(datum):
    with pytest.raises(UndecodableError) as refused:
        codec.decode(FRAME + datum, SMALL)
    assert refused.value.reason is Reason.UNDECODABLE


def test_bytes_behind_the_end_have_a_reason_of_their_own():
    with pytest.raises(UndecodableError, match="3 bytes after the end") as refused:
        codec.decode(FRAME + b"\0\0\1\2" + b"EOF", SMALL)
    assert refused.value.reason is Reason.TRAILING_BYTES


@pytest.mark.parametrize("value", [None, b"", b"\0\0\0\0", b"\1\0\0\0\1x", b"<html>"])
def test_a_value_without_a_frame_is_refused(value):
    with pytest.raises(UndecodableError):
        codec.schema_id(value)


def test_a_newer_record_is_read_by_an_older_reader():
    newer = copy.deepcopy(codec.definition("raw-event"))
    newer["fields"].append({"name": "x", "type": ["null", "int"], "doc": "", "default": None})
    written = codec.parse(newer)
    value = codec.encode(event() | {"x": 5}, written, 8)
    assert codec.decode(value, written, RAW) == event()


def test_a_dictionary_that_does_not_fit_is_refused():
    with pytest.raises(ValueError):
        codec.encode(event(surprise=1), RAW, 7)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_undecodable(datum):
    with contextlib.suppress(UndecodableError):
        codec.decode(FRAME + datum, RAW)
