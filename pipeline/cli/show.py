"""What `milepost demo` does: starts a stack of its own, has the platforms send, watches, judges.

The story is `connectors.simulation`. Must never print, or decide how an event is judged or what
counts as a difference.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Final, Self

import orjson

from connectors.simulation.bundle import demo_bundle
from connectors.simulation.follow import Follower, percentile
from connectors.simulation.judge import Run, judge
from connectors.simulation.live import Snapshot
from connectors.simulation.outcome import Outcome, Promise
from connectors.simulation.publish import Sender, Sent
from connectors.simulation.traffic import Traffic, compose
from connectors.simulation.world import handover
from pipeline import settings as configuration
from pipeline.cli.stack_plan import plan
from pipeline.cli.stores import Stores
from pipeline.cli.terminal import FOUND
from pipeline.cli.times import now_ms
from pipeline.contract import topics as contract_topics
from pipeline.contract.bundle import load_bundle
from pipeline.contract.names import LINKS, RAW_PREFIX, REKEYED, data_root
from pipeline.kafka import bundles
from pipeline.kafka.reading import ends_of
from pipeline.kafka.registry import Registry
from pipeline.local.components import MILEPOST, Component, ComponentServer
from pipeline.local.faults import StartError
from pipeline.local.ports import Ports
from pipeline.local.progress import Report, Step
from pipeline.local.stack import Addresses, LocalStack, wipe
from pipeline.local.system import LocalSystem, Plan
from pipeline.settings import PREFIX, Settings

SETTLED_WITHIN_S: Final = 120.0
LOOK_S: Final = 0.4
_MARKER: Final = 1
"""What stays unread at the end of a topic that is written to in transactions: the last marker."""
LATELY: Final = 2_000
"""Approved records of which the live view shows the latency."""
NEEDED: Final = ("governor", "portal", "simulated-erp", "erp-sink")
"""Components of `milepost up` that the demo runs too."""
SHARED: Final = frozenset(PREFIX + name for name in ("CACHE_DIR", "LOG_FORMAT", "LOG_LEVEL"))
"""The user's settings that hold for the demo as well."""

View = AbstractContextManager[Callable[[Snapshot], None]]
"""Where a run is shown while it goes on."""


