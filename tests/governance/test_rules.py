"""The small rules beneath the cases: equality, places, tiling, policy look-ups, reasons."""

import pytest

from pipeline.contract import names
from pipeline.contract.bundle import load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.claims import adds, content, raw_event, same_time, within
from pipeline.governance.entity import Entity
from pipeline.governance.ledger import Gap, InputRange, state_digest, tile
from pipeline.governance.occurrence import Place, discriminator, place_of, plan_stops
from pipeline.governance.reasons import MEANINGS, FailureClass, Reason
from pipeline.testing.driver import TopologyDriver

POLICY = compile_policy(load_bundle())
TMS = POLICY.platforms["tms-na"]
STOP = dict.fromkeys(("number", "role", "location", "name", "city", "subdivision", "country"))
MINUTE = 60_000
DAY = 24 * 60 * MINUTE
RECEIVED = 1_767_600_000_000
AFTER = "after it was received (2026-01-05T08:00:00Z)"
FAR = "more than five years can't be meant"


def test_times_are_equal_at_the_coarser_precision():
    assert same_time(5 * MINUTE, "MINUTE", 5 * MINUTE + 32_000, "SECOND")
    assert not same_time(5 * MINUTE, "MINUTE", 6 * MINUTE, "SECOND")


def test_the_tolerance_counts_both_ways_and_to_the_millisecond():
    assert within(0, "SECOND", 30 * MINUTE, "SECOND", 30 * MINUTE)
    assert not within(30 * MINUTE + 1, "MILLISECOND", 0, "MILLISECOND", 30 * MINUTE)


def test_silence_adds_nothing_and_an_amount_of_zero_is_no_silence():
    said = content(raw_event(amount=0, currency="USD"), None)
    assert adds(said, content(raw_event(amount=5, currency="USD"), None))
    assert not adds(content(raw_event(), None), said)


def test_another_site_is_another_statement_but_the_first_word_on_it_is_not():
    assert adds(content(raw_event(), "DAL1"), content(raw_event(), "CHI1"))
    assert not adds(content(raw_event(), "DAL1"), None)


def test_the_first_visit_to_a_place_keeps_its_name():
    stops = [STOP | {"location": code} for code in ("DAL1", "C-DEN", "C-DEN")]
    assert [item.place for item in plan_stops(POLICY, TMS, "acme", stops)] == [
        "DAL1",
        "DEN1",
        "DEN1#2",
    ]


@pytest.mark.parametrize(
    ("site", "offset", "day"), [("SEA1", None, "2026-01-05"), ("NOWHERE", None, "2026-01-06")]
)
def test_an_attempt_is_of_the_local_date_at_its_stop(site, offset, day):
    at_ms = 1_767_664_800_000  # 2026-01-06T02:00Z
    body = raw_event(occurred=at_ms, stop=STOP | {"location": site})
    place = place_of(POLICY, TMS, Entity("acme/shipment/S1"), body)
    found = discriminator(
        POLICY.catalogue["delivery.refused"], body, Place(site, place.site, place.role)
    )
    assert found == f"{site}@{day}"


def test_blocks_tile_with_markers_and_what_retention_took():
    covered = tile(3, [5, 6], 9, [Gap(3, 4, retention=True)])
    assert covered == InputRange(3, 9, (Gap(3, 4, True), Gap(4, 5, False), Gap(7, 9, False)))


def test_the_state_digest_does_not_depend_on_the_order_of_changes():
    one = state_digest(state_digest(0, b"a", None, b"1"), b"b", None, b"2")
    other = state_digest(state_digest(0, b"b", None, b"2"), b"a", None, b"1")
    assert one == other
    assert state_digest(state_digest(one, b"a", b"1", None), b"b", b"2", None) == 0


def test_a_rule_of_every_region_answers_without_one():
    assert POLICY.authorities("acme", "order.released", None)
    assert POLICY.authorities("acme", "departed", None) is None
    assert POLICY.authorities("acme", "departed", "APAC") is None


def test_a_status_that_depends_on_the_role_says_so():
    carrier = POLICY.platforms["carrier-redline"]
    assert POLICY.resolve_status(carrier, "AF", None, None, None, "ACTUAL").needs_role
    meant = POLICY.resolve_status(carrier, "AF", None, None, "DELIVERY", "ACTUAL")
    assert meant.event_type == "in_transit.departed"


def test_configuration_can_always_be_tried_again():
    config = [m for m in MEANINGS.values() if m.failure is FailureClass.CONFIG]
    assert config
    assert all(meaning.retryable for meaning in config)
    assert set(MEANINGS) == set(Reason)


@pytest.mark.parametrize(
    ("occurred", "detail"),
    [
        (
            RECEIVED + 364 * DAY + 9 * 60 * MINUTE + 27_076,
            f"occurred 2027-01-04T17:00:27.076Z, 364 d 9 h {AFTER}; up to 5 min are let pass",
        ),
        (
            RECEIVED + 5 * MINUTE + 1_000,
            f"occurred 2026-01-05T08:05:01Z, 5 min 1 s {AFTER}; up to 5 min are let pass",
        ),
        (
            RECEIVED + 3_000 * DAY,
            f"occurred 2034-03-24T08:00:00Z, 3000 d {AFTER}; {FAR}",
        ),
        (
            1 << 62,
            f"occurred 4611686018427387904 ms, 53375975125 d 7 h {AFTER}; {FAR}",
        ),
        (0, "occurred 1970-01-01T00:00:00Z, tms-na's earliest is 2000-01-01T00:00:00Z"),
    ],
)
def test_a_time_that_is_refused_is_told_as_people_read_times(occurred, detail):
    driver = TopologyDriver([POLICY], start_ms=RECEIVED)
    driver.pipe(
        "logistics.raw.tms-na.v1",
        raw_event(
            event_id="e1",
            platform="tms-na",
            entity_type="shipment",
            entity_id="S1",
            native_status="DELIVERED",
            classifier="ACTUAL",
            occurred=occurred,
            occurred_precision="MILLISECOND",
        ),
    )
    (letter,) = driver.raw_records(names.DEAD_LETTER)
    assert dict(letter.headers)["milepost.dlq.detail"].decode() == detail
