"""What crosses between entities does not depend on which of them was read first."""

import pytest
from worlds import HOUR_MS, POLICY, START_MS, stop

from pipeline.contract import names
from pipeline.governance.claims import raw_event
from pipeline.testing.driver import TopologyDriver

ORDER, SHIPMENT = "acme/order/80001", "acme/shipment/S1"
PLAN = {
    "stops": [
        stop(number=1, role="PICKUP", location="DAL1"),
        stop(number=2, role="DELIVERY", location="ATL1"),
    ]
}


@pytest.fixture
def driver():
    return TopologyDriver([POLICY], start_ms=START_MS)


def say(driver, event_id, platform, status, about="shipment S1", **given):
    kind, name = about.split()
    driver.now_ms += 60_000
    event = {
        "event_id": event_id,
        "platform": platform,
        "entity_type": kind,
        "entity_id": name,
        "native_status": status,
        "classifier": "ACTUAL",
        "occurred": driver.now_ms,
        "occurred_precision": "SECOND",
    }
    topic = names.raw_topic("carriers" if "carrier" in platform else platform)
    driver.pipe(topic, raw_event(**event | given))


def story(driver, key):
    kind, name = key.split("/")[1:]
    told = driver.records(names.ENTITY_STATUS)
    return [r for r in told if (r["entity_type"], r["entity_id"]) == (kind, name)][-1]


def flags(driver, event_type):
    approved = driver.records(names.APPROVED)
    return [record["flags"] for record in approved if record["event_type"] == event_type][-1]


def test_an_order_tells_its_own_status_itself(driver):
    """A shipment knew it as of when the order last had something else to tell."""
    say(driver, "r", "erp-global", "REL", "order 80001", stop=stop(location="DAL1"))
    say(driver, "t", "tms-na", "TENDERED", orders=["80001"], **PLAN)
    assert story(driver, SHIPMENT)["linked"] == [{"key": ORDER, "status": ""}]
    assert story(driver, ORDER)["linked"] == [{"key": SHIPMENT, "status": "tendered"}]


def test_a_cancelled_order_that_the_shipment_does_not_carry_has_no_say(driver):
    say(driver, "t", "tms-na", "TENDERED", orders=["80001"], **PLAN)
    say(driver, "c", "erp-global", "CAN", "order 80001")
    say(driver, "r", "tms-na", "RETENDERED", document="V2", orders=["80002"])
    say(driver, "s", "tms-na", "SHIPPED")
    assert flags(driver, "departed") == []


def test_a_cancellation_taken_back_meanwhile_is_known_when_the_shipment_comes_back(driver):
    say(driver, "t", "tms-na", "TENDERED", orders=["80001"], **PLAN)
    say(driver, "c", "erp-global", "CAN", "order 80001")
    say(driver, "r1", "tms-na", "RETENDERED", document="V2", orders=["80002"])
    say(driver, "b", "erp-global", "-", "order 80001", retracts="c")
    say(driver, "r2", "tms-na", "RETENDERED", document="V3", orders=["80001"])
    say(driver, "s", "tms-na", "SHIPPED")
    assert flags(driver, "departed") == []


def test_two_retractions_of_a_claim_that_waits_do_not_wait_for_each_other(driver):
    """Before the claim itself comes, before its place is known."""
    for event_id in ("b1", "b2"):
        say(driver, event_id, "tms-na", "-", retracts="a")
    say(driver, "a", "tms-na", "ACCEPTED")
    (entity,) = (e for state in driver.states for e in state.entities() if e.key == SHIPMENT)
    assert {held.reason for held in entity.held} == {"region_unresolved"}
    say(driver, "t", "tms-na", "TENDERED", **PLAN)
    driver.advance(80 * HOUR_MS)
    assert driver.raw_records(names.DEAD_LETTER) == []
