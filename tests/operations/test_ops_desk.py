"""What a person states becomes a raw event of the desk, judged like any other."""

import pytest
from told_world import ATLANTA, MINUTE_MS, World

from pipeline.contract import names
from pipeline.contract.bundle import Bundle, load_bundle
from pipeline.governance.vocabulary import Precision
from pipeline.operations import ops_desk
from pipeline.operations.ops_desk import Said, UnstatableError

BUNDLE = load_bundle()
DESK = "logistics.raw.ops-desk.v1"
NOW_MS = 1_790_000_000_000
SAID = Said(
    key="acme/shipment/S1",
    event_type="delivered",
    retracts="",
    occurred_ms=NOW_MS - 60 * MINUTE_MS,
    precision=Precision.MINUTE,
    offset_minutes=60,
    stop="C-ATL",
    document="",
    estimate=False,
    by="Kim",
    why="the driver phoned",
)


def statement(bundle=BUNDLE, event_id="desk-1", **said):
    return ops_desk.statement(bundle, SAID._replace(**said), event_id, NOW_MS)


def fates(world, event_id):
    blocks = world.records(names.DECISIONS)
    rows = [row for block in blocks for row in block["decisions"] if row["claim"] == event_id]
    rows += [row for block in blocks for row in block["transitions"] if row["claim"] == event_id]
    return [(row.get("after", row.get("disposition")), row["reason"]) for row in rows]


@pytest.fixture
def world():
    return World()


def test_the_person_and_the_reason_are_in_the_record():
    event = statement()
    assert (event["platform"], event["native_status"]) == ("ops-desk", "delivered")
    assert (event["entity_type"], event["entity_id"]) == ("shipment", "S1")
    assert (event["stated_by"], event["remark"]) == ("Kim", "the driver phoned")
    assert (event["occurred_precision"], event["occurred_offset_minutes"]) == ("MINUTE", 60)
    assert event["stop"]["location"] == "C-ATL"
    assert event["recorded"] == NOW_MS


def test_a_persons_word_waits_for_the_owner_and_then_stands_provisionally(world):
    world.pipe(DESK, statement())
    assert fates(world, "desk-1") == [("held", "awaiting_owner")]
    world.advance(7 * 60 * MINUTE_MS)
    assert fates(world, "desk-1")[-1] == ("provisional", "owner_silent")
    (record,) = world.records(names.APPROVED)
    assert (record["assurance"], record["stated_by"]) == ("PROVISIONAL", "Kim")
    assert record["remark"] == "the driver phoned"


def test_the_desk_takes_back_what_it_said(world):
    world.pipe(DESK, statement())
    event = statement(event_id="desk-2", event_type="", retracts="desk-1", stop="")
    assert (event["native_status"], event["retracts"]) == ("-", "desk-1")
    world.pipe(DESK, event)
    assert fates(world, "desk-2")[-1][0] in {"approved", "overruled", "stale"}
    world.advance(7 * 60 * MINUTE_MS)
    assert world.records(names.APPROVED) == []


def plan(*places):
    empty = dict.fromkeys(ATLANTA)
    roles = ("PICKUP", "DELIVERY")
    return [
        empty | {"number": number, "role": role, "location": place}
        for number, (role, place) in enumerate(zip(roles, places, strict=True), 1)
    ]


def test_of_a_shipment_its_stops_are_known(world):
    world.say("e1", "S1", "TENDERED", stop=None, stops=plan("DAL1", "C-ATL"))
    found = ops_desk.known(world.copies(), "acme/shipment/S1")
    assert found == (True, ["1 DAL1 (PICKUP)", "2 ATL1 (DELIVERY)"], [])


def test_of_a_mistyped_shipment_those_that_look_like_it_are_known(world):
    world.say("e1", "S-1001", "TENDERED", stop=None, stops=plan("DAL1", "C-ATL"))
    world.say("e2", "OTHER", "TENDERED", stop=None, stops=plan("DAL1", "C-ATL"))
    world.pipe(DESK, statement(key="S-101", stop="77"))
    found = ops_desk.known(world.copies(), "acme/shipment/S-101")
    assert found == (False, [], ["acme/shipment/S-1001"])


def why_not(world, event_id, key="S1"):
    event = statement(key=key, event_id="desk-9", event_type="", retracts=event_id, stop="")
    return ops_desk.not_to_be_taken_back(world.copies(), event, f"acme/shipment/{key}")