class Show:
    """One run of the demo, on a stack of its own that ends with it.

    Args:
        settings: of that stack, see `own_settings`.
        report: told what is being done.

    """

    def __init__(self, settings: Settings, report: Report) -> None:
        self.addresses: dict[str, str] = {}
        self._report = report
        self._settings = settings
        self._began = self._mark = time.monotonic()
        self._seconds: dict[str, float] = {}
        self._stop = threading.Event()
        self._ending = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._report(Step("Stopping"))
        self._stop.set()
        self._ending.close()

    def run(self, seed: int, events: int, seconds: float, view: View) -> Outcome:
        """Start, send, wait until all is settled, and judge the run.

        Args:
            seed: of the traffic.
            events: about how many.
            seconds: they are sent within.
            view: shown how it goes while it does.

        Raises:
            LocalStackError: the stack, or what runs on it, can't be started.
            DeliveryError: Kafka does not take the events.
            httpx.HTTPError: the simulated ERP does not answer.

        """
        where = self._start()
        now = now_ms()
        line = handover(now)
        self._bundle = demo_bundle(load_bundle(), line)
        self._prepare(where)
        self._passed("start")
        traffic = compose(seed, now, events=events, run_s=seconds, handover_ms=line)
        sent, settled = self._watch(where, traffic, view)
        self._follower.end()
        verify = self._start_verify()
        followed = self._follower.followed
        run = Run(traffic, self._bundle, sent, followed, settled, verify, self._seconds)
        erp_url = self.addresses["simulated-erp"]
        result = judge(run, self._settings, where.bootstrap, self._registry, erp_url)
        self._passed("verify and compare")
        return result

    def stay(self) -> None:
        """Wait until interrupted."""
        with contextlib.suppress(KeyboardInterrupt):
            self._stop.wait()

    def _passed(self, phase: str) -> None:
        now = time.monotonic()
        self._seconds[phase] = round(now - self._mark, 1)
        self._mark = now

    def _start(self) -> Addresses:
        """Start the stack and what runs on it."""
        folder = self._settings.state_dir
        wipe(folder)
        stack = LocalStack(folder, cache_dir=self._settings.cache_dir, report=self._report)
        self._system = LocalSystem(stack, self._plan, report=self._report)
        self._ending.callback(self._system.stop)
        self._system.start()
        keeping = threading.Thread(target=self._system.watch, args=(self._stop,), daemon=True)
        keeping.start()
        self._ending.callback(keeping.join)
        logging.basicConfig(filename=folder / "logs" / "demo.log", force=True)
        return stack.addresses

    def _plan(self, where: Addresses, ports: Ports) -> Plan:
        """What `milepost up` runs, without its policy and its partners' doors."""
        whole = plan(where, ports, self._settings, traffic=False)
        wanted = [item for item in whole.components if item.name in NEEDED]
        self.addresses = {item.name: item.url for item in wanted if item.url is not None}
        steps = [item for item in whole.steps if item.name != "policy"]
        self._env = dict(wanted[0].env)
        return Plan([alone(item) for item in steps], [alone(item) for item in wanted])

    def _prepare(self, where: Addresses) -> None:
        """Put the demo's policy in force, the sample files into the mailbox, a reader to work."""
        settings, stack = self._settings, self._system.stack
        self._registry = self._ending.enter_context(Registry.of(settings, where.registry_url))
        why = "an hour of an owner's silence is a second; Europe's transport is handed over"
        bundles.publish(
            settings, where.bootstrap, self._registry, self._bundle, by="milepost demo", why=why
        )
        mailbox = settings.state_dir / "mailbox"
        mailbox.mkdir(parents=True, exist_ok=True)
        for sample in (data_root() / "partners").glob("*/fixtures/*.edi"):
            shutil.copy(sample, mailbox)
        once = Component("mailbox", (*MILEPOST, "run", "source", "mailbox", "--once"), self._env)
        self._mailbox = ComponentServer(alone(once), stack.state_dir, stack.hold)
        self._ending.callback(self._mailbox.stop)
        self._mailbox.start()
        self._follower = Follower(settings, where.bootstrap, "milepost-demo")
        self._ending.callback(self._follower.end)
        self._follower.start()
        self._stores = self._ending.enter_context(contextlib.closing(Stores(settings)))

    def _start_verify(self) -> Callable[[], dict[str, Any]]:
        """Have `milepost verify` read everything; what is returned waits for what it says."""
        self._report(Step("Running milepost verify, and comparing meanwhile"))
        stack = self._system.stack
        argv = (*MILEPOST, "verify", "--quiet", "--json")
        command = ComponentServer(
            alone(Component("verify", argv, self._env)), stack.state_dir, stack.hold
        )
        self._ending.callback(command.stop)
        command.start()

        def finish() -> dict[str, Any]:
            while command.pid is not None:
                time.sleep(LOOK_S)
            told = command.command().log.read_text("utf-8")
            code = command.exit_code
            if code not in {0, FOUND}:
                raise StartError(f"milepost verify ended with code {code}: {told[-500:]}")
            return dict(orjson.loads(told[told.index("{") :]))

        return finish

    def _watch(self, where: Addresses, traffic: Traffic, view: View) -> tuple[list[Sent], Promise]:
        """Send everything and look on until nothing is left to do."""
        sender = Sender(self._settings, where.bootstrap, self._registry, self._bundle)
        sending = _Sending(sender, traffic, self._stop)
        sending.start()
        self._ending.callback(sending.join)
        deadline: float | None = None
        with view as show:
            while True:
                time.sleep(LOOK_S)
                snapshot = self._look(traffic, sending)
                show(snapshot)
                if sending.failure is not None:
                    raise sending.failure
                if self._follower.failure is not None:
                    raise self._follower.failure
                if sending.is_alive():
                    continue
                if deadline is None:
                    self._passed("send")
                    deadline = time.monotonic() + SETTLED_WITHIN_S
                done = self._settled(where, snapshot)
                if done or time.monotonic() > deadline:
                    break
        self._passed("settle")
        return sending.sent, Promise("Everything settles", done, snapshot.left())

    def _look(self, traffic: Traffic, sending: _Sending) -> Snapshot:
        follower = self._follower
        with follower.lock:
            followed = follower.followed
            counted = Counter[str]()
            for (disposition, _), count in followed.first.items():
                counted[disposition] += count
            waits = followed.latencies_ms(LATELY)
            approved_next = dict(followed.approved_next)
            approved, waiting = len(followed.approved), followed.open_claims
        portal, erp = self._stores.portal(approved_next), self._stores.erp(approved_next)
        return Snapshot(
            stage="sending" if sending.is_alive() else "settling",
            elapsed_s=time.monotonic() - self._began,
            sent=sending.count,
            total=len(traffic.sendings),
            judged=counted.total(),
            approved=approved,
            waiting=waiting,
            dispositions=counted,
            p50_ms=percentile(waits, 0.5),
            p99_ms=percentile(waits, 0.99),
            behind_portal=portal.records,
            behind_erp=erp.records + erp.postings,
            booked=erp.booked,
        )

    def _settled(self, where: Addresses, snapshot: Snapshot) -> bool:
        """Whether every raw record is judged, nothing waits, and portal and ERP have caught up."""
        if self._mailbox.pid is not None or snapshot.waiting:
            return False
        ends = sum(
            sum(ends_of(self._settings, where.bootstrap, topic.name).values())
            for topic in contract_topics.load(self._settings.topics_file).inputs
            if topic.name.startswith(RAW_PREFIX)
        )
        behind = snapshot.behind_portal + snapshot.behind_erp
        return snapshot.judged == ends and not behind and not self._under_way(where)

    def _under_way(self, where: Addresses) -> bool:
        """Whether anything is on its way from one partition to another."""
        with self._follower.lock:
            read_to = dict(self._follower.followed.read_to)
        return any(
            end - read_to.get((topic, number), 0) > _MARKER
            for topic in (REKEYED, LINKS)
            for number, end in ends_of(self._settings, where.bootstrap, topic).items()
        )


