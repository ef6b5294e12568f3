"""The simulation can fail: each worker that is broken on purpose is found out."""

from __future__ import annotations

import contextlib
from unittest import mock

import pytest
from broken_workers import BROKEN

from pipeline.testing.simulation.audit import INVARIANTS
from pipeline.testing.simulation.campaign import run

SEEDS_MAX = 500
"""Within which each is found."""


@contextlib.contextmanager
def broken(what):
    with contextlib.ExitStack() as exchanged:
        for owner, name, other in BROKEN[what]:
            exchanged.enter_context(mock.patch.object(owner, name, other))
        yield


def first_found():
    return next(filter(lambda outcome: outcome.invariant, map(run, range(SEEDS_MAX))), None)


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_worker_is_found_out(what):
    with broken(what):
        found = first_found()
    assert found is not None, f"{SEEDS_MAX} seeds did not notice that {what}"
    assert found.invariant in INVARIANTS
    assert run(found.seed).invariant == "", "whole again"


def test_a_seed_that_failed_fails_again_in_the_same_way():
    with broken("a link is dropped"):
        found = first_found()
        again = run(found.seed, trace=True)
    assert again._replace(trace=()) == found
    assert again.trace
