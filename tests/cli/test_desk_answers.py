"""What a person of the desk is told of a statement or a retraction, by how it was judged."""

import pytest

from pipeline.cli.desk_answers import answer
from pipeline.contract.bundle import load_bundle
from pipeline.operations.ops_desk import Known
from pipeline.operations.trail import Entry

BUNDLE = load_bundle()
NOW_MS = 1_790_000_000_000
PLAN = Known(told=True, stops=["1 DAL1 (PICKUP)", "2 C-ATL (DELIVERY)"], close=[])
NOTHING = Known(told=False, stops=[], close=["acme/shipment/S-1001"])


def told(fate, reason, known=None, detail="", *, retracts=False, **given):
    verdict = {
        "disposition": fate,
        "reason": reason,
        "rule": "",
        "entity": "acme/shipment/S-101",
        "event_type": "",
        "deadline": NOW_MS,
    }
    entry = Entry(0, 1, "logistics.raw.ops-desk.v1", 1, NOW_MS, "1", verdict | given, [])
    return answer(entry, BUNDLE, known, detail, retracts=retracts)


def notes(*arguments, **given):
    return " ".join(told(*arguments, **given).notes)


def test_what_was_refused_says_so_with_its_detail_and_what_to_do_and_offers_nothing_to_take_back():
    found = told("dead_lettered", "occurred_in_future", detail="occurred 2099, 73 a late")
    assert (found.refused, found.can_be_taken_back) == (True, False)
    assert " ".join(found.notes) == (
        "It was refused: occurred 2099, 73 a late."
        " State it again with the time at which it happened (--at), or with --estimate if it is"
        " only expected."
    )


def test_what_only_others_can_put_right_says_what_they_have_to_do():
    assert "Give the region an owner" in notes("dead_lettered", "unknown_region")


def test_a_stop_that_nobody_knows_is_told_with_the_stops_there_are():
    assert notes("held", "stop_unresolved", PLAN) == (
        "It waits until it is known which stop is meant; after 2026-09-21 14:13:20Z it is refused."
        " A tender that has the stop ends the wait, or this stated again with the right --stop."
        " The plan of acme/shipment/S-101 has these stops: 1 DAL1 (PICKUP), 2 C-ATL (DELIVERY)."
    )


def test_a_shipment_that_nobody_tendered_is_told_with_those_that_look_like_it():
    for reason in ("stop_unresolved", "region_unresolved", "awaiting_owner"):
        assert notes("held", reason, NOTHING).endswith(
            "Nothing that stands is known of acme/shipment/S-101: nobody has tendered such a"
            " shipment. Did you mean acme/shipment/S-1001?"
        )


def test_a_shipment_without_a_plan_is_told_as_that():
    without = Known(told=True, stops=[], close=[])
    assert "nobody has said which stops it has" in notes("held", "region_unresolved", without)


def test_an_order_that_nobody_released_is_told_as_that():
    key = "acme/order/80001"
    assert "released such an order" in notes("held", "awaiting_owner", NOTHING, entity=key)


def test_a_statement_that_waits_for_its_owner_names_it_and_until_when():
    assert notes("held", "awaiting_owner", PLAN, rule="transport-na") == (
        "It waits for the owner, tms-na, until 2026-09-21 14:13:20Z; then it stands, provisionally."
        " The owner's own word ends the wait, and counts instead."
    )


def test_whatever_else_it_waits_for_is_told_until_when():
    assert "until 2026-09-21 14:13:20Z. Release" in notes("held", "platform_suspended", PLAN)
    assert "2026-09-21" in notes("held", "awaiting_predecessor", event_type="charge.posted")
    assert "2026-09-21" in notes("held", "made_up_later")


@pytest.mark.parametrize(
    ("fate", "reason", "meaning"),
    [
        ("approved", "retracted_by_author", "What it takes back stands no more"),
        (
            "stale",
            "retracted_by_author",
            "What it takes back did not stand, and will not: nothing else changes",
        ),
        ("overruled", "not_owner", "What it takes back did not stand: nothing changes"),
        ("duplicate", "restated", "It was taken back already"),
        ("held", "stop_unresolved", "What it takes back waits itself: both are decided together"),
        ("approved", "made_up_later", "made_up_later"),
    ],
)
def test_a_retraction_is_told_as_one_and_is_not_taken_back_itself(fate, reason, meaning):
    found = told(fate, reason, retracts=True)
    assert (found.meaning, found.can_be_taken_back) == (meaning, False)


def test_a_statement_that_disagrees_is_told_as_that_and_can_be_taken_back():
    found = told("overruled", "differs_from_owner")
    assert found.meaning.startswith("Says otherwise than the owner")
    assert (found.refused, found.can_be_taken_back) == (False, True)


def test_what_came_too_late_leaves_nothing_to_take_back():
    assert not told("stale", "older_than_current").can_be_taken_back
