"""What `milepost audit`, `claims` and `send` find in the ledger, and why something isn't there."""

import pytest
from told_world import CARRIERS, MINUTE_MS, NOW_MS, TMS, World

from pipeline.contract import topics as declarations
from pipeline.kafka.clients import Position
from pipeline.operations import trail

DECLARED = declarations.load()


@pytest.fixture
def world():
    return World()


def story(world, name):
    return trail.story(world.copies(), DECLARED, name)


def fates(found):
    return [(entry.verdict["claim"], entry.fate, entry.reason) for entry in found.entries]


@pytest.mark.parametrize("name", ["acme/shipment/S1", "ACME/SHIPMENT/s1", "S1", "s1"])
def test_an_entity_is_found_by_key_and_by_id_however_it_is_spelt(world, name):
    world.say("e1", "S1", "DELIVERED")
    world.say("e2", "S11", "DELIVERED")
    found = story(world, name)
    assert fates(found) == [("e1", "approved", "owner_spoke")]
    assert [record["event_type"] for record in found.approved] == ["delivered"]


def test_an_event_is_found_by_the_id_that_its_platform_gave_it(world):
    world.say("e1", "S1", "DELIVERED")
    world.say("e2", "S1", "POD")
    assert fates(story(world, "e2")) == [("e2", "approved", "owner_spoke")]


def test_an_id_with_a_slash_is_found(world):
    world.say("A/1", "S/1", "DELIVERED")
    for name in ("S/1", "acme/shipment/S%2F1", "A/1"):
        assert fates(story(world, name)) == [("A/1", "approved", "owner_spoke")]


def test_what_waits_says_why_and_until_when(world):
    world.say("e1", "S1", "SHIPPED", stop=None)
    (entry,) = story(world, "S1").entries
    assert (entry.fate, entry.reason) == ("held", "region_unresolved")
    assert entry.verdict["deadline"] == NOW_MS + MINUTE_MS + 24 * 60 * MINUTE_MS


def test_a_later_fate_is_told_with_its_time(world):
    world.say("c1", "S1", "D1", CARRIERS, platform="carrier-redline")
    world.advance(5 * 60 * MINUTE_MS)
    (entry,) = story(world, "S1").entries
    assert entry.verdict["disposition"] == "held"
    assert (entry.fate, entry.reason) == ("provisional", "owner_silent")
    (moved,) = entry.transitions
    assert moved["published"] == world.now_ms
    (record,) = story(world, "S1").approved
    assert record["published"] == world.now_ms


def test_what_was_refused_before_its_entity_was_known_is_found_by_its_key(world):
    key = b"acme/shipment/S1"
    world.pipe_bytes(TMS, key, world.value("e1", "S1", "DELIVERED", platform="nobody"))
    world.pipe_bytes(TMS, key, b"\0\0\0\0\1nonsense")
    assert [(fate, reason) for _, fate, reason in fates(story(world, "S1"))] == [
        ("dead_lettered", "unknown_platform"),
        ("dead_lettered", "undecodable"),
    ]


def test_a_stray_is_told_on_both_of_its_ways(world):
    world.stray("e1", "S1", "DELIVERED")
    assert [fate for _, fate, _ in fates(story(world, "acme/shipment/S1"))] == [
        "rerouted",
        "approved",
    ]


def test_what_never_came_is_told_with_what_looks_like_it(world):
    world.say("e1", "S1001", "DELIVERED")
    found = story(world, "S1O01")
    assert (found.entries, found.undecided) == ([], [])
    assert found.close == ["acme/shipment/S1001"]
    assert found.read_ms == world.now_ms
    assert found.backlog == 0


def test_what_came_and_is_not_decided_yet_is_told(world):
    world.say("e0", "S0", "DELIVERED")
    world.stop()
    place = world.say("e1", "S1", "DELIVERED")
    world.say("e2", "S2", "DELIVERED")
    found = story(world, "S1")
    assert [item.place for item in found.undecided] == [Position(*place)]
    assert found.backlog == 2
    assert [item.place for item in story(world, "e1").undecided] == [Position(*place)]
    assert story(world, "S9").backlog == 2


