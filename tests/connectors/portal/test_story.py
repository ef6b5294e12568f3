"""From revisions to a story: what a reader is told, and what is never told as fact."""

from __future__ import annotations

import pytest
from portal_records import ATLANTA, DALLAS, HOUR, MINUTE, T0, approved, entity_status
from portal_world import CHICAGO

from connectors.portal import story, views
from connectors.portal.pages import clock, days, former, happened, town, zone_name
from connectors.portal.store import Head, Revision
from connectors.portal.times import milliseconds, moment, utc
from connectors.portal.wording import Wording, languages_of, readable, role
from pipeline.contract.bundle import load_bundle
from pipeline.governance.identity import Key, entity_key

WORDING = Wording(load_bundle())
FRESH = views.Freshness(verified_at=utc(T0), stale=False, why=None)


def revisions(*records):
    return [Revision(record, T0 + index, T0 + index) for index, record in enumerate(records)]


def tell(*records, status="shipped", summary=None, linked=None, language="en", **more):
    summary = entity_status(linked=[]) if summary is None else summary
    head = head_of("SHP-1001", status, summary)
    related = story.Related(linked or {}, more.get("parents", ()))
    manner = story.Manner(WORDING, language, more.get("staff", False))
    return story.tell(head, revisions(*records), related, FRESH, manner)


def head_of(name, status="", summary=None):
    return Head(Key("acme", "shipment", name), status, T0, 1, summary)


def only(*records):
    return tell(*records).milestones[0]


def test_the_owners_word_is_confirmed_and_carries_the_customers_label():
    said = only(approved())
    assert (said.label, said.state, said.stands) == ("Shipped", "confirmed", True)
    assert (said.current.by.role_label, said.current.by.platform) == ("Transport system", "tms-na")
    assert said.current.reason_text == "The milestone's owner said so"
    assert said.previous == []


def test_a_deputys_word_is_provisional_until_the_owner_confirms_or_corrects():
    deputy = approved(assurance="PROVISIONAL", platform="carrier-redline", role="CARRIER")
    assert only(deputy).state == "provisional"
    confirmed = only(deputy, approved(seq=2, revision=2, action="CONFIRM"))
    assert confirmed.state == "confirmed"
    assert confirmed.previous[0].assurance == "PROVISIONAL"
    corrected = only(deputy, approved(seq=2, revision=2, occurred=T0 + 5 * MINUTE))
    assert corrected.state == "corrected"
    was = former(corrected)
    assert (was.values, was.by, was.provisional) == (
        ["04:00"],
        "Carrier · carrier-redline",
        True,
    )


def test_what_was_taken_back_does_not_stand_but_is_not_forgotten():
    taken_back = only(approved(), approved(seq=2, revision=2, action="RETRACT"))
    assert (taken_back.state, taken_back.stands) == ("retracted", False)
    assert len(taken_back.previous) == 1
    again = only(
        approved(),
        approved(seq=2, revision=2, action="RETRACT"),
        approved(seq=3, revision=3, action="ASSERT", reason="asserted_anew"),
    )
    assert again.state == "confirmed"


@pytest.mark.parametrize("field", ["action", "assurance", "classifier"])
def test_a_word_that_this_version_does_not_know_is_never_told_as_fact(field):
    told = tell(approved(), approved(seq=2, revision=2, **{field: "UNRECOGNISED"}))
    said = told.milestones[0]
    assert (said.state, said.stands) == ("unrecognised", False)
    assert told.status.since is None


def test_milestones_come_in_the_order_of_the_story_not_of_their_times():
    told = tell(
        approved("delivered", 1, occurred=T0 + HOUR), approved("departed", 2, flags=["late"])
    )
    assert [(item.label, item.late) for item in told.milestones] == [
        ("Delivered", False),
        ("Shipped", True),
    ]