def test_what_the_desk_said_may_be_taken_back_whether_it_stands_or_waits(world):
    world.pipe(DESK, statement())
    assert why_not(world, "desk-1") == ""
    world.pipe(DESK, statement(event_id="desk-2", stop="77"))
    assert why_not(world, "desk-2") == ""
    world.advance(7 * 60 * MINUTE_MS)
    assert why_not(world, "desk-1") == ""


def test_what_the_desk_never_said_is_not_to_be_taken_back(world):
    assert why_not(world, "desk-1").endswith("desk-1: it has said nothing of acme/shipment/S1")
    world.pipe(DESK, statement())
    assert why_not(world, "desk-l").endswith(
        "desk-l: of acme/shipment/S1 it has said desk-1 (delivered)"
    )
    world.say("e1", "S1", "DELIVERED")
    assert "has made no statement e1" in why_not(world, "e1")


def test_what_was_refused_is_not_to_be_taken_back(world):
    world.pipe(DESK, statement(occurred_ms=NOW_MS + 3_600_000))
    assert why_not(world, "desk-1").startswith("desk-1 was refused (occurred_in_future")


def test_what_was_said_of_another_shipment_is_taken_back_there(world):
    world.pipe(DESK, statement())
    assert why_not(world, "desk-1", key="S2") == (
        "desk-1 is about acme/shipment/S1, not about acme/shipment/S2"
    )


def test_what_was_taken_back_is_stated_again_and_not_taken_back_twice(world):
    world.pipe(DESK, statement())
    world.advance(7 * 60 * MINUTE_MS)
    world.pipe(DESK, statement(event_id="desk-2", event_type="", retracts="desk-1", stop=""))
    assert why_not(world, "desk-1") == "desk-1 has been taken back already"
    assert "state again what was taken back in error" in why_not(world, "desk-2")


@pytest.mark.parametrize("event_type", sorted(ops_desk.meanings(BUNDLE)["plain"] - {"ignore"}))
def test_whatever_the_desk_has_a_word_for_can_be_stated(world, event_type):
    world.pipe(DESK, statement(event_type=event_type, stop="C-ATL"))
    ((fate, reason),) = fates(world, "desk-1")
    assert fate != "dead_lettered", reason


@pytest.mark.parametrize("key", ["S1", "shipment/S1", "acme/shipment/S1"])
def test_an_entity_is_named_in_full_or_in_short(key):
    assert statement(key=key) == statement()


def test_an_order_is_named_with_its_type():
    event = statement(key="order/80001234")
    assert (event["entity_type"], event["entity_id"]) == ("order", "80001234")


@pytest.mark.parametrize("key", ["", "a/b/c/d", "acme/parcel/1", "acme//S1"])
def test_what_names_no_entity_is_refused(key):
    with pytest.raises(UnstatableError, match="acme/shipment/S-1001"):
        statement(key=key)


def test_a_stop_is_named_by_its_number_too():
    assert (
        statement(stop="2")["stop"] | {"number": 2, "location": None} == statement(stop="2")["stop"]
    )


def test_a_word_that_the_desk_does_not_have_is_refused_with_those_it_has():
    with pytest.raises(UnstatableError, match=r"'deliverd' is none of .*delivered"):
        statement(event_type="deliverd")
    with pytest.raises(
        UnstatableError, match=r"no word for shipment.tendered: map one in dialects"
    ):
        statement(event_type="shipment.tendered")


def test_who_and_why_have_to_be_said():
    for said in ({"by": " "}, {"why": ""}):
        with pytest.raises(UnstatableError, match="who states it and why"):
            statement(**said)


def test_a_tenant_without_a_desk_is_told():
    with pytest.raises(
        UnstatableError, match="no platform of role OPS_DESK speaks for tenant samples"
    ):
        statement(key="samples/shipment/S1")


def test_a_desk_that_serves_several_tenants_states_for_the_one_that_is_meant():
    content = BUNDLE.model_dump(by_alias=True)
    (desk,) = (row for row in content["platforms"] if row["name"] == "ops-desk")
    desk |= {"tenant": None, "accounts": {"A": "acme", "S": "samples"}}
    event = statement(Bundle.model_validate(content), key="samples/shipment/S1")
    assert event["account"] == "S"


def test_of_two_desks_one_has_to_be_chosen():
    content = BUNDLE.model_dump(by_alias=True)
    (desk,) = (row for row in content["platforms"] if row["name"] == "ops-desk")
    content["platforms"].append(desk | {"name": "night-desk"})
    bundle = Bundle.model_validate(content)
    with pytest.raises(UnstatableError, match="give --platform"):
        statement(bundle)
    event = ops_desk.statement(bundle, SAID, "desk-1", NOW_MS, "night-desk")
    assert event["platform"] == "night-desk"