def test_a_stack_without_topics_knows_nothing(world):
    copies = world.copies()
    copies.records_of.clear()
    copies.spans.clear()
    found = trail.story(copies, DECLARED, "S1")
    assert (found.entries, found.backlog, found.read_ms) == ([], 0, 0)


def test_a_reason_of_a_newer_milepost_is_told_by_its_name():
    assert trail.meaning("owner_spoke") == "The milestone's owner said so"
    assert trail.meaning("tomorrows_reason") == "tomorrows_reason"


# What stood, as of when, known when


def stood(world, **asked):
    asked = {"as_of": 1 << 62, "known_at": 1 << 62} | asked
    return [
        (item.key, item.status, [(r["event_type"], r["occurred"]) for r in item.standing])
        for item in trail.state_at(story(world, "S1"), **asked)
    ]


def test_what_stood_is_told_as_it_was_known(world):
    wrong, right = NOW_MS - 50 * MINUTE_MS, NOW_MS - 40 * MINUTE_MS
    world.say("e1", "S1", "DELIVERED", occurred=wrong)
    first_ms = world.now_ms
    world.say("e2", "S1", "DELIVERED", occurred=right)
    key = "acme/shipment/S1"
    assert stood(world) == [(key, "delivered", [("delivered", right)])]
    assert stood(world, known_at=first_ms) == [(key, "delivered", [("delivered", wrong)])]
    assert stood(world, known_at=first_ms - 1) == []
    assert stood(world, as_of=right - 1) == []
    assert stood(world, as_of=wrong, known_at=first_ms) == [
        (key, "delivered", [("delivered", wrong)])
    ]


def test_what_was_taken_back_does_not_stand(world):
    world.say("e1", "S1", "DELIVERED")
    known_ms = world.now_ms
    world.say("e2", "S1", "DELIVERED", retracts="e1")
    assert stood(world) == []
    assert len(stood(world, known_at=known_ms)) == 1


# A platform's own claims


def test_a_platform_sees_its_own_claims_and_what_became_of_them(world):
    world.say("e1", "S1", "DELIVERED")
    world.say("e2", "S1", "WOBBLY")
    world.say("c1", "S1", "D1", CARRIERS, platform="carrier-redline")
    since_ms = world.now_ms
    world.stray("e3", "S3", "POD")
    world.say("e4", "S1", "POD")
    found = trail.claims(world.copies(), "tms-na", NOW_MS)
    assert [(entry.verdict["claim"], entry.fate) for entry in found] == [
        ("e1", "approved"),
        ("e2", "dead_lettered"),
        ("e3", "approved"),
        ("e4", "approved"),
    ]
    later = trail.claims(world.copies(), "tms-na", since_ms + 1)
    assert [entry.verdict["claim"] for entry in later] == ["e4"]
    assert trail.claims(world.copies(), "nobody", NOW_MS) == []


def test_records_that_were_sent_are_found_by_their_places(world):
    before = world.copies()
    start = {n: before.span("logistics.decisions.v1", n).end for n in range(4)}
    places = [Position(*world.say(f"e{n}", f"S{n}", "DELIVERED")) for n in range(6)]
    found = trail.decided(world.copies(), places, start)
    assert {place: found[place].verdict["claim"] for place in places} == {
        place: f"e{n}" for n, place in enumerate(places)
    }


def test_an_entry_is_one_json_value(world):
    world.say("e1", "S1", "DELIVERED")
    (entry,) = story(world, "S1").entries
    told = entry.document()
    assert told["raw"] == {"topic": TMS, "partition": entry.partition, "offset": 0}
    assert told["meaning"] == "The milestone's owner said so"
    assert bytes.fromhex(told["digest"]) == entry.verdict["digest"]
