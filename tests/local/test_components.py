"""Processes on the stack are started, found ready, started again, given up and ended."""

import os
import sys
import threading
import time

import pytest

from pipeline.local.components import (
    BACK_OFF_S,
    STEADY_S,
    Component,
    ComponentServer,
    Supervisor,
    run_once,
)
from pipeline.local.faults import StartError
from pipeline.local.holding import Holding
from pipeline.local.ports import unused
from pipeline.local.server import Server
from pipeline.local.stack import Addresses, LocalStack
from pipeline.local.system import LocalSystem, Plan

WEB = (
    "import http.server, os\n"
    "server = http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])),"
    " http.server.SimpleHTTPRequestHandler)\n"
    "server.serve_forever()"
)


def python(name, code, **options):
    return Component(name, (sys.executable, "-c", code), **options)


def wait_for(condition, within_s=15):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "not within time"
        time.sleep(0.02)


@pytest.fixture
def start(tmp_path):
    started = []

    def start(component):
        server = ComponentServer(component, tmp_path)
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


def test_a_component_is_ready_when_its_address_answers(start):
    port = unused()
    url = f"http://127.0.0.1:{port}/"
    server = start(python("web", WEB, env={"PORT": str(port)}, ready_url=url))
    server.wait_ready()
    assert server.serves()


def test_a_component_is_ready_when_it_says_so(start):
    server = start(python("worker", "import time; print('joined'); time.sleep(600)",
                          ready_line="joined"))  # fmt: skip
    server.wait_ready()
    assert server.pid is not None


def test_a_component_has_our_environment_and_its_own(start, monkeypatch):
    monkeypatch.setenv("MILEPOST_LOG_LEVEL", "DEBUG")
    code = "import os, time; print(os.environ['MILEPOST_LOG_LEVEL'], os.environ['MINE']); time.sleep(600)"  # noqa: E501
    start(python("worker", code, env={"MINE": "1"}, ready_line="DEBUG 1")).wait_ready()


def test_a_component_that_ends_before_it_is_ready_is_explained(start):
    server = start(python("worker", "raise SystemExit('no policy')", ready_line="joined"))
    with pytest.raises(StartError, match=r"worker ended with code 1 .*\(no policy\)"):
        server.wait_ready()


def test_a_step_runs_to_its_end(tmp_path):
    assert run_once(python("topics", "print('10 created')"), tmp_path, within_s=15) == (
        "10 created\n"
    )


def test_a_step_that_fails_is_explained(tmp_path):
    step = python("schemas", "raise SystemExit('breaking change')")
    with pytest.raises(StartError, match=r"schemas failed with code 1 \(breaking change\)"):
        run_once(step, tmp_path, within_s=15)


def test_a_step_that_takes_too_long_is_ended(tmp_path):
    step = python("policy", "import time; time.sleep(600)")
    with pytest.raises(StartError, match="policy was not done within 0 s"):
        run_once(step, tmp_path, within_s=0)


class FakeServer(Server):
    """A part that runs or not as a test says."""

    def __init__(self):
        super().__init__("worker", ports=(), ready_within_s=1)
        self.alive = True
        self.starts = 0
        self.fails = False

    def command(self):
        raise NotImplementedError

    def serves(self):
        return self.alive

    @property
    def pid(self):
        return 1 if self.alive else None

    def start(self):
        if self.fails:
            raise StartError("no room")
        self.starts += 1
        self.alive = True


class Watched:
    """A supervisor of one part on a clock that the test moves."""

    def __init__(self):
        self.now = 0.0
        self.part = FakeServer()
        self.told = []
        self.changes = 0
        self.supervisor = Supervisor(
            [self.part],
            report=lambda step: self.told.append(step.what),
            on_change=self.changed,
            clock=lambda: self.now,
        )

    def changed(self):
        self.changes += 1

    def die(self):
        self.part.alive = False
        self.supervisor.look()

    def after(self, seconds):
        self.now += seconds
        self.supervisor.look()


@pytest.fixture
def watched():
    return Watched()


def test_a_part_that_died_is_started_again_after_a_wait(watched):
    watched.die()
    assert watched.told == ["worker ended with code None: starting it again in 0.5 s"]
    watched.after(0.4)
    assert watched.part.starts == 0
    watched.after(0.2)
    assert watched.part.starts == 1
    assert watched.changes == 2


def test_the_waits_grow_and_at_last_it_is_given_up(watched):
    for wait_s in BACK_OFF_S:
        watched.die()
        assert watched.told[-1].endswith(f"in {wait_s:g} s")
        watched.after(wait_s)
    assert watched.part.starts == len(BACK_OFF_S)
    watched.die()
    assert watched.supervisor.given_up == ["worker"]
    assert "given up" in watched.told[-1]
    watched.after(1_000)
    assert watched.part.starts == len(BACK_OFF_S)


def test_a_part_that_ran_long_enough_has_recovered(watched):
    watched.die()
    watched.after(BACK_OFF_S[0])
    watched.after(STEADY_S + 1)
    watched.die()
    assert watched.told[-1].endswith(f"in {BACK_OFF_S[0]:g} s")


def test_a_part_that_cannot_be_started_is_tried_again(watched):
    watched.part.fails = True
    watched.die()
    watched.after(BACK_OFF_S[0])
    assert "could not be started again: no room" in watched.told[-1]
    watched.part.fails = False
    watched.after(0)
    watched.after(BACK_OFF_S[1])
    assert watched.part.starts == 1


class TestTheWholeSystem:
    """On a Kafka that runs elsewhere, so that only our own processes are at stake."""

    @pytest.fixture
    def system(self, tmp_path):
        stack = LocalStack(tmp_path, external=Addresses("127.0.0.1:1", "http://127.0.0.1:2"))
        made = []

        def make(plan):
            made.append(LocalSystem(stack, lambda _addresses, _ports: plan))
            return made[-1]

        yield make
        for system in made:
            system.stop()

    def test_steps_run_before_components_and_others_find_them(self, system, tmp_path):
        mark = tmp_path / "mark"
        plan = Plan(
            steps=[python("topics", f"open({str(mark)!r}, 'w').write('done')")],
            components=[
                python("worker", f"import time; print(open({str(mark)!r}).read()); time.sleep(600)",
                       ready_line="done", url="http://127.0.0.1:3"),
            ],
        )  # fmt: skip
        running = system(plan)
        running.start()
        account = Holding(tmp_path).read()
        assert account.complete
        (part,) = account.parts
        assert (part.name, part.url) == ("worker", "http://127.0.0.1:3")
        os.kill(part.pid, 0)

    def test_one_that_cannot_start_takes_the_others_down(self, system, tmp_path):
        plan = Plan(
            components=[
                python("one", "import time; print('on'); time.sleep(600)", ready_line="on"),
                python("two", "raise SystemExit('broken')", ready_line="on"),
            ]
        )
        running = system(plan)
        with pytest.raises(StartError, match="two ended with code 1"):
            running.start()
        assert running.components == ()
        assert Holding(tmp_path).is_idle()

    def test_one_that_is_killed_comes_back(self, system, tmp_path):
        running = system(
            Plan(components=[python("one", "import time; print('on'); time.sleep(600)")])
        )
        running.start()
        (part,) = Holding(tmp_path).read().parts
        end = threading.Event()
        watching = threading.Thread(target=running.watch, args=(end,))
        watching.start()
        try:
            os.kill(part.pid, 9)
            wait_for(lambda: Holding(tmp_path).read().parts[0].pid not in (part.pid, None))
        finally:
            end.set()
            watching.join()
