"""What crosses between entities does not depend on which of them was read first."""

import pytest
from networks import policy
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


def test_a_shipment_put_together_from_two_has_the_orders_of_both(driver):
    for number in (1, 2):
        about, order = f"shipment S{number}", f"8000{number}"
        say(driver, f"t{number}", "tms-na", "TENDERED", about, orders=[order], **PLAN)
        more = {"document": "V2", "shipments": ["S3"]}
        say(driver, f"c{number}", "tms-na", "RETENDERED", about, **more)
    say(driver, "d", "tms-na", "DELIVERED", "shipment S3", stop=stop(location="ATL1"))
    linked = [story(driver, f"acme/order/8000{number}")["linked"] for number in (1, 2)]
    assert linked == [[{"key": "acme/shipment/S3", "status": "delivered"}]] * 2


def test_a_split_that_has_ended_gives_its_child_no_region(driver):
    say(driver, "t", "tms-na", "TENDERED", orders=["80001"], shipments=["S3"], **PLAN)
    abroad = [stop(number=1, role="PICKUP", location="RTM1")]
    say(driver, "e", "tms-eu", "TENDERED", stops=abroad, orders=["80001"])
    assert story(driver, SHIPMENT)["region"] == "EU"
    (child,) = (e for s in driver.states for e in s.entities() if e.name.id == "S3")
    assert child.region == "NA"


@pytest.mark.parametrize("first", ["with a place", "without"])
def test_an_order_that_names_no_place_the_second_time_keeps_its_region(driver, first):
    place = {"stop": stop(location="DAL1")}
    events = [("r1", place | {"recorded": START_MS - 60_000}), ("r2", {"recorded": START_MS})]
    for event_id, given in events if first == "with a place" else reversed(events):
        say(driver, event_id, "erp-global", "REL", "order 80001", **given)
    assert story(driver, ORDER)["region"] == "NA"
    say(driver, "t", "tms-na", "TENDERED", orders=["80001"])
    assert story(driver, SHIPMENT)["region"] == "NA"


def test_said_again_after_it_was_taken_back_it_stands_though_the_retraction_is_read_last(driver):
    say(driver, "t", "tms-na", "TENDERED", **PLAN)
    at = {"occurred": driver.now_ms, "stop": stop(location="ATL1")}
    say(driver, "a", "tms-na", "DELIVERED", recorded=START_MS + 1, **at)
    say(driver, "b", "tms-na", "DELIVERED", recorded=START_MS + 3, **at)
    say(driver, "r", "tms-na", "-", retracts="a", recorded=START_MS + 2)
    assert story(driver, SHIPMENT)["status"] == "delivered"
    say(driver, "p", "tms-na", "-", retracts="a", recorded=START_MS + 4)
    assert story(driver, SHIPMENT)["status"] == "delivered"
    say(driver, "q", "tms-na", "-", retracts="b", recorded=START_MS + 5)
    assert story(driver, SHIPMENT)["status"] == "tendered"


def test_a_retraction_that_waited_leaves_alone_what_an_earlier_policy_decided():
    driver = TopologyDriver([policy("plain"), policy("plain", "2")], start_ms=START_MS)
    say(driver, "t", "tms-na", "TENDERED", **PLAN)
    say(driver, "g", "wms-3pl", "GI", account="ACME-3PL")
    driver.activate(policy("plain", "2").version)
    say(driver, "r", "tms-na", "-", retracts="s")
    say(driver, "s", "tms-na", "SHIPPED")
    back = [r for r in driver.records(names.APPROVED) if r["action"] == "RETRACT"]
    assert [record["event_type"] for record in back] == ["departed"]


def test_of_two_owners_the_one_that_said_it_once_more_is_the_newer(driver):
    plan = {"stops": [stop(number=1, role="PICKUP", location="RTM1")]}
    say(driver, "n", "tms-na", "TENDERED", occurred=START_MS, **PLAN)
    say(driver, "e", "tms-eu", "TENDERED", **plan)
    assert story(driver, SHIPMENT)["region"] == "EU"
    say(driver, "m", "tms-na", "TENDERED", occurred=START_MS, **PLAN)
    assert story(driver, SHIPMENT)["region"] == "NA"
