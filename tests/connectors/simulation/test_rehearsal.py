import pytest
from rehearsal import BUNDLE, old_shown

from connectors.simulation.after import governed_portal
from connectors.simulation.shown import measure
from connectors.simulation.traffic import MARKS


@pytest.fixture(scope="module")
def before(rehearsal_traffic):
    return measure(rehearsal_traffic.world, old_shown(rehearsal_traffic))


@pytest.fixture(scope="module")
def after(rehearsal_traffic, rehearsed):
    world = rehearsal_traffic.world
    return measure(world, governed_portal(world, BUNDLE, rehearsed.approved))


@pytest.mark.parametrize("mark", sorted(MARKS))
def test_statements_of_each_fault_end_as_they_should(rehearsed, mark):
    ended = rehearsed.fates[mark]
    assert ended, f"no statement carries the fault {mark}: choose another seed"
    assert set(ended) <= {(fate, str(reason)) for fate, reason in MARKS[mark].meets}


def test_no_honest_statement_ends_in_the_dead_letter(rehearsed):
    assert "dead_lettered" not in {fate for fate, _ in rehearsed.fates[""]}


def test_nothing_is_left_waiting_once_the_run_has_settled(rehearsed):
    assert rehearsed.followed.open_claims == 0


def test_revisions_have_no_gap_and_no_repeat(rehearsed):
    told = {}
    for record in rehearsed.approved:
        assert record["revision"] == told.get(record["milestone_id"], 0) + 1
        told[record["milestone_id"]] = record["revision"]


def test_what_was_shown_wrong_before_is_shown_right_after(before, after):
    assert before.contradictions > 100
    assert before.premature_shipped > 50
    assert before.premature_delivered > 20
    assert before.double_postings > 100
    assert after.premature_delivered == 0
    assert after.contradictions < 5


def test_a_status_never_goes_backwards_without_a_word(before, after):
    assert before.backwards > 0
    assert after.backwards == 0


def test_what_stays_wrong_is_only_what_the_owner_itself_never_corrected(rehearsal_traffic, after):
    assert after.contradictions == rehearsal_traffic.faults()["owner_mistaken"]
