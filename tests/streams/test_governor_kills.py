"""A worker that is killed again and again loses nothing and says nothing twice."""

import pytest
from governed_kills import Speaker, kill_run

pytestmark = [pytest.mark.kafka, pytest.mark.fault]


def test_four_kills_lose_nothing_and_repeat_nothing(governed):
    """Verified from the topics, by a reader who was there, and against an undisturbed run."""
    outcome = kill_run(governed, seed=31, events=1_200, kills=4, seconds=15.0)
    assert outcome.wrong == []
    assert outcome.kills == 4
    assert outcome.events >= 1_200
    assert {"approved", "held", "dead_lettered", "duplicate"} <= set(outcome.fates)


def test_what_a_busy_governor_has_written_verifies_at_any_moment(governed):
    """Each topic shows a commit a little earlier or later than the others."""
    speaker = Speaker(governed, seed=33, events=800, seconds=6.0)
    speaker.start()
    found = []
    while speaker.is_alive():
        found += map(str, governed.verify(deep=True).violations)
    governed.fates(speaker.places)
    assert found == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_kills_lose_nothing_and_repeat_nothing(patience, governed):
    outcome = kill_run(governed, seed=32, events=4_000, kills=20, seconds=70.0)
    assert outcome.wrong == []
    assert outcome.kills == 20
    assert outcome.events >= 4_000
