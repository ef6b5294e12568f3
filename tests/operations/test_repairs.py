"""Edited replays: what a person may change, what comes of it, and that twice is once."""

import pytest
from told_world import MINUTE_MS, World

from pipeline.contract import codec, names
from pipeline.operations import dead_letters, repairs
from pipeline.operations.dead_letters import Filter
from pipeline.operations.repairs import UnusableEditError

HOUR_MS = 60 * MINUTE_MS


@pytest.fixture
def world():
    return World()


def letter_of(world):
    (letter,) = dead_letters.read(world.copies(), Filter())
    return letter


def edited(world, *settings, shift="", letter=None):
    wanted = repairs.edit(repairs.shift(shift) if shift else 0, settings)
    return repairs.repaired(letter or letter_of(world), wanted, world.copies().decode)


def send(world, repair, by="kim"):
    key = world.key_of(repair.event).encode()
    return world.replay(repairs.outgoing(repair, key, world.raw_schema_id, "id", by, "a call"))


def fate(world, event_id):
    rows = [
        row
        for block in world.records(names.DECISIONS)
        for row in block["decisions"]
        if row["claim"] == event_id
    ]
    return [(row["disposition"], row["reason"]) for row in rows]


def test_a_clock_that_ran_ahead_is_shifted_back(world):
    ahead = world.now_ms + MINUTE_MS + 2 * HOUR_MS
    world.say("e1", "S1", "DELIVERED", occurred=ahead, recorded=ahead)
    letter = letter_of(world)
    assert letter.reason == "occurred_in_future"
    assert repairs.fitting_shift(letter) == -2 * HOUR_MS
    repair = edited(world, shift="-2h", letter=letter)
    assert [field for field, _, _ in repair.changes] == ["occurred", "recorded"]
    send(world, repair)
    assert fate(world, "e1")[-1] == ("approved", "owner_spoke")
    (record,) = world.records(names.APPROVED)
    assert record["occurred"] == record["recorded"] == ahead - 2 * HOUR_MS
    assert record["received"] == letter.origin.received
    assert (record["source_event_id"], record["flags"]) == ("e1", ["repaired"])


def test_a_wrong_status_is_set_right(world):
    world.say("e1", "S1", "WOBBLY")
    repair = edited(world, "native_status=DELIVERED")
    assert repair.changes == [("native_status", "WOBBLY", "DELIVERED")]
    send(world, repair)
    assert fate(world, "e1")[-1] == ("approved", "owner_spoke")


def test_a_repair_that_is_sent_twice_is_a_duplicate(world):
    world.say("e1", "S1", "WOBBLY")
    repair = edited(world, "native_status=DELIVERED")
    send(world, repair)
    send(world, repair)
    assert fate(world, "e1")[-1] == ("duplicate", "repeated")
    assert len(world.records(names.APPROVED)) == 1


def test_what_was_repaired_counts_as_repaired(world):
    world.say("e1", "S1", "WOBBLY")
    send(world, edited(world, "native_status=DELIVERED"))
    assert letter_of(world).since.state == "repaired"
    assert list(dead_letters.read(world.copies(), Filter(open=True))) == []


def test_another_entity_has_another_key_and_the_record_says_its_first(world):
    world.say("e1", "S1", "WOBBLY")
    repair = edited(world, "entity_id=S2", "native_status=DELIVERED")
    sent = repairs.outgoing(repair, b"acme/shipment/S2", 1, "id", "kim", "a call")
    assert (sent.key, sent.partition) == (b"acme/shipment/S2", None)
    assert dict(sent.headers)[names.HEADER_KEY] == b"acme/shipment/S1"
    send(world, repair)
    assert [record["entity_id"] for record in world.records(names.APPROVED)] == ["S2"]


def test_the_header_names_the_last_person_only(world):
    world.say("e1", "S1", "WOBBLY")
    send(world, edited(world, "native_status=WEIRD"), by="lee")
    letter = max(dead_letters.read(world.copies(), Filter()), key=lambda item: item.replays)
    repair = edited(world, "native_status=DELIVERED", letter=letter)
    sent = repairs.outgoing(repair, letter.key, 1, "id", "kim", "a call")
    told = [value for name, value in sent.headers if name == names.HEADER_REPAIRED_BY]
    assert told == [b"kim"]
    assert dict(sent.headers)[names.HEADER_REPLAY_COUNT] == b"2"


