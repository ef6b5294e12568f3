"""Whatever goes wrong in a campaign is told under its name, and there is a report of it."""

from __future__ import annotations

import sys
from collections import Counter
from unittest.mock import MagicMock

import campaign
import httpx
import pytest
import truth
from campaign import Campaign
from confluent_kafka import KafkaError, KafkaException
from fault_table import Fault

from pipeline.local.faults import StartError

FAILURES = [
    AssertionError("it stays undecided"),
    KafkaException(KafkaError(KafkaError._TRANSPORT)),
    StartError("the broker could not be started"),
    httpx.ConnectError("refused"),
]


def nothing(_arena, _roll):
    """A fault that does no harm."""


def failing(error):
    def act(_arena, _roll):
        raise error

    return act


@pytest.fixture
def arena(monkeypatch):
    """Stands in for an arena in which all is well."""
    made = MagicMock()
    made.witness.anomalies = []
    made.witness.pause_s.return_value = 0.0
    made.unasked.return_value = []
    made.exits, made.left, made.waits_ms = Counter(), Counter(), {"good ones": [7, 9]}
    made.stack.brokers = [None]
    monkeypatch.setattr(campaign, "begin_to_idle", lambda _arena: None)
    monkeypatch.setattr(campaign, "taken", lambda _arena: None)
    monkeypatch.setattr(truth, "CHECKS", ())
    return made


@pytest.fixture
def run(arena, monkeypatch, tmp_path):
    """Runs the command on some faults; its exit code and its report."""
    report = tmp_path / "reports" / "faults.md"

    def command(*faults, begin=lambda: arena):
        def begun(seed, *_):
            return Campaign(seed, begin(), list(faults))

        monkeypatch.setattr(campaign, "begun", begun)
        told = ["--brokers", "1", "--minutes", "1", "--most", "1", "--report", str(report)]
        monkeypatch.setattr(sys, "argv", ["campaign.py", *told])
        monkeypatch.setattr(campaign.logging, "disable", lambda _level: None)
        return campaign.main(), report.read_text()

    command.report = report
    return command


def test_a_campaign_in_which_all_goes_well_says_so(run):
    code, report = run(Fault("one", 1, 1, nothing))
    assert code == 0
    assert "Nothing was wrong." in report
    assert "| good ones | 2 | 8 | 9 |" in report


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_a_fault_that_fails_in_whatever_way_is_told_by_its_name(run, error):
    happened = []
    other = Fault("the other", 1, 1, lambda *_: happened.append("the other"))
    code, report = run(Fault("the first", 1, 1, failing(error)), other)
    assert code == 1
    assert f"- the first: {truth.described(error)}" in report
    assert happened == ["the other"]


def test_an_end_that_nobody_asked_for_is_told_by_the_fault_after_which_it_was_seen(run, arena):
    arena.unasked.side_effect = lambda caused: [] if 75 in caused else ["a sink ended with 1"]
    leaves = Fault("may leave", 1, 1, nothing, ends=frozenset({75}))
    code, report = run(leaves, Fault("may not", 1, 1, nothing))
    assert code == 1
    assert "- may not: a sink ended with 1" in report
    assert "- may leave" not in report


def test_a_check_that_breaks_off_is_wrong_itself_and_hides_no_other(run, monkeypatch):
    def breaks_off(_arena):
        yield "the first finding"
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    monkeypatch.setattr(truth, "CHECKS", (breaks_off, lambda _arena: ["the second finding"]))
    code, report = run(Fault("one", 1, 1, nothing))
    assert code == 1
    assert "- the first finding" in report
    assert "- the check of breaks off: KafkaException" in report
    assert "- the second finding" in report


def test_what_can_t_be_healed_is_told(run, arena):
    arena.heal.side_effect = StartError("no broker any more")
    code, report = run(Fault("one", 1, 1, nothing))
    assert code == 1
    assert "- one: StartError: no broker any more" in report
    assert "- after one: StartError: no broker any more" in report


def test_an_arena_that_does_not_begin_has_a_report(run):
    def begin():
        raise StartError("no room")

    code, report = run(Fault("one", 1, 1, nothing), begin=begin)
    assert code == 1
    assert "It did not begin: StartError: no room" in report


def test_who_cuts_it_short_gets_a_report_that_says_so(run):
    with pytest.raises(KeyboardInterrupt):
        run(Fault("one", 1, 1, failing(KeyboardInterrupt())))
    assert campaign.CUT_SHORT in run.report.read_text()
    assert "Nothing was wrong." not in run.report.read_text()
