from rehearsal import BUNDLE, deliveries_booked, old_shown, rehearse, told

from connectors.simulation import outcome
from connectors.simulation.explain import contested
from connectors.simulation.follow import Followed, Judged
from connectors.simulation.publish import Sent
from connectors.simulation.tellers import KINDS
from connectors.simulation.traffic import Sending, Traffic, compose
from connectors.simulation.world import HOUR_MS
from pipeline.kafka.clients import Position

RAW = "logistics.raw.tms-na.v1"
APPROVED = ("approved", "owner_spoke")


def judged(*offsets):
    found = Followed()
    for seq, offset in enumerate(offsets):
        found.judged[0, seq] = Judged((RAW, 0, offset), b"", APPROVED, APPROVED)
    return found


def sent(traffic, *offsets):
    sending: Sending = traffic.sendings[0]
    return [Sent(sending, Position(RAW, 0, offset)) for offset in offsets]


def revision(milestone, number, entity_seq):
    return {
        "milestone_id": milestone,
        "revision": number,
        "tenant": "acme",
        "entity_type": "shipment",
        "entity_id": "S1",
        "entity_seq": entity_seq,
    }


def test_conservation_is_kept_if_each_record_sent_has_one_decision(rehearsal_traffic):
    assert outcome.conservation(sent(rehearsal_traffic, 0, 1), judged(0, 1)).kept


def test_conservation_is_broken_by_a_record_without_a_decision(rehearsal_traffic):
    broken = outcome.conservation(sent(rehearsal_traffic, 0, 1), judged(0))
    assert not broken.kept
    assert "1 without a decision" in broken.detail


def test_conservation_is_broken_by_a_second_decision(rehearsal_traffic):
    assert not outcome.conservation(sent(rehearsal_traffic, 0), judged(0, 0)).kept


def test_once_is_kept_by_gapless_revisions_and_stories():
    assert outcome.once([revision("a", 1, 1), revision("b", 1, 2), revision("a", 2, 3)]).kept


def test_once_is_broken_by_a_repeat_a_gap_or_a_wrong_order():
    repeated = [revision("a", 1, 1), revision("a", 1, 2)]
    gap = [revision("a", 1, 1), revision("a", 3, 2)]
    disorder = [revision("a", 1, 2), revision("b", 1, 1)]
    assert not any(outcome.once(records).kept for records in (repeated, gap, disorder))


def test_the_erp_booked_once_only_without_double_keys_and_double_effects():
    books = {"postings": 9, "double_postings": 0, "double_effects": 0}
    assert outcome.booked_once(books).kept
    assert not outcome.booked_once(books | {"double_postings": 1}).kept
    assert not outcome.booked_once(books | {"double_effects": 1}).kept


def test_verify_must_be_clean_and_have_seen_everything():
    report = {"clean": True, "pending": 0, "records": 1, "blocks": 1, "violations": []}
    assert outcome.verified(report).kept
    assert not outcome.verified(report | {"pending": 2}).kept
    assert not outcome.verified(report | {"clean": False}).kept


def test_the_histogram_counts_every_latency_once():
    found = judged(0, 1, 2, 3)
    found.waits = [((0, 0), 5), ((0, 1), 15), ((0, 2), 150), ((0, 3), 90_000)]
    rows = outcome.latency_histogram(found)
    assert sum(count for _, count in rows) == 4
    assert rows[:2] == [(10, 1), (20, 1)]
    assert rows[-1] == (90_001, 1)


def test_the_same_seed_has_the_same_fingerprint_whenever_it_runs():
    now = compose(5, 1_790_000_000_000, events=600)
    later = compose(5, 1_790_000_000_000 + 51 * HOUR_MS, events=600)
    first, second = (
        outcome.fingerprint(item.world, BUNDLE, rehearse(item).approved) for item in (now, later)
    )
    assert first == second


def test_the_fingerprint_does_not_depend_on_how_inputs_were_interleaved():
    traffic = compose(5, 1_790_000_000_000, events=600)
    by_platform = sorted(
        traffic.sendings, key=lambda item: (item.at_s // 3, item.statement.platform)
    )
    mixed = Traffic(traffic.world, tuple(by_platform))
    first, second = (
        outcome.fingerprint(item.world, BUNDLE, rehearse(item).approved)
        for item in (traffic, mixed)
    )
    assert first == second


def test_another_seed_has_another_fingerprint(rehearsal_traffic, rehearsed):
    other = compose(5, 1_790_000_000_000, events=600)
    assert outcome.fingerprint(
        rehearsal_traffic.world, BUNDLE, rehearsed.approved
    ) != outcome.fingerprint(other.world, BUNDLE, rehearse(other).approved)


def test_one_shipment_of_each_kind_of_contest_is_told(rehearsal_traffic, rehearsed):
    kinds = [item.about for item in told(rehearsal_traffic, rehearsed)]
    assert kinds == [kind.about for kind in KINDS]


def test_a_contest_tells_who_said_what_and_whose_word_stands(rehearsal_traffic, rehearsed):
    for item in told(rehearsal_traffic, rehearsed):
        assert sum(said.stands for said in item.said) == 1, item.about
        assert item.before != item.after, item.about
        assert item.label in item.after


def contest(about, rehearsal_traffic, rehearsed):
    return next(item for item in told(rehearsal_traffic, rehearsed) if item.about == about)


def test_a_correction_and_a_retraction_show_what_stood_and_what_stands(
    rehearsal_traffic, rehearsed
):
    corrected = contest("a correction", rehearsal_traffic, rehearsed)
    assert "got an adjustment" in corrected.sentence
    assert "corrected" in [said.stood for said in corrected.said]
    retracted = contest("a retraction", rehearsal_traffic, rehearsed)
    assert "got a reversal" in retracted.sentence
    assert "revision 3" in retracted.after
    wrong = next(said for said in retracted.said if said.stood == "taken back")
    assert not wrong.agrees


def test_a_retraction_that_the_erp_had_not_booked_yet_needs_no_reversal(
    rehearsal_traffic, rehearsed
):
    approved, old = list(rehearsed.approved), old_shown(rehearsal_traffic)
    found = contested(rehearsal_traffic, BUNDLE, approved, old, [])
    item = next(item for item in found if item.about == "a retraction")
    assert "nothing had to be reversed" in item.sentence


def test_a_reference_shows_what_waited_and_where_it_went(rehearsal_traffic, rehearsed):
    item = contest("a reference", rehearsal_traffic, rehearsed)
    assert f"PRO 70{item.shipment[2:]}" in item.sentence
    assert item.before.startswith("no “Delivered”")
    assert item.after.endswith("provisional")
    assert rehearsed.followed.bound > 0


def test_a_hand_over_shows_a_shipment_from_before_and_one_from_after(rehearsal_traffic, rehearsed):
    before = contest("before a hand-over", rehearsal_traffic, rehearsed)
    after = contest("after a hand-over", rehearsal_traffic, rehearsed)
    assert before.after.endswith("by tms-eu")
    assert after.after.endswith("by tms-na")


def test_what_the_erp_booked_must_be_what_stands(rehearsed):
    approved = list(rehearsed.approved)
    booked = deliveries_booked(approved)
    assert outcome.books_agree(approved, booked).kept
    never_adjusted = [item for item in booked if item["kind"] != "ADJUSTMENT"]
    assert not outcome.books_agree(approved, never_adjusted).kept
