"""More falls due at once than one batch does: it is done portion by portion, tick by tick."""

import pytest

from pipeline.contract import names
from pipeline.contract.bundle import load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance import steering
from pipeline.streams import state as partition_state
from pipeline.testing.driver import TopologyDriver

SHIPPED = load_bundle()
POLICY = compile_policy(SHIPPED)
START_MS = 1_790_000_000_000
HOUR_MS = 3_600_000
CARRIERS, TMS = names.raw_topic("carriers"), names.raw_topic("tms-na")
PLACE = dict.fromkeys(("number", "name", "city", "subdivision", "country"))


@pytest.fixture(autouse=True)
def two_at_once(monkeypatch):
    monkeypatch.setattr(partition_state, "DUE_MAX", 2)
    monkeypatch.setattr(steering, "REOPENED_MAX", 2)


class ByHand(TopologyDriver):
    """A driver that does not go on by itself."""

    def _carry_on(self):
        return False


def driver(*policies, kind=ByHand):
    return kind([POLICY, *policies], partitions=1, start_ms=START_MS)


def picked_up(told, shipment):
    """A deputy's word."""
    event = {
        "event_id": f"e-{shipment}", "platform": "carrier-redline", "entity_type": "shipment",
        "entity_id": shipment, "native_status": "AF", "occurred": told.now_ms,
        "classifier": "ACTUAL", "occurred_precision": "SECOND",
        "stop": PLACE | {"location": "DAL1", "role": "PICKUP"},
    }  # fmt: skip
    told.pipe(CARRIERS, event)


def unmapped(told, shipment, event_id, status="ELSEWHERE"):
    """A word of the owner at a place that the bundle does not know."""
    event = {
        "event_id": event_id, "platform": "tms-na", "entity_type": "shipment",
        "entity_id": shipment, "native_status": status, "occurred": told.now_ms,
        "classifier": "ACTUAL", "occurred_precision": "SECOND",
        "stop": PLACE | {"location": "NEWTOWN", "role": "DELIVERY"},
    }  # fmt: skip
    return told.pipe(TMS, event)


def provisional(told):
    return [
        (record["entity_id"], record["recorded"])
        for record in told.records(names.APPROVED)
        if record["assurance"] == "PROVISIONAL"
    ]


def with_newtown():
    """The next bundle, which knows the place."""
    content = SHIPPED.model_dump(by_alias=True)
    content["heading"]["version"] = "newtown"
    site = next(row for row in content["sites"] if row["id"] == "ATL1")
    content["sites"].append(
        site | {"id": "NEWTOWN", "city": "Newtown", "codes": {"acme": ["NEWTOWN"]}}
    )
    return compile_policy(type(SHIPPED).model_validate(content))


def clock(told):
    return told.states[0].clock


def test_deadlines_that_fall_due_at_once_act_each_at_its_own_time_a_few_a_tick():
    told, whole = driver(), driver(kind=TopologyDriver)
    for name in "ABCDE":
        for one in (told, whole):
            picked_up(one, name)
            one.now_ms += 1_000
    goal = START_MS + 24 * HOUR_MS
    told.reach(goal)
    assert [name for name, _ in provisional(told)] == ["A", "B"]
    assert START_MS < clock(told) < goal
    assert told.states[0].due_ms() == goal + 1
    told.reach(goal + 1_000)
    assert [name for name, _ in provisional(told)] == ["A", "B", "C", "D"]
    told.restart()
    told.reach(goal + 2_000)
    assert not told.states[0].unfinished
    assert clock(told) == goal + 2_000
    whole.reach(goal)
    assert provisional(told) == provisional(whole)


def test_those_whose_owner_can_not_be_read_hold_up_nobody():
    """They are put off, and a deadline that comes later acts although they still wait."""
    told = driver()
    for name in "ABCDE":
        picked_up(told, name)
    told.stalled = {TMS}
    for step in range(4):
        told.reach(START_MS + 24 * HOUR_MS + step)
    assert provisional(told) == []
    assert not told.states[0].unfinished
    told.stalled = set()
    for step in range(4, 8):
        told.reach(START_MS + 24 * HOUR_MS + step)
    assert sorted(name for name, _ in provisional(told)) == list("ABCDE")


def test_an_activation_judges_a_few_open_claims_at_a_time_and_goes_on_after_a_restart():
    policy = with_newtown()
    told = driver(policy)
    for name in "ABCDE":
        unmapped(told, name, f"e-{name}", status="DELIVERED")
    assert told.raw_records(names.APPROVED) == []
    told.activate(policy.version)
    assert [record["entity_id"] for record in told.records(names.APPROVED)] == ["A", "B"]
    assert list(told.states[0].reopening) == [f"acme/shipment/{name}" for name in "CDE"]
    told.restart()
    assert told.states[0].unfinished
    told.reach(told.now_ms + 1_000)
    assert [record["entity_id"] for record in told.records(names.APPROVED)] == list("ABCD")
    told.reach(told.now_ms + 1_000)
    assert [record["entity_id"] for record in told.records(names.APPROVED)] == list("ABCDE")
    assert told.states[0].reopening == {}
    rows = [row for block in told.records(names.DECISIONS) for row in block["transitions"]]
    assert {row["cause"] for row in rows} == {_seq_of_activation(told, policy.version)}


def _seq_of_activation(told, version):
    """Ledger sequence of the record that activated a version."""
    for block in told.records(names.DECISIONS):
        for place, row in enumerate(block["decisions"]):
            if row["reason"] == "policy_activated" and block["policy_version"] == version:
                return block["first_seq"] + place
    raise AssertionError(f"{version} was not activated")


def test_who_speaks_again_meanwhile_is_judged_after_what_waited():
    policy = with_newtown()
    told = driver(policy)
    for name in "ABCDE":
        unmapped(told, name, f"e-{name}", status="DELIVERED")
    told.activate(policy.version)
    told.now_ms += HOUR_MS
    unmapped(told, "E", "later", status="DELIVERED")
    said = [(r["action"], r["source_event_id"]) for r in told.records(names.APPROVED)][2:]
    assert said == [("ASSERT", "e-E"), ("CORRECT", "later")]
    assert list(told.states[0].reopening) == ["acme/shipment/C", "acme/shipment/D"]
