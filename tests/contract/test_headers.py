"""Headers of dead letters and forwarded records: the origin's own kept, ours and three families."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract import headers, names
from pipeline.governance.claims import Origin, Raw
from pipeline.governance.reasons import MEANINGS, Reason

ORIGIN = Origin("logistics.raw.tms-na.v1", 3, 70_000_000_000, 1_790_000_000_000)


def letter(raw, reason=Reason.UNMAPPED_STATUS, detail="'X' in dialect d"):
    key, value, told = headers.dead_letter(raw, ORIGIN, reason, "dialect", detail, "v1", "group")
    return key, value, told


def test_key_value_and_headers_are_the_origins_in_their_order():
    own = (("b", b"1"), ("a", b"\xff\0"), ("b", b"2"))
    key, value, told = letter(Raw(b"k", b"v", own))
    assert (key, value) == (b"k", b"v")
    assert tuple(told[:3]) == own


@pytest.mark.parametrize("reason", [r for r in Reason if MEANINGS[r].failure])
def test_ours_say_why_whose_turn_it_is_and_whether_again_can_help(reason):
    told = dict(letter(Raw(b"k", b"v", ()), reason)[2])
    assert told["milepost.dlq.reason"].decode() == reason
    assert told["milepost.dlq.class"].decode() == MEANINGS[reason].failure
    assert told["milepost.dlq.retryable"] == (b"true" if MEANINGS[reason].retryable else b"false")
    assert json.loads(told["milepost.dlq.origin"]) == ORIGIN._asdict()
    assert (told["milepost.dlq.stage"], told["milepost.dlq.policy"]) == (b"dialect", b"v1")


def test_tools_that_people_have_find_topic_partition_and_offset_in_their_own_form():
    told = dict(letter(Raw(b"k", b"v", ()))[2])
    for family in ("__connect.errors.", "__streams.errors."):
        place = [told[family + name] for name in ("topic", "partition", "offset")]
        assert place == [ORIGIN.topic.encode(), b"3", b"70000000000"]
    assert told["kafka_dlt-original-topic"] == ORIGIN.topic.encode()
    assert told["kafka_dlt-original-partition"] == b"\0\0\0\3"
    assert told["kafka_dlt-original-offset"] == (70_000_000_000).to_bytes(8, "big")


def test_a_letter_of_a_letter_says_each_thing_once():
    first = letter(Raw(b"k", b"v", (("own", b"1"),)))[2]
    again = letter(Raw(b"k", b"v", tuple(first)), Reason.UNKNOWN_SCHEMA)[2]
    named = [name for name, _ in again]
    assert len(named) == len(set(named))
    assert dict(again)["milepost.dlq.reason"] == b"unknown_schema"
    assert dict(again)["own"] == b"1"


def test_a_detail_without_measure_is_cut():
    told = dict(letter(Raw(b"k", b"v", ()), detail="x" * 200_000)[2])
    assert len(told["milepost.dlq.detail"].decode()) == headers.DETAIL_CHARACTERS_MAX
    assert headers.size_of(None, None, told.items()) < 5_000


def test_one_cause_has_one_fingerprint_whatever_its_digits():
    def mark(detail, topic="t"):
        return headers.fingerprint(Reason.UNKNOWN_SCHEMA, "decode", topic, detail)

    assert mark("schema id 17 of t") == mark("schema id 94 of t")
    assert mark("schema id 17 of t") != mark("schema id 17 of t", topic="u")


# Too large to be kept whole


def size(key, value, told):
    return headers.size_of(key, value, told)


@pytest.mark.parametrize(
    ("raw", "omitted"),
    [
        (Raw(b"k", b"v" * 1_048_588, ()), None),
        (Raw(b"k", b"v" * 3_000_000, (("h", b"1"),)), "value"),
        (Raw(b"k", b"v", (("h", b"1" * 3_000_000),)), "value,headers"),
        (Raw(b"k" * 3_000_000, b"v", ()), "value,headers,key"),
        (Raw(None, None, (("h", b"1" * 3_000_000),)), "value,headers"),
    ],
)
def test_what_does_not_fit_is_left_out_named_and_told_by_its_digest(raw, omitted):
    key, value, told = letter(raw, Reason.RECORD_TOO_LARGE)
    assert size(key, value, told) <= headers.LETTER_BYTES_MAX
    found = dict(told)
    if omitted is None:
        assert (key, value) == (raw.key, raw.value)
        assert headers.OMITTED not in found
        return
    assert value is None
    assert found[headers.OMITTED].decode() == omitted
    digest = hashlib.blake2b(raw.value or b"", digest_size=16).digest()
    assert found[headers.DIGEST].decode() == digest.hex()
    assert found[headers.SIZE] == str(len(raw.value or b"")).encode()
    assert ("h" in found) == ("headers" not in omitted and bool(raw.headers))
    assert (key is None) == ("key" in omitted or raw.key is None)


def test_the_largest_record_that_a_raw_topic_takes_uncompressed_is_kept_whole():
    raw = Raw(b"k" * 1_000, b"v" * 1_040_000, (("h", b"1" * 5_000),))
    key, value, _ = letter(raw, Reason.RECORD_TOO_LARGE)
    assert (key, value) == (raw.key, raw.value)


# Sent on

SPOOFED = ((names.HEADER_ORIGIN, b"{}"), (names.HEADER_KEY, b"x"), (names.HEADER_HOPS, b"9"))


def test_a_forwarded_record_says_where_it_came_from_once():
    first = Raw(b"k", b"v", (*SPOOFED, ("own", b"1")))
    sent = headers.forwarded(first, b"k", ORIGIN, 2)
    assert headers.origin_of(sent) == (ORIGIN, 2)
    assert [name for name, _ in sent] == ["own", names.HEADER_ORIGIN, names.HEADER_HOPS]
    again = headers.forwarded(first._replace(headers=tuple(sent)), b"k", ORIGIN, 3)
    assert headers.origin_of(again) == (ORIGIN, 3)
    assert len(again) == len(sent)


@pytest.mark.parametrize("key", [b"own", b"", None, b"\xff\0", b"canonical"])
@pytest.mark.parametrize("own", [(), (("b", b"1"), ("a", None), ("b", b""))])
def test_what_was_sent_on_under_another_key_is_restored_as_it_came(key, own):
    first = Raw(key, b"v", own)
    sent = tuple(headers.forwarded(first, b"canonical", ORIGIN, 1))
    assert headers.restored(Raw(b"canonical", b"v", sent)) == first


def test_a_letter_keeps_headers_without_a_value_apart_from_empty_ones():
    own = (("a", None), ("b", b""))
    assert tuple(letter(Raw(b"k", b"v", own))[2][:2]) == own


def test_a_record_that_says_nothing_has_no_origin():
    assert headers.origin_of([("own", b"1")]) is None


def place(**other):
    return json.dumps(ORIGIN._asdict() | other).encode()


HOSTILE = [
    b"",
    b"nonsense",
    b"[]",
    b"{}",
    b"null",
    b"\xff\xfe",
    b"[" * 900,
    b"[" * 1_000_000,
    b'{"topic":' * 100,
    place()[:-1],
    place(extra="x" * 1_000),
    b"9" * 900,
    *(
        place(**{field: wrong})
        for field in ("partition", "offset", "received")
        for wrong in (None, -1, "1", 1.0, True, [1], 1 << 63, 10**400, float("nan"), float("inf"))
    ),
    place(partition=1 << 31),
    place(received=1 << 47),
    *(
        place(topic=wrong)
        for wrong in (None, 1, "", ".", "..", "a b", "t\n", "t\0", "ä", "\ud800", "x" * 250)
    ),
]


@pytest.mark.parametrize("content", HOSTILE)
def test_an_origin_that_cannot_be_read_is_told(content):
    with pytest.raises(ValueError, match="can't be read") as caught:
        headers.origin_of([(names.HEADER_ORIGIN, content)])
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    "hops", [b"-1", b"128", b"1000", b"1_0", b" 1", b"+1", b"\xd9\xa1", b"9" * 5_000]
)
def test_hops_are_a_small_number(hops):
    with pytest.raises(ValueError, match="can't be read"):
        headers.origin_of([(names.HEADER_ORIGIN, place()), (names.HEADER_HOPS, hops)])


def test_the_greatest_origin_is_read_and_makes_a_dead_letter():
    greatest = Origin("x" * 249, (1 << 31) - 1, (1 << 63) - 1, headers.RECEIVED_MS_MAX)
    sent = headers.forwarded(Raw(b"k", b"v", ()), b"k", greatest, headers.HOPS_MAX)
    assert headers.origin_of(sent) == (greatest, headers.HOPS_MAX)
    headers.dead_letter(Raw(b"k", b"v", ()), greatest, Reason.UNDECODABLE, "decode", "", "v", "g")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
PLACES = st.binary(max_size=200) | JSON.map(lambda content: json.dumps(content).encode())
PLACES |= st.fixed_dictionaries({}, optional=dict.fromkeys(Origin._fields, JSON)).map(
    lambda changes: place(**changes)
)


@given(PLACES, st.none() | st.binary(max_size=8))
def test_whatever_the_headers_hold_is_an_origin_or_told_properties(content, hops):
    sent = [(names.HEADER_ORIGIN, content), (names.HEADER_HOPS, hops)]
    try:
        origin, hopped = headers.origin_of(sent)
    except ValueError:
        return
    assert 0 <= hopped <= headers.HOPS_MAX
    headers.dead_letter(Raw(b"k", b"v", ()), origin, Reason.UNDECODABLE, "decode", "", "v", "g")


def test_hops_that_are_no_number_are_told():
    first = Raw(b"k", b"v", ())
    sent = [*headers.forwarded(first, b"k", ORIGIN, 0)[:1], (names.HEADER_HOPS, b"many")]
    with pytest.raises(ValueError, match="can't be read"):
        headers.origin_of(sent)


TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class TestTraces:
    def test_a_well_formed_one_is_taken_as_it_is(self):
        assert headers.trace_of([("a", None), ("traceparent", TRACE)]) == TRACE

    @pytest.mark.parametrize(
        "value",
        [
            None,
            b"",
            TRACE.upper(),
            TRACE + b"\n",
            TRACE + b"-00",
            b"ff" + TRACE[2:],
            b"00-" + b"0" * 32 + TRACE[35:],
            TRACE[:36] + b"0" * 16 + b"-01",
            TRACE[:-1],
            b"\xff\0",
        ],
    )
    def test_any_other_is_left_out(self, value):
        assert headers.trace_of([("traceparent", value)]) is None

    def test_of_two_nobody_knows_which_is_meant(self):
        assert headers.trace_of([("traceparent", TRACE), ("traceparent", TRACE)]) is None


def test_an_approved_record_can_be_a_cloud_event():
    record = {
        "event_id": "m:2",
        "tenant": "acme eu",
        "event_type": "departed",
        "occurred": 1_790_000_000_005,
        "received": 1_790_000_060_000,
    }
    assert headers.cloud_event(record, b"acme eu/shipment/S1") == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"m:2"),
        ("ce_source", b"/milepost/acme%20eu"),
        ("ce_type", b"milepost.logistics.departed"),
        ("ce_subject", b"acme eu/shipment/S1"),
        ("ce_time", b"2026-09-21T14:13:20.005Z"),
        ("ce_recordedtime", b"2026-09-21T14:14:20.000Z"),
        ("content-type", b"application/vnd.confluent.avro"),
    ]