class _Sending(threading.Thread):
    """The platforms, sending beside the view."""

    def __init__(self, sender: Sender, traffic: Traffic, stop: threading.Event) -> None:
        super().__init__(name="sending", daemon=True)
        self.sent: list[Sent] = []
        self.count = 0
        self.failure: Exception | None = None
        self._sender, self._traffic, self._until = sender, traffic, stop

    def run(self) -> None:
        """Send until done or stopped."""
        try:
            self.sent = self._sender.run(self._traffic.sendings, self._until, self._counted)
        except Exception as error:  # noqa: BLE001  raised again by the thread that watches
            self.failure = error

    def _counted(self, count: int) -> None:
        self.count = count


def own_settings(settings: Settings) -> Settings:
    """Settings of the demo's own stack; an ERP, a Kafka or a store of the user's is left alone."""
    own = {"STATE_DIR": (settings.state_dir / "demo").absolute(), "CACHE_DIR": settings.cache_dir}
    given = own | {"PORTAL_PORT": settings.portal_port}
    return configuration.load(
        {PREFIX + name: str(value) for name, value in given.items() if value is not None}
    )


def alone(component: Component) -> Component:
    """A component that sees none of the user's settings, only those that it is given."""
    theirs = (name for name in os.environ if name.startswith(PREFIX) and name not in SHARED)
    blank = dict.fromkeys(theirs, "")
    return replace(component, env=blank | dict(component.env))
