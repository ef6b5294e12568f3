"""A child ends with its parent, whatever happens to the parent."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.local import processes
from pipeline.local.faults import StartError
from pipeline.local.processes import Command, Process

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(600)"  # noqa: E501


def wait_for(condition, within_s=15):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "not within time"
        time.sleep(0.02)


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        # A killed orphan may wait for init to collect it.
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return not Path("/proc").exists() or True


@pytest.fixture
def run(tmp_path):
    started = []

    def run(code, **options):
        log = tmp_path / "child.log"
        command = Command("child", (sys.executable, "-c", code), tmp_path, log, **options)
        started.append(Process(command))
        return started[-1]

    yield run
    for process in started:
        process.kill()


def test_what_a_child_writes_is_in_its_log(run):
    child = run("import sys; print('out'); print('err', file=sys.stderr)")
    wait_for(lambda: child.exit_code() == 0)
    assert {"out", "err"} <= set(child.output().split())


def test_the_exit_code_is_the_childs(run):
    child = run("raise SystemExit(7)")
    wait_for(lambda: child.exit_code() is not None)
    assert child.exit_code() == 7


def test_a_child_is_asked_to_end(run):
    code = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(3)); print('on', flush=True); time.sleep(600)"  # noqa: E501
    child = run(code)
    child.wait_until(lambda: "on" in child.output(), 15)
    child.stop()
    assert child.exit_code() == 3


def test_a_child_that_does_not_end_is_killed(run):
    child = run(STUBBORN, grace_s=0.2)
    child.wait_until(lambda: "on" in child.output(), 15)
    child.stop()
    assert child.exit_code() == 128 + signal.SIGKILL
    assert is_gone(child.pid)


HELD_UP = """
import os, runpy, signal, sys
def setpgid(child, group, real=os.setpgid):
    if not child:
        os.kill(os.getpid(), signal.SIGSTOP)
    real(child, group)
os.setpgid = setpgid
runpy.run_path({guard!r}, run_name="__main__")
"""
"""A guard whose child stops on its way to the command, before it has made a group of its own."""


def has_pending(pid, number):
    status = Path(f"/proc/{pid}/status").read_text()
    pending = re.search(r"^ShdPnd:\s*(\w+)", status, re.MULTILINE)[1]
    return bool(int(pending, 16) >> (number - 1) & 1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which signals are pending")
def test_a_child_that_is_not_its_command_yet_is_asked_to_end(run, tmp_path, monkeypatch):
    held_up = tmp_path / "held_up.py"
    held_up.write_text(HELD_UP.format(guard=str(processes.GUARD)))
    monkeypatch.setattr(processes, "GUARD", held_up)
    child = run("print('the command')", grace_s=600)
    wait_for(lambda: ") T " in Path(f"/proc/{child.pid}/stat").read_text())
    child.ask_to_end()
    wait_for(lambda: has_pending(child.pid, signal.SIGTERM))
    os.kill(child.pid, signal.SIGCONT)
    child.stop()
    assert (child.exit_code(), child.output()) == (128 + signal.SIGTERM, "")


def test_children_of_a_child_end_too(run):
    code = (
        "import subprocess, sys, time\n"
        "inner = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print('inner', inner.pid, flush=True)\n"
        "time.sleep(600)"
    )
    child = run(code)
    child.wait_until(lambda: "inner" in child.output(), 15)
    inner = int(child.output().split()[-1])
    child.stop()
    wait_for(lambda: is_gone(inner))


def test_a_child_that_ends_too_early_is_explained(run):
    child = run("print('no such thing'); raise SystemExit(4)")
    with pytest.raises(StartError, match=r"child ended with code 4 .*\(no such thing\): see .*log"):
        child.wait_until(lambda: False, 15)


def test_a_child_that_is_never_ready_is_explained(run):
    child = run("import time; time.sleep(600)")
    with pytest.raises(StartError, match=r"was not ready within 0 s \(it wrote nothing\)"):
        child.wait_until(lambda: False, 0)


def test_a_program_that_does_not_exist_is_explained(tmp_path):
    process = Process(Command("ghost", ("/no/such/program",), tmp_path, tmp_path / "log"))
    with pytest.raises(StartError, match=r"ghost ended with code 127.*can't be started"):
        process.wait_until(lambda: False, 15)
    process.stop()


def test_options_for_java_do_not_leak_in(run, monkeypatch):
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xmx1m")
    monkeypatch.setenv("QUARKUS_HTTP_HOST", "0.0.0.0")
    child = run("import os; print(sorted(os.environ))")
    wait_for(lambda: child.exit_code() == 0)
    assert "JAVA" not in child.output()
    assert "QUARKUS" not in child.output()


PARENT = """
import sys, time
from pathlib import Path
from pipeline.local.processes import Command, Process
folder = Path(sys.argv[1])
child = Process(Command("child", (sys.executable, "-c", sys.argv[2]), folder, folder / "log",
                        grace_s=0.3))
child.wait_until(lambda: "on" in child.output(), 15)
print(child._guard.pid, child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def family(tmp_path):
    """A parent with a guard and a child that ignores SIGTERM."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), STUBBORN], stdout=subprocess.PIPE
    )
    with parent.stdout:
        guard, child = map(int, parent.stdout.readline().split())
    yield parent, guard, child
    parent.kill()
    parent.wait()


@pytest.mark.fault
def test_a_parent_killed_leaves_no_child(family):
    parent, guard, child = family
    parent.send_signal(signal.SIGKILL)
    wait_for(lambda: is_gone(child) and is_gone(guard))


@pytest.mark.fault
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its guard")
def test_a_guard_killed_leaves_no_child(family):
    _, guard, child = family
    os.kill(guard, signal.SIGKILL)
    wait_for(lambda: is_gone(child))


@pytest.mark.fault
def test_a_terminals_interrupt_does_not_reach_the_child(family):
    parent, guard, child = family
    assert os.getpgid(child) != os.getpgid(parent.pid)
    assert os.getpgid(guard) != os.getpgid(parent.pid)
