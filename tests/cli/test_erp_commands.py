"""`milepost erp`: what a person is told about the outbox, and what is refused."""

import pytest

from connectors.sinks import outbox_desk
from connectors.sinks.booking import DecisionError


@pytest.fixture(autouse=True)
def empty_outbox(tmp_path, monkeypatch):
    monkeypatch.delenv("MILEPOST_ERP_DATABASE_URL", raising=False)
    monkeypatch.setenv("MILEPOST_STATE_DIR", str(tmp_path))


def test_an_outbox_that_no_sink_has_used_says_how_to_start_one(milepost):
    told = milepost("erp", "status")
    assert told.code == 0
    assert "`milepost run sink erp`" in told.out
    assert "postings   none" in told.out


def test_no_postings_are_told_in_words(milepost):
    told = milepost("erp", "entries")
    assert (told.code, told.out) == (0, "")
    assert "No postings" in told.err


def test_an_endpoint_is_paused_and_resumed(milepost):
    assert (
        "paused until 2099-01-01"
        in milepost("erp", "pause", "postings", "--until", "2099-01-01", "--why", "maintenance").out
    )
    assert "postings is paused" in milepost("erp", "status").out
    assert milepost("erp", "pause", "postings", "--until", "2020-01-01").out == (
        "postings is resumed.\n"
    )


def test_an_endpoint_that_no_rule_names_is_refused_with_those_that_are(milepost):
    told = milepost("erp", "pause", "posting", "--until", "2099-01-01")
    assert told.code == 2
    assert "choose postings" in told.err


@pytest.mark.parametrize("entry", ["7", "9" * 30, "²", "no-such-key"])
def test_an_unknown_entry_is_told_with_where_to_look(milepost, entry):
    told = milepost("erp", "release", entry)
    assert told.code == 1
    assert "`milepost erp entries`" in told.err


def test_a_decision_that_comes_too_late_is_told(milepost, monkeypatch):
    def too_late(*_):
        raise DecisionError("key is DONE: only WAITING or PARKED can be released")

    monkeypatch.setattr(outbox_desk, "release", too_late)
    told = milepost("erp", "release", "1")
    assert (told.code, told.err) == (1, "key is DONE: only WAITING or PARKED can be released\n")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("nonsense", "is no URL of a database"),
        ("nosuch://host/name", "has to name a SQLite or PostgreSQL database"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_with_its_setting(milepost, monkeypatch, url, why):
    monkeypatch.setenv("MILEPOST_ERP_DATABASE_URL", url)
    told = milepost("erp", "status")
    assert told.code == 2
    assert f"MILEPOST_ERP_DATABASE_URL {why}" in told.err


def test_a_folder_that_cannot_be_made_is_told(milepost, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MILEPOST_ERP_DATABASE_URL", f"sqlite:///{tmp_path}/file/outbox.sqlite")
    told = milepost("erp", "status")
    assert told.code == 3
    assert "correct MILEPOST_ERP_DATABASE_URL" in told.err