def test_what_was_skipped_is_said_until_it_comes():
    shipped = approved(skipped=["goods.issued"])
    assert [gap.label for gap in tell(shipped).missing] == ["Left the warehouse"]
    assert tell(shipped, approved("goods.issued", 2, flags=["late"])).missing == []
    withdrawn = approved(seq=2, revision=2, action="RETRACT")
    assert tell(shipped, withdrawn).missing == []


def test_an_estimate_is_expected_apart_from_what_happened_and_ends_with_the_actual():
    eta = approved("eta.updated", 2, classifier="ESTIMATED", occurred=T0 + HOUR, stop=ATLANTA)
    told = tell(approved(), eta)
    assert [item.event_type for item in told.milestones] == ["departed"]
    assert [item.label for item in told.expected] == ["Expected"]
    elsewhere = approved("delivery.arrived", 3, stop=DALLAS)
    assert tell(approved(), eta, elsewhere).expected
    there = approved("delivery.arrived", 3, stop=ATLANTA)
    assert tell(approved(), eta, there).expected == []


def test_the_last_position_is_no_milestone():
    told = tell(
        approved("position.reported", 1, stop=CHICAGO), approved("position.reported", 2, revision=2)
    )
    assert told.milestones == []
    assert told.position.current.revision == 2


def test_of_a_long_stream_the_newest_revisions_are_told():
    stream = [approved("position.reported", n, revision=n) for n in range(1, 80)]
    position = tell(*stream).position
    assert position.current.revision == 79
    assert [item.revision for item in position.previous] == list(range(78, 28, -1))


def test_the_status_says_since_when_and_whether_it_is_provisional():
    told = tell(
        approved(seq=1),
        approved("pickup.arrived", seq=2, occurred=T0 - HOUR, flags=["late"]),
        summary=entity_status(status="shipped", linked=[]),
    )
    assert told.status.label == "Shipped"
    assert milliseconds(told.status.since.at) == T0
    assert told.status.place.city == "Dallas"
    assert not told.status.provisional
    assert tell(approved(assurance="PROVISIONAL")).status.provisional


def test_a_stop_says_what_happened_there():
    told = tell(approved(), approved("eta.updated", 2, classifier="ESTIMATED", stop=ATLANTA))
    assert [(stop.place.city, stop.milestone) for stop in told.stops] == [
        ("Dallas", "Shipped"),
        ("Atlanta", None),
    ]
    assert told.stops[0].zone == "America/Chicago"


def test_a_plan_is_nothing_that_happened_at_its_stops():
    told = tell(approved("shipment.tendered"), approved("shipment.changed", 2, document="V2"))
    assert [stop.milestone for stop in told.stops] == [None, None]


def test_a_link_leads_on_only_where_there_is_a_page():
    key = Key("acme", "order", "8 0/1")
    summary = entity_status(
        linked=[{"key": entity_key(*key), "status": "packed"}, {"key": "no key", "status": ""}]
    )
    unknown = tell(approved(), summary=summary).linked
    assert [(link.id, link.status_label, link.href) for link in unknown] == [
        ("8 0/1", "Packed", None)
    ]
    known = {key: Head(key, "cancelled", T0, 1, None)}
    link = tell(approved(), summary=summary, linked=known).linked[0]
    assert (link.status, link.href) == ("cancelled", "/api/orders/8%200%2F1?tenant=acme")


def test_labels_come_in_the_language_asked_for_and_else_in_english():
    assert tell(approved(), language="de").milestones[0].label == "Versandt"
    assert tell(approved(), language="fr").milestones[0].label == "Shipped"
    assert WORDING.language("acme", ["fr", "de"]) == "de"
    assert WORDING.language("acme", ["fr"]) == "en"
    assert languages_of("fr;q=0.3, de-AT, *;q=0, en;q=x") == ["de", "fr"]


