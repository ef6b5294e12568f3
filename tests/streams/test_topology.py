"""The topology on the in-memory driver: what is sent on comes out as it came in."""

import json

import pytest

from pipeline.contract import codec, headers, names
from pipeline.contract.bundle import load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.claims import Origin, Raw, raw_event
from pipeline.governance.identity import partition_of
from pipeline.operations import dead_letters
from pipeline.testing.driver import TopologyDriver

POLICY = compile_policy(load_bundle())
TMS = "logistics.raw.tms-na.v1"
CANONICAL = b"acme/shipment/S1"
NOW_MS = 1_790_000_000_000
DAY_MS = 86_400_000
NOWHERE = dict.fromkeys(("number", "role", "location", "name", "city", "subdivision", "country"))
OWN_HEADERS = [("trace", b"\xff\0"), ("empty", b""), ("none", None), ("trace", b"2")]


@pytest.fixture
def driver():
    return TopologyDriver([POLICY], start_ms=NOW_MS)


@pytest.fixture
def cloudy():
    """A driver whose approved records are CloudEvents."""
    return TopologyDriver([POLICY], start_ms=NOW_MS, cloudevents=True)


def value(driver, status, **given):
    event = raw_event(
        **{
            "event_id": "e1",
            "platform": "tms-na",
            "entity_type": "shipment",
            "entity_id": "S1",
            "native_status": status,
            "classifier": "ACTUAL",
            "occurred": NOW_MS - 60_000,
            "occurred_precision": "SECOND",
        }
        | given
    )
    return codec.encode(dict(event), codec.committed("raw-event"), driver.raw_schema_id)


def astray(driver, key, sent, given=None):
    """Append a record of S1 on a partition that is not its own."""
    number = (partition_of(CANONICAL, driver.partitions) + 1) % driver.partitions
    return driver.pipe_bytes(TMS, key, sent, given, partition=number)


def letter(driver):
    """The only dead letter, without the headers that tell why."""
    (output,) = driver.raw_records(names.DEAD_LETTER)
    own = [item for item in output.headers if not item[0].startswith(headers.FAMILIES)]
    return output, own


KEYS = [None, b"", b"\xff\xfe", b"acme/shipment/s1", b"acme/order/80001", CANONICAL]


@pytest.mark.parametrize("key", KEYS)
def test_what_ends_in_the_dead_letter_after_a_hop_is_byte_for_byte_what_came(driver, key):
    sent = value(driver, "YARD")
    place = astray(driver, key, sent, OWN_HEADERS)
    (hop,) = driver.raw_records(names.REKEYED)
    assert (hop.key, hop.partition) == (CANONICAL, partition_of(CANONICAL, driver.partitions))
    output, own = letter(driver)
    assert (output.key, output.value, own) == (key, sent, OWN_HEADERS)
    told = dict(output.headers)
    assert told["milepost.dlq.reason"] == b"unmapped_status"
    assert json.loads(told["milepost.dlq.origin"]) == {**place._asdict(), "received": NOW_MS}


@pytest.mark.parametrize("key", KEYS)
def test_so_it_is_when_it_waited_in_vain_over_a_restart(driver, key):
    sent = value(driver, "DELIVERED")
    astray(driver, key, sent, OWN_HEADERS)
    driver.restart()
    driver.advance(40 * DAY_MS)
    output, own = letter(driver)
    assert (output.key, output.value, own) == (key, sent, OWN_HEADERS)


@pytest.mark.parametrize("key", KEYS)
def test_its_replay_ends_there_again_as_it_came(driver, key):
    sent = value(driver, "YARD")
    astray(driver, key, sent, OWN_HEADERS)
    first, _ = letter(driver)
    record = dead_letters.Letter(
        first.partition,
        0,
        NOW_MS,
        *("",) * 5,
        retryable=True,
        policy="",
        origin=Origin(**json.loads(dict(first.headers)["milepost.dlq.origin"])),
        key=first.key,
        value=first.value,
        headers=first.headers,
    )
    going = dead_letters.outgoing(record, "id", "kim", "why")
    assert going.key == key
    driver.pipe_bytes(going.topic, going.key, going.value, list(going.headers), going.partition)
    _, again = driver.raw_records(names.DEAD_LETTER)
    assert (again.key, again.value, again.partition) == (key, sent, first.partition)
    assert [item for item in again.headers if item in OWN_HEADERS] == OWN_HEADERS


