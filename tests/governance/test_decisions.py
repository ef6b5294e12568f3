"""The decision table and the reference that is drawn from it, and the reasons that can be given."""

from pathlib import Path

from pipeline.governance.decisions import ACTIONS, allowed, table
from pipeline.governance.vocabulary import Action, Disposition

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "semantics.md"


def test_the_reference_shows_the_table():
    assert "\n".join(table()) in PAGE.read_text("utf-8")


def test_every_disposition_is_in_the_table():
    assert {after for before, after in ACTIONS if not before} == set(Disposition)


def test_a_dead_letter_publishes_nothing():
    assert allowed("held", "dead_lettered") == {None}


def test_only_an_owner_confirms():
    assert Action.CONFIRM not in allowed("held", "provisional")


def test_what_was_dead_lettered_stays_so():
    assert not allowed("dead_lettered", "approved")