def test_a_place_is_given_to_an_event_that_names_none(world):
    world.say("e1", "S1", "WOBBLY", stop=None)
    repair = edited(world, "native_status=DELIVERED", "stop.location=C-ATL", "stop.number=2")
    assert repair.event["stop"]["location"] == "C-ATL"
    assert repair.event["stop"]["number"] == 2
    assert repair.event["stop"]["city"] is None


def test_values_are_read_as_their_field_is_written(world):
    world.say("e1", "S1", "WOBBLY")
    repair = edited(
        world, "amount=12.50", "currency=EUR", "occurred=2026-09-21T12:00:00+02:00", "recorded="
    )
    assert repair.event["amount"] == 125_000
    assert repair.event["occurred"] == 1_789_984_800_000
    assert repair.event["recorded"] is None


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("event_id=x", "fields are"),
        ("platform=tms-eu", "fields are"),
        ("native_status", "give field=value"),
        ("native_status=", "can't be empty"),
        ("classifier=MAYBE", "none of"),
        ("stop.number=two", "no number"),
        ("occurred=yesterday", "no ISO 8601 time"),
    ],
)
def test_an_edit_that_can_not_be_made_says_why(setting, why):
    with pytest.raises(UnusableEditError, match=why):
        repairs.edit(0, [setting])


def test_an_edit_changes_something_and_each_time_once():
    with pytest.raises(UnusableEditError, match="nothing is changed"):
        repairs.edit(0, [])
    with pytest.raises(UnusableEditError, match="not both"):
        repairs.edit(1, ["occurred=2026-09-21T12:00:00Z"])


@pytest.mark.parametrize(("text", "milliseconds"), [("-2h", -7_200_000), ("+30m", 1_800_000)])
def test_a_shift_has_a_sign_and_a_unit(text, milliseconds):
    assert repairs.shift(text) == milliseconds


@pytest.mark.parametrize("text", ["2h", "-2", "-h", "-2w", ""])
def test_what_is_no_shift_is_refused(text):
    with pytest.raises(UnusableEditError, match="no shift"):
        repairs.shift(text)


def test_bytes_that_are_no_record_can_not_be_edited(world):
    world.garble("S1")
    repair = edited(world, "native_status=DELIVERED")
    assert repair.event is None
    assert "can't be read" in repair.why


def test_what_would_be_no_event_any_more_is_left_out(world):
    world.say("e1", "S1", "WOBBLY")
    repair = edited(world, "quantity.unit=EA")
    assert repair.event is None
    assert "no raw event" in repair.why
    repair = edited(world, "native_status=WOBBLY")
    assert (repair.changes, repair.why) == ([], "the edit changes nothing in it")


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (["entity_id="], "entity_id is empty and there is no reference"),
        (["entity_id= "], "entity_id is empty and there is no reference"),
        (["entity_type="], "entity_type is empty: give one of order, shipment, stock"),
        (["entity_type=parcel"], "entity_type is parcel"),
        (["amount=1", "currency="], "amount needs its currency"),
        ([f"document={'x' * 201}"], "document has 201 characters"),
    ],
)
def test_what_would_be_refused_again_is_left_out_with_its_field(world, settings, why):
    world.say("e1", "S1", "WOBBLY")
    repair = edited(world, *settings)
    assert (repair.event, repair.changes) == (None, [])
    assert repair.why.startswith(f"it would be refused again: {why}")


def test_an_event_of_a_reference_needs_no_entity(world):
    world.say("e1", "S1", "WOBBLY", reference={"kind": "PRO", "scope": "RDLN", "value": "7"})
    assert edited(world, "entity_id=").changes == [("entity_id", "S1", "nothing")]


def test_every_field_that_may_be_set_is_one_of_the_schema():
    for name in repairs.FIELDS:
        outer = name.partition(".")[0]
        assert outer in {field["name"] for field in codec.definition("raw-event")["fields"]}
