"""One state directory, one stack; what a killed one left behind blocks nothing."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.local import holding as module
from pipeline.local.faults import StackInUseError
from pipeline.local.holding import Account, Holding, Part
from pipeline.local.stack import Addresses, find_running, wipe

READY = Account(
    pid=os.getpid(),
    ready=True,
    bootstrap="127.0.0.1:1",
    registry_url="http://127.0.0.1:2",
    parts=(Part("kafka-1", 7),),
)
OTHER = """
import sys, time
from pathlib import Path
from pipeline.local.holding import Holding
holding = Holding(Path(sys.argv[1]))
holding.take()
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def held(tmp_path):
    holding = Holding(tmp_path / "state")
    holding.take()
    yield holding
    holding.release()


@pytest.fixture
def other(tmp_path):
    """Another process that holds the directory."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(tmp_path / "state")], stdout=subprocess.PIPE
    )
    with process.stdout:
        assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()


def test_a_running_stack_is_found(held):
    held.tell(READY)
    assert Holding(held.state_dir).read() == READY
    assert find_running(held.state_dir) == Addresses(READY.bootstrap, READY.registry_url)


def test_a_stack_that_still_starts_is_not_found(held):
    assert find_running(held.state_dir) is None


def test_a_folder_that_never_held_one_has_none(tmp_path):
    assert find_running(tmp_path / "none") is None
    assert not (tmp_path / "none").exists()


def test_a_released_stack_is_not_found(held):
    held.tell(READY)
    held.release()
    assert find_running(held.state_dir) is None
    assert held.is_idle()


def test_the_same_folder_twice_is_refused_with_the_holder_named(other, tmp_path):
    with pytest.raises(StackInUseError, match=rf"in use by process {other.pid}: .*milepost down"):
        Holding(tmp_path / "state").take()


@pytest.mark.fault
def test_a_killed_holder_leaves_nothing_that_blocks(other, tmp_path):
    state = tmp_path / "state"
    other.kill()
    other.wait()
    assert (state / "stack.json").exists()
    assert find_running(state) is None
    holding = Holding(state)
    holding.take()
    holding.release()


@pytest.mark.fault
def test_the_children_of_a_killed_holder_are_waited_for(tmp_path):
    first = Holding(tmp_path / "state")
    lock = first.take()
    child = subprocess.Popen(["sleep", "0.5"], pass_fds=(lock,))
    first.release()
    second = Holding(tmp_path / "state")
    assert not second.is_idle()
    second.take()
    assert child.poll() is not None or _ended(child)
    second.release()
    child.wait()


def _ended(child):
    deadline = time.monotonic() + 5
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return child.poll() is not None


@pytest.mark.fault
def test_children_that_do_not_end_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LEAVING_S", 0.1)
    first = Holding(tmp_path / "state")
    child = subprocess.Popen(["sleep", "600"], pass_fds=(first.take(),))
    first.release()
    try:
        with pytest.raises(StackInUseError, match="by a stack that is still ending"):
            Holding(tmp_path / "state").take()
        assert Holding(tmp_path / "state").is_idle() is False
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": 1, "parts": 3}'])
def test_a_torn_state_file_is_no_stack(held, text):
    (held.state_dir / "stack.json").write_text(text)
    assert find_running(held.state_dir) is None


@pytest.mark.parametrize("folder", [Path("/"), Path.cwd(), Path.cwd().parent, Path.home()])
def test_a_folder_that_holds_other_things_is_refused(folder):
    with pytest.raises(StackInUseError, match="holds other things"):
        Holding(folder).take()


def test_wiping_removes_everything(tmp_path):
    state = tmp_path / "state"
    (state / "kafka-1" / "data").mkdir(parents=True)
    (state / "portal.db").write_text("rows")
    (state / "link").symlink_to(tmp_path)
    wipe(state)
    assert {path.suffix for path in state.iterdir()} == {".lock"}
    assert tmp_path.exists()


def test_wiping_a_running_stack_is_refused(other, tmp_path):
    (tmp_path / "state" / "portal.db").write_text("rows")
    with pytest.raises(StackInUseError):
        wipe(tmp_path / "state")
    assert (tmp_path / "state" / "portal.db").exists()


def test_wiping_what_is_not_there_does_nothing(tmp_path):
    wipe(tmp_path / "none")
    assert not (tmp_path / "none").exists()
