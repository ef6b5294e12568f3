"""`milepost transactions`: what stays open, and how it is ended."""

import pytest

from pipeline.operations import aborting
from pipeline.operations.aborting import Hanging, NotAbortedError
from pipeline.operations.markers import Owner

pytestmark = pytest.mark.kafka
OPEN = Hanging("t", 3, 7, Owner(1, 0, 0, 7), "milepost-governor-0", "Ongoing")
DECIDED = OPEN._replace(state="PrepareCommit")


@pytest.fixture
def hanging(monkeypatch):
    """What stays open, and what was done about it."""
    found, done = [], []

    def abort(_settings, _bootstrap, one):
        if not one.safe:
            raise NotAbortedError("a commit may be decided")
        done.append(one)

    monkeypatch.setattr(aborting, "hanging", lambda *_: found)
    monkeypatch.setattr(aborting, "abort", abort)
    return found, done


def test_a_stack_without_any(governed, milepost, hanging):
    told = milepost("transactions", "list")
    assert (told.code, told.out) == (0, "No transaction stays open.\n")


def test_one_that_stays_open_is_told_with_its_owner(governed, milepost, hanging):
    hanging[0].append(OPEN)
    told = milepost("transactions", "list")
    assert told.code == 1
    assert "t[3] from offset 7: milepost-governor-0, last Ongoing" in told.out
    (one,) = milepost("transactions", "list", "--json").document["transactions"]
    assert (one["partition"], one["state"], one["safe"]) == (3, "Ongoing", True)


def test_an_abort_is_shown_before_it_is_done(governed, milepost, hanging):
    found, done = hanging
    found.append(OPEN)
    told = milepost("transactions", "abort", "t:3")
    assert (told.code, done) == (0, [])
    assert "--go does it" in told.out
    told = milepost("transactions", "abort", "t:3", "--go")
    assert (told.code, done) == (0, [OPEN])


def test_a_commit_that_may_be_decided_is_left_alone(governed, milepost, hanging):
    found, done = hanging
    found.append(DECIDED)
    told = milepost("transactions", "abort", "t:3", "--go")
    assert (told.code, done) == (1, [])
    assert "left alone: a commit may be decided" in told.out


def test_a_partition_where_nothing_hangs(governed, milepost, hanging):
    assert milepost("transactions", "abort", "t:4", "--go").code == 1


@pytest.mark.parametrize("place", ["t", "t:x", ":3"])
def test_what_is_no_place_is_wrong_use(governed, milepost, hanging, place):
    assert milepost("transactions", "abort", place).code == 2