def test_without_a_bundle_names_are_made_readable():
    bare = Wording(None)
    assert bare.event("goods.issued", "acme", "en") == "Goods issued"
    shipment = Key("acme", "shipment", "SHP-1001")
    assert bare.status("at_pickup", shipment, "en") == "At pickup"
    assert readable("") == "Unknown"
    assert role("NEW_ROLE") == "NEW ROLE"


def test_amounts_and_quantities_are_exact():
    charge = approved("charge.posted", amount=12_500_000, currency="EUR", document="C-1")
    assert only(charge).amount == "1250.00 EUR"
    assert only({**charge, "amount": 1_2345}).amount == "1.2345 EUR"
    some = {"value": 12_500_000, "unit": "PCE", "basis": "DELTA", "completeness": "PARTIAL"}
    assert only(approved(quantity=some)).quantity == "12.5 pieces, partial"


@pytest.mark.parametrize(
    ("zone", "offset", "shown", "name"),
    [
        ("America/Chicago", -300, "04:00", "CST"),
        (None, -300, "05:00", "UTC-5"),
        (None, 330, "15:30", "UTC+5:30"),
        ("Nowhere/None", None, "10:00", "UTC"),
        ("America/Sao_Paulo", None, "07:00", "UTC-3"),
    ],
)
def test_a_time_is_what_the_clocks_of_the_place_show(zone, offset, shown, name):
    at = moment(T0, zone, offset, "MINUTE")
    assert (clock(at), zone_name(at)) == (shown, name)
    assert milliseconds(at.at) == T0


def test_what_happened_at_no_place_is_told_on_the_clocks_where_it_begins():
    accepted = only(approved("carrier.accepted", stop=None, occurred_offset_minutes=0))
    assert (clock(accepted.current.occurred), accepted.current.occurred.zone) == (
        "04:00",
        "America/Chicago",
    )


def test_a_time_that_is_only_a_day_shows_no_hour():
    assert clock(moment(T0, None, None, "DAY")) == ""


def test_the_timeline_is_newest_first_by_day_with_gaps_below_what_skipped_them():
    told = tell(
        approved("pickup.arrived", 1, occurred=T0 - 20 * HOUR),
        approved(seq=2, skipped=["goods.issued"]),
    )
    shown = days(told.milestones, told.missing)
    assert [day.title for day in shown] == ["Tuesday, 4 November 2025", "Monday, 3 November 2025"]
    assert [
        entry.milestone.label if entry.milestone else entry.gap.label for entry in shown[0].entries
    ] == ["Shipped", "Left the warehouse"]


def test_a_place_is_its_town_else_whatever_is_known():
    place = {
        "name": "Terminal",
        "city": None,
        "subdivision": None,
        "country": "US",
        "location": "T1",
        "stop": None,
        "role": None,
    }
    assert town(views.Place(**place)) == "Terminal"
    assert town(views.Place(**place | {"name": None})) == "T1"
    assert town(None) == ""


def test_an_order_and_a_transport_are_cancelled_each_in_its_own_words():
    order, shipment = (Key("acme", kind, "1") for kind in ("order", "shipment"))
    assert WORDING.status("cancelled", order, "en") == "Order cancelled"
    assert WORDING.status("cancelled", shipment, "en") == "Transport cancelled"


def test_what_is_done_in_part_has_a_name_in_every_language():
    shipment = Key("acme", "shipment", "1")
    assert WORDING.status("partially_delivered", shipment, "en") == "Partially delivered"
    assert WORDING.status("partially_delivered", shipment, "de") == "Teilweise zugestellt"
    assert WORDING.status("partially_delivered", shipment, "fr") == "Partially delivered"


def test_a_cancellation_is_told_also_where_the_status_is_further_on():
    cancel = approved("shipment.cancelled", 2, status_after="goods_issued")
    issued = approved("goods.issued", 1, status_after="goods_issued")

    told = tell(issued, cancel, status="goods_issued")
    assert (told.status.label, told.cancelled.label) == (
        "Left the warehouse",
        "Transport cancelled",
    )
    assert not told.after_cancel

    back = approved("shipment.cancelled", 3, revision=2, action="RETRACT")
    assert tell(issued, cancel, back).cancelled is None


