"""A campaign that can't go red proves nothing: broken engines are found out by the same checks."""

from __future__ import annotations

import logging
import re

import pytest
from trial import TRIALS, WHOLE, Trial

pytestmark = [pytest.mark.kafka, pytest.mark.fault]
HOLE_OR_DOUBLE = re.compile(r"block \d+ came where|was decided about twice|was published twice")


@pytest.fixture(scope="module")
def arena():
    logging.disable(logging.CRITICAL)  # clients complain about every fault
    made = Trial(seed=1)
    yield made
    made.close()
    logging.disable(logging.NOTSET)


@pytest.fixture
def trial(arena):
    arena.renew()
    return arena


@pytest.mark.parametrize("engine", TRIALS)
def test_a_broken_engine_is_found_out(trial, engine):
    TRIALS[engine](trial, engine)
    wrong = trial.found_out()
    assert any(map(HOLE_OR_DOUBLE.search, wrong)), wrong


@pytest.mark.parametrize("goes", dict.fromkeys(TRIALS.values()), ids=lambda goes: goes.__name__)
def test_a_whole_engine_passes_the_same_trial(trial, goes):
    """No trial is red by what happens in it alone."""
    goes(trial, WHOLE)
    assert trial.sound() == []
