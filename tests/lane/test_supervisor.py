"""A worker is started again, patiently and not for ever."""

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from pipeline.lane.supervisor import RestartPolicy, Restarts

QUICK = "RestartPolicy(first_s=0.01, longest_s=0.02, failures_max=4, window_s=60)"


class TestPauses:
    def test_the_first_restart_is_made_at_once_then_each_pause_is_twice_the_last(self):
        restarts = Restarts(RestartPolicy(first_s=1, longest_s=5, failures_max=99))
        assert [restarts.after(float(at), 0) for at in range(5)] == [0, 1, 2, 4, 5]

    def test_a_healthy_run_starts_the_pauses_anew(self):
        restarts = Restarts(RestartPolicy(first_s=1, longest_s=5, healthy_s=30, failures_max=99))
        ends = [(0, 0), (9, 1), (12, 1), (99, 30), (100, 1)]
        assert [restarts.after(float(at), ran) for at, ran in ends] == [0, 1, 2, 0, 1]

    def test_too_many_ends_within_the_window_are_the_last(self):
        restarts = Restarts(RestartPolicy(failures_max=3, window_s=10))
        assert restarts.after(0.0, 0) is not None
        assert restarts.after(9.0, 0) is not None
        assert restarts.after(9.5, 0) is None

    def test_ends_outside_the_window_are_forgotten(self):
        restarts = Restarts(RestartPolicy(failures_max=3, window_s=10))
        assert all(restarts.after(at, 0) is not None for at in [0.0, 9.0, 11.0, 20.0, 31.0])


COMMAND = "[sys.executable, *sys.argv[1:]]"
FUNCTION = "work"


@pytest.fixture(params=[COMMAND, FUNCTION], ids=["a command", "a function"])
def supervised(request, tmp_path):
    """Run a supervisor over a child script in a process; `S` in the child counts its starts."""
    started = []

    def start(body, stderr=subprocess.PIPE):
        child = tmp_path / "child.py"
        child.write_text(
            textwrap.dedent("""
            import os, pathlib, signal, sys, time
            mark = pathlib.Path(sys.argv[1])
            with mark.open("a") as out:
                out.write(f"{os.getpid()}\\n")
            S = len(mark.read_text().split())
            """)
            + textwrap.dedent(body)
        )
        parent = tmp_path / "parent.py"
        parent.write_text(
            "import runpy, sys\n"
            "from pipeline.lane.supervisor import RestartPolicy, supervise\n"
            "def work():\n"
            "    sys.argv = sys.argv[1:]\n"
            "    runpy.run_path(sys.argv[0])\n"
            "    return 0\n"
            f"sys.exit(supervise({request.param}, policy={QUICK}, grace_s=1))\n"
        )
        process = subprocess.Popen(
            [sys.executable, str(parent), str(child), str(tmp_path / "mark")],
            stderr=stderr,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def starts(folder, number):
    """Wait for the so-many-th start of the child; the pids."""
    end = time.monotonic() + 10
    mark = folder / "mark"
    while not mark.exists() or len(mark.read_text().splitlines()) < number:
        assert time.monotonic() < end
        time.sleep(0.01)
    return [int(line) for line in mark.read_text().split()]


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_where_nothing_can_be_written_a_worker_is_started_again_all_the_same(supervised, tmp_path):
    with Path("/dev/full").open("w") as full:
        process = supervised("sys.exit(75 if S < 3 else 0)", stderr=full)
        assert process.wait(10) == 0
    assert len(starts(tmp_path, 3)) == 3


def test_a_worker_that_left_on_purpose_is_started_again(supervised, tmp_path):
    process = supervised("sys.exit(75 if S < 3 else 0)")
    assert process.wait(10) == 0
    assert len(starts(tmp_path, 3)) == 3
    assert process.stderr.read().count("left the process on purpose (75)") == 2


def test_a_killed_worker_is_started_again(supervised, tmp_path):
    process = supervised("S < 2 and os.kill(os.getpid(), signal.SIGKILL)")
    assert process.wait(10) == 0
    assert "was ended by SIGKILL" in process.stderr.read()


def test_what_a_worker_dies_of_is_shown(supervised):
    process = supervised("raise RuntimeError('out of coffee')")
    assert process.wait(10) == 1
    assert process.stderr.read().count("RuntimeError: out of coffee") == 4


def test_it_gives_up_loudly(supervised, tmp_path):
    process = supervised("sys.exit(3)")
    assert process.wait(10) == 1
    assert len(starts(tmp_path, 4)) == 4
    assert process.stderr.read().splitlines()[-1].startswith("giving up: the worker ended 4 times")


def test_a_worker_that_cannot_run_as_configured_is_not_started_again(supervised, tmp_path):
    process = supervised("sys.exit(78)")
    assert process.wait(10) == 1
    assert len(starts(tmp_path, 1)) == 1


def test_a_stop_is_passed_on_and_no_restart_follows(supervised, tmp_path):
    process = supervised("""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        mark.with_name("ready").touch()
        time.sleep(60)
    """)
    end = time.monotonic() + 10
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert len(starts(tmp_path, 1)) == 1
    assert process.stderr.read() == ""


def test_a_worker_that_will_not_stop_is_killed_after_its_grace(supervised, tmp_path):
    process = supervised("""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        mark.with_name("ready").touch()
        time.sleep(60)
    """)
    end = time.monotonic() + 10
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 1
    assert "did not stop within 1 s and was killed" in process.stderr.read()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl is Linux's")
def test_the_worker_dies_with_its_supervisor(supervised, tmp_path):
    process = supervised("time.sleep(60)")
    pid = starts(tmp_path, 1)[0]
    process.kill()
    end = time.monotonic() + 10
    while not gone(pid):
        assert time.monotonic() < end
        time.sleep(0.02)
