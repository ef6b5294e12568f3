"""The checks of a campaign can go red: each is given what it must not pass."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import truth
from bookings import Bookings
from sqlalchemy import create_engine

from connectors.sinks.outbox_tables import ENTRIES, METADATA
from pipeline.contract import names

TOPIC = "logistics.replay.v1"


def lost(topic, partition, offset, rule="lost"):
    return SimpleNamespace(rule=rule, topic=topic, partition=partition, offset=offset)


def arena_that_verifies(*violations):
    arena = MagicMock()
    arena.lost = {(TOPIC, 1, 7)}
    arena.verify.return_value.violations = list(violations)
    return arena


def test_what_retention_took_must_be_reported():
    assert list(truth.verified(arena_that_verifies(lost(TOPIC, 1, 7)))) == []
    (wrong,) = truth.verified(arena_that_verifies())
    assert str((TOPIC, 1, 7)) in wrong


@pytest.mark.parametrize("other", [lost(TOPIC, 1, 8), lost(TOPIC, 1, 7, rule="tiling")])
def test_nothing_else_may_be_reported(other):
    assert len(list(truth.verified(arena_that_verifies(lost(TOPIC, 1, 7), other)))) == 1


class FakeBooks:
    def __init__(self, postings, **counts):
        self._postings, self._counts = postings, counts

    def postings(self):
        return self._postings

    def summary(self):
        return (
            dict.fromkeys(("double_postings", "double_effects", "out_of_order"), 0) | self._counts
        )


class FakeBookings(Bookings):
    """Has due what it is told."""

    def __init__(self, *due):
        self._due = {effect(key) for key in due}

    def due(self):
        return self._due

    def allowed(self):
        return set()

    def booked(self, postings):
        return {effect(posting["key"]) for posting in postings}


def effect(key):
    return (key, "goods-issue"), key.encode()


@pytest.fixture
def check(monkeypatch, tmp_path):
    """What is wrong with an ERP: what is due, what it booked, and what the outbox says is done."""
    monkeypatch.setattr(truth, "SETTLE_S", 0)
    monkeypatch.setattr(truth.tempfile, "tempdir", str(tmp_path))
    (tmp_path / "state" / "erp").mkdir(parents=True)
    (tmp_path / "sink.log").write_text("all it said")
    engine = create_engine("sqlite://")
    METADATA.create_all(engine)
    arena = MagicMock(erp_url="")
    arena.settings.state_dir = tmp_path / "state"
    arena.erp_sink.log_file, arena.erp_sink.running = tmp_path / "sink.log", True
    arena.erp_sink.said.return_value = "its last words"
    arena.witness.next = {(names.APPROVED, number): 8 for number in range(truth.PARTITIONS)}

    def wrong(due, booked, done, **counts):
        books = FakeBooks([{"key": key} for key in booked], **counts)
        monkeypatch.setattr(truth, "Books", lambda _url: books)
        with engine.begin() as connection:
            for number, key in enumerate(done):
                row = {column.name: 0 for column in ENTRIES.columns}
                row |= {"id": number + 1, "key": key, "state": "DONE", "reason": "", "words": ""}
                connection.execute(ENTRIES.insert().values(row))
        arena.witness.bookings = FakeBookings(*due)
        return list(truth._erp(arena, engine))

    yield wrong
    engine.dispose()


def test_an_erp_that_booked_what_is_due_passes(check):
    assert check({"a"}, ["a"], ["a"]) == []


def test_a_posting_that_the_outbox_knows_nothing_of_is_found_out(check):
    (wrong,) = check({"a"}, ["a"], [])
    assert "booked but not done" in wrong


def test_a_sink_that_never_read_a_record_is_found_out(check):
    assert any("are due and not booked" in wrong for wrong in check({"a"}, [], []))


def test_what_the_sink_did_is_told_and_kept(check, tmp_path):
    not_yet, missing = check({"a"}, [], [])
    assert "has read up to [] of [8, 8, 8, 8]" in not_yet
    assert "its last words" in not_yet
    assert "a goods-issue: no entry" in missing
    (kept,) = tmp_path.glob("erp-of-a-campaign-*")
    assert str(kept) in not_yet
    assert (kept / "sink.log").read_text() == "all it said"


def test_a_campaign_without_any_posting_shows_nothing(check):
    assert any("no posting is due" in wrong for wrong in check(set(), [], []))


def test_a_posting_that_nobody_approved_is_found_out(check):
    assert any("are booked and not due" in wrong for wrong in check({"a"}, ["a", "b"], ["a", "b"]))


def test_a_posting_that_came_twice_is_found_out(check):
    wrong = check({"a"}, ["a"], ["a"], double_postings=1)
    assert wrong == ["the ERP counts 1 double postings"]
