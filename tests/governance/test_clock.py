"""Silence is not absence of reading: an input that can't be read delays what needs it, no more."""

import orjson
import pytest
from driver_evidence import violations
from worlds import HOUR_MS, POLICY, START_MS

from pipeline.contract import names
from pipeline.governance.clock import Clock
from pipeline.streams.state import PARTITION_KEY
from pipeline.testing.driver import TopologyDriver

NA, EU = names.raw_topic("tms-na"), names.raw_topic("tms-eu")
SITES = {"tms-na": ("DAL1", "ATL1"), "tms-eu": ("RTM1", "MUC1")}


def stop(code, role):
    return dict.fromkeys(("number", "name", "city", "subdivision", "country"), None) | {
        "location": code,
        "role": role,
    }


def speak(driver, platform, status, shipment, *, code=None, **more):
    topic = names.raw_topic("carriers") if "carrier" in platform else names.raw_topic(platform)
    event = {
        "event_id": f"{platform}-{status}-{shipment}",
        "platform": platform,
        "entity_type": "shipment",
        "entity_id": shipment,
        "native_status": status,
        "classifier": "ACTUAL",
        "occurred": driver.now_ms,
        "occurred_precision": "SECOND",
        "stop": None if code is None else stop(code, "ORIGIN"),
    }
    return driver.pipe(topic, event | more)


def tendered(driver):
    for platform, shipment in (("tms-na", "N1"), ("tms-eu", "E1")):
        origin, destination = SITES[platform]
        stops = [stop(origin, "PICKUP"), stop(destination, "DELIVERY")]
        speak(driver, platform, "TENDERED", shipment, stops=stops)
    speak(driver, "carrier-redline", "AF", "N1", code="DAL1")
    speak(driver, "carrier-alpen", "13", "E1", code="RTM1")


def said(driver):
    return [
        (record["entity_id"], record["assurance"], record["reason"])
        for record in driver.records(names.APPROVED)
        if record["event_type"] == "departed"
    ]


def test_a_deadline_waits_for_the_owners_input_only():
    driver = TopologyDriver([POLICY], start_ms=START_MS)
    tendered(driver)
    driver.stalled = {NA}
    driver.advance(5 * HOUR_MS)
    assert said(driver) == [("E1", "PROVISIONAL", "owner_silent")]
    speak(driver, "tms-na", "SHIPPED", "N1")
    driver.advance(HOUR_MS)
    assert len(said(driver)) == 1
    driver.stalled = set()
    driver.advance(1)
    assert said(driver)[1:] == [("N1", "AUTHORITATIVE", "owner_spoke")]


def test_what_expires_waits_for_every_input():
    driver = TopologyDriver([POLICY], start_ms=START_MS)
    speak(driver, "carrier-redline", "AF", "N1")
    driver.stalled = {EU}
    driver.advance(48 * HOUR_MS)
    assert driver.raw_records(names.DEAD_LETTER) == []
    driver.stalled = set()
    driver.advance(1)
    assert len(driver.raw_records(names.DEAD_LETTER)) == 1


def test_a_fresh_worker_knows_how_far_each_input_was_read():
    driver = TopologyDriver([POLICY], start_ms=START_MS)
    tendered(driver)
    driver.stalled = {NA}
    driver.advance(5 * HOUR_MS)
    before = [state.time for state in driver.states]
    driver.restart()
    assert [state.time for state in driver.states] == before
    assert any(time.ahead for time in before)
    block = next(b for b in reversed(driver.records(names.DECISIONS)) if b["ahead"])
    assert NA not in {item["topic"] for item in block["ahead"]}
    assert block["clock_after"] < block["ahead"][0]["read_to"]


@pytest.fixture
def ticked():
    """A run whose last ticks moved only what is ahead."""
    driver = TopologyDriver([POLICY], start_ms=START_MS)
    tendered(driver)
    driver.stalled = {NA}
    driver.advance(HOUR_MS)
    driver.stalled = {NA, names.CONTROL}  # that the tick was taken makes no block either
    driver.advance(HOUR_MS)
    driver.stalled = {NA}
    for state in driver.states:
        driver._take(state.partition, [])
        assert state.time.newest == driver.now_ms
    return driver


def test_a_tick_that_moves_only_what_is_ahead_is_no_violation(ticked):
    assert violations(ticked) == []


@pytest.mark.parametrize("change", [-1, 1])
def test_what_is_ahead_goes_back_never_and_no_further_than_the_newest_tick(ticked, change):
    own = next(out for out in reversed(ticked.outputs) if out.key == PARTITION_KEY)
    body = orjson.loads(own.value)
    now = ticked.now_ms + 1 if change > 0 else START_MS
    body["ahead"] = dict.fromkeys(body["ahead"], now)
    at = ticked.outputs.index(own)
    ticked.outputs[at] = own._replace(value=orjson.dumps(body))
    (found,) = violations(ticked)
    assert "the state's ahead is" in found


def test_the_clock_is_the_least_of_what_was_read():
    inputs = frozenset({"a", "b", "c"})
    clock = Clock(10).moved({"a": 20, "b": 30}, inputs)
    assert (clock.all, clock.newest) == (10, 30)
    assert (clock.of(frozenset({"a"})), clock.of(frozenset({"a", "c"}))) == (20, 10)
    assert clock.at(15) == Clock(10, {"a": 15, "b": 15})
    assert clock.moved({"c": 25}, inputs) == Clock(20, {"b": 30, "c": 25})
    assert clock.moved({"c": 5}, frozenset({"a", "b"})) == Clock(20, {"b": 30})
