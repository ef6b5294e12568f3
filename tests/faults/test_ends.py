"""Every end of a process is one that somebody asked for, or it is noted with its last words."""

from __future__ import annotations

import signal
import sys
from collections import Counter

import pytest
from arena import Arena
from governed_stack import until
from running import CRASHED, KILLED, LAST, LEFT, Governor, Running

WAITS = "import time; print('begun', flush=True); time.sleep(60)"


@pytest.fixture
def ends():
    return []


@pytest.fixture
def make(tmp_path, ends):
    """Makes processes that run a line of Python; they end with the test."""
    made = []

    def new(code, kind=Running):
        argv = (sys.executable, "-c", code)
        made.append(kind("it", argv, {}, tmp_path / f"{len(made)}.log", ends))
        made[-1].group = lambda: "group"
        return made[-1]

    yield new
    for process in made:
        process.kill()


def supervised(*sentences):
    """Stands in for a supervisor that says this of its worker, and goes on."""
    said = "\n".join(f"print('the worker {s}; starting it again in 0.2 s')" for s in sentences)
    return f"import time\n{said}\nprint('begun', flush=True)\ntime.sleep(60)"


def begun(process):
    process.start()
    until(lambda: "begun" in process.said())
    process.judge()
    return process


def test_who_kills_or_stops_it_has_asked_for_that(make, ends):
    process = make(WAITS)
    process.start()
    process.kill()
    begun(process).stop()
    assert ends == []


@pytest.mark.parametrize("code", [0, 1, LEFT, 78])
def test_an_end_by_itself_is_noted_with_its_last_words(make, ends, code):
    process = make(f"print('traceback'); raise SystemExit({code})")
    process.start()
    process.wait()
    process.judge()
    process.judge()
    (end,) = ends
    assert (end.name, end.code) == ("it", code)
    assert "traceback" in end.words


def test_an_end_is_noted_although_it_was_started_again(make, ends):
    process = make("raise SystemExit(1)")
    process.start()
    process.wait()
    process.start()
    assert [end.code for end in ends] == [1]


def test_an_end_that_its_start_announced_is_none(make, ends):
    process = make(f"import os; os.kill(os.getpid(), {signal.SIGKILL.value})")
    process.start(ends={KILLED})
    assert process.wait() == KILLED
    process.judge()
    assert ends == []


def test_a_worker_that_its_supervisor_started_again_is_noted(make, ends):
    begun(make(supervised("was ended by SIGSEGV", "ended with exit code 1"), Governor))
    assert [(end.name, end.code) for end in ends] == [
        ("the worker of it", CRASHED),
        ("the worker of it", 1),
    ]


def test_a_worker_that_left_is_noted_for_the_fault_to_explain(make, ends):
    governor = begun(make(supervised("left the process on purpose (75)"), Governor))
    assert [end.code for end in ends] == [LEFT]
    assert governor.restarts == 1


def test_why_a_worker_left_is_noted_however_long_its_stacks_are(make, ends):
    why = "2026-11-29T03:00:00Z lane: leaving the process (75): watchdog: no progress in 'offsets'"
    stacks = f"print({why!r}); print('a stack' * {LAST})\n"
    begun(make(stacks + supervised("left the process on purpose (75)"), Governor))
    assert ends[0].words.startswith(why)


def test_a_kill_of_the_worker_explains_one_end(make, ends):
    governor = make(supervised("was ended by SIGKILL", "was ended by SIGKILL"), Governor)
    governor.start()
    governor._asked[KILLED] = 1
    until(lambda: "begun" in governor.said())
    governor.judge()
    assert [end.code for end in ends] == [KILLED]


def test_an_arena_tells_what_no_fault_caused_and_counts_the_rest(make, ends, monkeypatch):
    begun(make(supervised("left the process on purpose (75)", "ended with exit code 1"), Governor))
    arena = Arena.__new__(Arena)
    arena._ends, arena.left, arena.guests = ends, Counter(), {}
    monkeypatch.setattr(Arena, "processes", [])
    (told,) = arena.unasked({LEFT})
    assert "ended with 1" in told
    assert arena.left == {"the worker of it 75": 1}
    assert arena.unasked(()) == []