def test_what_moved_after_the_cancellation_is_marked_as_long_as_it_stands():
    moved = approved(flags=["after_cancel"])
    assert tell(moved).after_cancel
    assert not tell(moved, approved(seq=2, revision=2, action="RETRACT")).after_cancel


def test_who_took_it_back_is_told_and_that_nobody_did():
    stated = approved()
    back = approved(
        seq=2, revision=2, action="RETRACT", reason="retracted_by_author", platform="ops-desk"
    )
    told = only(stated, back).taken_back
    assert (told.by.platform, told.at) == ("ops-desk", utc(T0 + 1))
    assert only(stated).taken_back is None

    moved = approved(seq=2, revision=2, action="RETRACT", reason="stop_changed")
    told = only(stated, moved).taken_back
    assert told.by is None
    assert told.reason_text == "A later stop list shows that it was at another stop"


def test_a_person_is_named_to_staff_only():
    desk = {"platform": "ops-desk", "role": "OPS_DESK", "stated_by": "Ana", "remark": "by phone"}
    stated = approved(**desk, repaired_by="Ben")

    to_customer = tell(stated).milestones[0].current
    assert to_customer.by.role_label == "Operations desk"
    assert (to_customer.by.person, to_customer.by.remark, to_customer.repaired_by) == (None,) * 3
    assert to_customer.repaired

    to_staff = tell(stated, staff=True).milestones[0].current
    assert (to_staff.by.person, to_staff.by.remark) == ("Ana", "by phone")
    assert to_staff.repaired_by == "Ben"


def test_a_split_shipment_names_its_parts_and_they_name_it():
    parts = [entity_key("acme", "shipment", name) for name in ("SHP-1001-A", "SHP-1001-B")]
    known = {Key("acme", "shipment", "SHP-1001-A"): head_of("SHP-1001-A", "shipped")}
    split = approved("shipment.changed", 2, shipments=parts, document="V2")

    told = tell(approved(), split, linked=known)
    assert [(link.id, link.status_label) for link in told.split_into] == [
        ("SHP-1001-A", "Shipped"),
        ("SHP-1001-B", ""),
    ]
    assert told.milestones[1].split_into == ["SHP-1001-A", "SHP-1001-B"]
    assert [link.id for link in tell(approved(), parents=[head_of("SHP-1000")]).part_of] == [
        "SHP-1000"
    ]

    back = approved("shipment.changed", 3, revision=2, action="RETRACT", shipments=parts)
    assert tell(approved(), split, back).split_into == []


def test_a_number_that_is_used_again_begins_another_story():
    first = approved("delivered", 1, name="first", status_after="delivered")
    second = approved("departed", 2, generation=2, status_after="shipped")

    told = tell(first, second, status="shipped")
    assert [item.event_type for item in told.milestones] == ["departed"]
    assert [item.event_type for item in told.earlier] == ["delivered"]
    assert [stop.milestone for stop in told.stops] == ["Shipped", None]


def test_a_corrected_quantity_keeps_what_it_was():
    def counted(value, **changes):
        quantity = {"unit": "C62", "basis": "DELTA", "completeness": "COMPLETE"}
        return approved(quantity=quantity | {"value": value * 1_000_000}, **changes)

    item = only(counted(40), counted(38, seq=2, revision=2))
    assert item.previous[0].quantity == "40 pieces, complete"
    assert former(item).values == ["40 pieces, complete"]


def test_what_was_taken_back_stays_where_it_was_in_the_timeline():
    later = approved(seq=2, revision=2, action="RETRACT", occurred=T0 + 30 * HOUR)
    [day] = days([only(approved(), later)], [])
    assert happened(day.entries[0].milestone).at == utc(T0)
