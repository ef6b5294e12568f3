"""`milepost ops-desk state` on a real Kafka: stated, judged, taken back."""

import re

import pytest


@pytest.fixture
def state(milepost):
    def run(*arguments, by="Kim", why="the driver phoned"):
        return milepost("ops-desk", "state", *arguments, "--by", by, "--why", why)

    return run


@pytest.mark.kafka
def test_a_statement_is_judged_under_the_policy_and_taken_back(governed, state):
    shipment = governed.name()
    told = state(shipment, "delivered", "--stop", "C-ATL")
    assert (told.code, told.err) == (0, "")
    assert ": held (awaiting_owner): " in told.out
    assert "said         delivered of ops-desk, which means delivered" in told.out
    assert "held until" in told.out
    (event_id,) = set(re.findall(r"desk-[0-9a-f]{12}", told.out))
    assert f"ops-desk state {shipment} --retract {event_id}" in told.out

    told = state(shipment, "--retract", event_id, "--json", why="it was another truck")
    (event,) = told.document["events"]
    assert event["reason"] == "retracted_by_author"
    assert governed.verify().violations == []


@pytest.mark.kafka
def test_a_time_is_given_as_a_person_says_it(governed, state):
    shipment = governed.name()
    told = state(shipment, "departed", "--at", "2026-06-01T10:05-05:00", "--stop", "DAL1", "--json")
    (event,) = told.document["events"]
    assert event["occurred"] == 1_780_326_300_000
    told = state(shipment, "departed", "--at", "10:05")
    assert (told.code, "with its offset" in told.err) == (2, True)


@pytest.mark.kafka
def test_what_is_refused_ends_with_1_and_says_what_to_do(governed, state):
    shipment = governed.name()
    told = state(shipment, "delivered", "--at", "2099-01-01T10:05-05:00", "--stop", "C-ATL")
    assert (told.code, told.err) == (1, "")
    assert ": dead_lettered (implausible_time): " in told.out
    assert "It was refused: occurred 2099-01-01T15:05:00Z, " in told.out
    assert "State it again with the time at which it happened: --at." in told.out
    assert "take it back" not in told.out

    told = state(shipment, "delivered", "--at", "2099-01-01T10:05-05:00", "--json")
    (event,) = told.document["events"]
    assert (told.code, event["fate"]) == (1, "dead_lettered")
    assert event["notes"][0].startswith("It was refused: occurred 2099")

    told = state(shipment, "--retract", event["claim"])
    assert (told.code, told.out) == (1, "")
    assert told.err.startswith(f"Nothing was sent: {event['claim']} was refused")


@pytest.mark.kafka
def test_a_stop_that_its_plan_does_not_have_is_told_with_those_it_has(governed, state):
    shipment = governed.name()
    told = state(shipment, "delivered", "--stop", "77")
    assert told.code == 0
    assert "It waits until it is known which stop is meant; after " in told.out
    assert f"known of acme/shipment/{shipment}: nobody has tendered" in told.out

    empty = dict.fromkeys(("number", "role", "location", "name", "city", "subdivision", "country"))
    places = enumerate((("PICKUP", "DAL1"), ("DELIVERY", "C-ATL")), 1)
    stops = [empty | {"number": n, "role": role, "location": at} for n, (role, at) in places]
    governed.fates(governed.send(governed.event(shipment, "TENDERED", stops=stops)))
    told = state(shipment, "delivered", "--stop", "NOWHERE")
    assert (
        f"The plan of acme/shipment/{shipment} has these stops:"
        " 1 DAL1 (PICKUP), 2 ATL1 (DELIVERY)." in told.out
    )


@pytest.mark.kafka
def test_a_retraction_of_what_the_owner_overruled_changes_nothing_that_stands(governed, state):
    shipment = governed.name()
    told = state(shipment, "delivered", "--stop", "C-ATL", "--json")
    (event,) = told.document["events"]
    stop = dict.fromkeys(("number", "role", "location", "name", "city", "subdivision", "country"))
    said = governed.event(shipment, "DELIVERED", stop=stop | {"location": "C-ATL"})
    governed.fates(governed.send(said))
    told = state(shipment, "--retract", event["claim"])
    assert told.code == 0
    assert "What it takes back did not stand, and will not: nothing else changes." in told.out
    assert "Says otherwise" not in told.out


@pytest.mark.kafka
def test_what_was_never_said_is_not_taken_back(governed, state):
    told = state(governed.name(), "--retract", "desk-000000000000")
    assert (told.code, told.out) == (1, "")
    assert "ops-desk has made no statement desk-000000000000" in told.err


@pytest.mark.kafka
def test_what_the_desk_has_no_word_for_is_wrong_use(governed, state):
    told = state(governed.name(), "deliverd")
    assert (told.code, told.out) == (2, "")
    assert "delivered" in told.err


def test_who_and_why_and_what_are_asked_for(milepost):
    told = milepost("ops-desk", "state", "S1", "delivered")
    assert (told.code, "--by and --why" in told.err) == (2, True)
    told = milepost("ops-desk", "state", "S1", "--by", "Kim", "--why", "x")
    assert (told.code, "--retract" in told.err) == (2, True)