def test_a_raw_record_cannot_choose_the_key_of_its_letter(driver):
    spoofed = [(names.HEADER_KEY, b"acme/shipment/S9"), (names.HEADER_HOPS, b"3")]
    astray(driver, b"mine", value(driver, "YARD"), spoofed)
    output, own = letter(driver)
    assert (output.key, own) == (b"mine", [])


def test_what_sending_on_adds_makes_no_record_too_large(driver):
    """Its own bytes count, so that a record which is read where it came in is read there too."""
    key = b"x" * 1_000
    size = 262_144 - headers.size_of(key, value(driver, "POD", attributes={"a": ""}), ())
    sent = value(driver, "POD", attributes={"a": "y" * (size - 10)}, stop=None)
    astray(driver, key, sent)
    assert driver.raw_records(names.REKEYED)
    assert not any(
        row["reason"] == "record_too_large"
        for block in driver.records(names.DECISIONS)
        for row in block["decisions"]
    )


@pytest.mark.parametrize("status", ["DELIVERED", "AT_CONSIGNEE", "REFUSED", "YARD", "ETA"])
@pytest.mark.parametrize("place", [None, NOWHERE | {"location": "C-ATL"}])
@pytest.mark.parametrize("received", [0, headers.RECEIVED_MS_MAX])
def test_an_origin_at_the_end_of_time_is_governed(driver, status, place, received):
    sent = value(driver, status, occurred=received, recorded=received, stop=place)
    origin = Origin(TMS, 0, (1 << 63) - 1, received)
    told = headers.forwarded(Raw(CANONICAL, sent, ()), CANONICAL, origin, 0)
    driver.pipe_bytes(names.REPLAY, CANONICAL, sent, told)
    driver.restart()
    driver.advance(400 * DAY_MS)
    rows = [row for block in driver.records(names.DECISIONS) for row in block["decisions"]]
    assert received in {row["received"] for row in rows}


@pytest.mark.parametrize("place", [b"[" * 900, b'{"topic":"t","partition":99999999999}', b"\xff"])
def test_a_replay_whose_origin_cannot_be_read_is_kept_as_it_is(driver, place):
    sent = value(driver, "DELIVERED")
    told = [(names.HEADER_ORIGIN, place), (names.HEADER_KEY, b"other")]
    driver.pipe_bytes(names.REPLAY, CANONICAL, sent, told)
    output, own = letter(driver)
    assert (output.key, output.value, own) == (CANONICAL, sent, told)
    assert dict(output.headers)["milepost.dlq.reason"] == b"field_invalid"


TRACE = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")


def approved_headers(driver):
    return [dict(record.headers) for record in driver.raw_records(names.APPROVED)]


@pytest.mark.parametrize("where", ["its own partition", "another one"])
def test_a_trace_goes_on_with_what_is_approved_at_once(driver, where):
    sent = value(driver, "DELIVERED", stop={**NOWHERE, "location": "C-ATL"})
    if where == "another one":
        astray(driver, CANONICAL, sent, [TRACE])
    else:
        driver.pipe_bytes(TMS, CANONICAL, sent, [TRACE])
    (told,) = approved_headers(driver)
    assert told["traceparent"] == TRACE[1]
    assert not any(name.startswith("ce_") for name in told)


def test_a_trace_stays_with_its_own_claim(driver):
    at_site = {"stop": {**NOWHERE, "location": "C-ATL"}}
    driver.pipe_bytes(TMS, CANONICAL, value(driver, "DELIVERED", **at_site), [TRACE])
    later = {"event_id": "e2", "occurred": NOW_MS - 30_000}
    driver.pipe_bytes(TMS, CANONICAL, value(driver, "DELIVERED", **at_site, **later), OWN_HEADERS)
    first, *more = approved_headers(driver)
    assert "traceparent" in first
    assert not any("traceparent" in told for told in more)


def test_approved_records_are_cloud_events_where_that_is_set(cloudy):
    sent = value(cloudy, "DELIVERED", stop={**NOWHERE, "location": "C-ATL"})
    cloudy.pipe_bytes(TMS, CANONICAL, sent, [TRACE])
    (told,) = approved_headers(cloudy)
    (output,) = cloudy.raw_records(names.APPROVED)
    body = codec.decode(output.value, codec.committed("approved-milestone"))
    assert told["ce_specversion"] == b"1.0"
    assert told["ce_id"].decode() == body["event_id"]
    assert told["ce_subject"] == output.key
    assert told["ce_type"].decode() == f"milepost.logistics.{body['event_type']}"
    assert told["milepost.action"] == b"ASSERT"
    assert told["traceparent"] == TRACE[1]
