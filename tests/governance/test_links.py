"""What crosses between entities does not depend on which of them was read first."""

import pytest
from worlds import HOUR_MS, POLICY, START_MS, stop

from pipeline.contract import names
from pipeline.governance.claims import raw_event
from pipeline.testing.driver import TopologyDriver

SHIPMENT = "acme/shipment/S1"
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
