"""`milepost explain`: a word of Milepost's in a sentence, with whose turn it is; without Kafka."""

import pytest

from pipeline.governance.alerts import AlertKind
from pipeline.governance.reasons import Reason
from pipeline.governance.vocabulary import Action, Change, Disposition

WRITTEN = [action for action in Action if action != Action.UNRECOGNISED]


@pytest.mark.parametrize("word", [*Reason, *AlertKind])
def test_everything_that_can_be_given_is_explained_in_eighty_columns(milepost, word):
    told = milepost("explain", word)
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith(word)
    assert max(map(len, told.out.splitlines())) <= 80
    assert "to do" in told.out or word == AlertKind.PLATFORM_RELEASED


def test_a_reason_says_what_it_means_whose_turn_it_is_and_what_to_do(milepost):
    told = milepost("explain", "unmapped_status")
    assert told.out.startswith("unmapped_status: The dialect does not map this native status.\n")
    assert "  found at     dialect: dead_lettered\n" in told.out
    assert "  turn of      the policy's owner\n" in told.out
    assert "class CONFIG; sending it again can help" in told.out
    assert "begin with   milepost dead-letters replay --reason unmapped_status" in told.out
    assert "shown by     tests/scenarios/case-19-poison.yaml:" in told.out


def test_a_word_that_is_a_reason_and_an_alert_is_explained_as_both(milepost):
    document = milepost("explain", "reference_conflict", "--json").document
    assert document["reason"]["retryable"] is True
    assert document["alert"]["severity"] == "WARNING"
    assert document["scenarios"][0]["file"].startswith("tests/scenarios/case-14")


def test_an_alert_says_what_to_do(milepost):
    told = milepost("explain", "dead_letter_brake")
    assert "dead_letter_brake, an alert: Most of what a platform sends" in told.out
    assert "severity     CRITICAL" in told.out


def test_without_a_word_all_are_listed(milepost):
    told = milepost("explain")
    assert told.code == 0
    assert "owner_spoke" in told.out
    assert "built_on_retracted" in told.out
    assert max(map(len, told.out.splitlines())) <= 80
    listed = milepost("explain", "--json").document
    names = {kind: {row["name"] for row in rows} for kind, rows in listed.items()}
    assert names["reasons"] == {*Reason, *AlertKind}
    assert names["dispositions"] == {*Disposition, *Change}
    assert names["actions"] == set(WRITTEN)


@pytest.mark.parametrize("word", [*Disposition, *Change, *WRITTEN])
def test_every_fate_and_every_action_is_explained_in_eighty_columns(milepost, word):
    told = milepost("explain", word)
    assert (told.code, told.err) == (0, "")
    kind = "an action" if word in WRITTEN else "a disposition"
    assert told.out.startswith(f"{word}, {kind}: ")
    assert max(map(len, told.out.splitlines())) <= 80


def test_a_disposition_says_where_a_claim_leaves_with_it_and_what_it_may_publish(milepost):
    told = milepost("explain", "held")
    assert "  found at     conflict: awaiting_owner\n" in told.out
    told = milepost("explain", "provisional")
    assert "  may publish  ASSERT or CORRECT\n" in told.out
    assert "  may publish  nothing\n" in milepost("explain", "stale").out


def test_an_action_says_which_fates_publish_it_however_it_is_written(milepost):
    told = milepost("explain", "confirm")
    assert told.out.startswith("CONFIRM, an action: The owner says what its deputy had said.\n")
    assert "published by read → approved, held → approved, provisional → confirmed\n" in told.out


def test_a_word_that_is_none_of_them_is_refused_with_what_is_close(milepost):
    told = milepost("explain", "unmaped_status")
    assert (told.code, told.out) == (2, "")
    assert "; did you mean unmapped_status? `milepost explain` lists them" in told.err
    told = milepost("explain", "nonsense")
    assert told.err == (
        "'nonsense' is no reason, alert, disposition or action. `milepost explain` lists them\n"
    )
