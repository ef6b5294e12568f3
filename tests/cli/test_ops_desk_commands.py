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
def test_what_the_desk_has_no_word_for_is_wrong_use(governed, state):
    told = state(governed.name(), "deliverd")
    assert (told.code, told.out) == (2, "")
    assert "delivered" in told.err


def test_who_and_why_and_what_are_asked_for(milepost):
    told = milepost("ops-desk", "state", "S1", "delivered")
    assert (told.code, "--by and --why" in told.err) == (2, True)
    told = milepost("ops-desk", "state", "S1", "--by", "Kim", "--why", "x")
    assert (told.code, "--retract" in told.err) == (2, True)
