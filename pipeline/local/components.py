"""The product's own processes on the local stack, described as data, kept running.

Knows how a process is started, found ready, started again and ended; must never know which ones
there are: the command line lists them.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.local.faults import StartError
from pipeline.local.ports import http_answers
from pipeline.local.processes import Command, Process
from pipeline.local.progress import Report, Step, silent
from pipeline.local.server import Server

MILEPOST: tuple[str, ...] = (sys.executable, "-m", "pipeline.cli.main")
"""How a component runs a command of ours, whatever the PATH says."""

BACK_OFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Waits before a part that died is started again; after the last one it is given up."""
STEADY_S = 60.0
"""A part that ran this long has recovered: its waits begin anew."""


@dataclass(frozen=True, slots=True)
class Component:
    """One process of ours.

    It is ready when `ready_url` answers 200, or when its output holds `ready_line`, or, with
    neither, as soon as it runs.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of this process."""
    url: str | None = None
    """What a person opens."""
    metrics_url: str | None = None
    """What Prometheus reads."""
    ready_url: str | None = None
    ready_line: str | None = None
    ready_within_s: float = 60.0


class ComponentServer(Server):
    """A component as a part of the stack; runs in `state_dir`'s parent, logs below `state_dir`."""

    def __init__(self, component: Component, state_dir: Path, hold: Sequence[int] = ()) -> None:
        super().__init__(
            component.name, ports=(), ready_within_s=component.ready_within_s, hold=hold
        )
        self.url = component.url
        self.metrics_url = component.metrics_url
        self._component = component
        self._state_dir = state_dir

    def command(self) -> Command:
        """Tell how it is started."""
        return _command(self._component, self._state_dir)

    def serves(self) -> bool:
        """Tell whether it is ready."""
        component = self._component
        if component.ready_url is not None:
            return http_answers(component.ready_url)
        if component.ready_line is not None:
            return component.ready_line in self.output()
        return self.pid is not None


def run_once(
    component: Component, state_dir: Path, *, within_s: float, hold: Sequence[int] = ()
) -> str:
    """Run a command to its end, as a step before others start.

    Returns:
        The last of what it wrote.

    Raises:
        StartError: it failed or took longer than `within_s` seconds.

    """
    process = Process(_command(component, state_dir), hold=hold)
    try:
        process.wait_done(within_s)
        return process.output()
    finally:
        process.stop()


def _command(component: Component, state_dir: Path) -> Command:
    return Command(
        name=component.name,
        argv=component.argv,
        cwd=Path.cwd(),
        log=state_dir / "logs" / f"{component.name}.log",
        env={**os.environ, "PYTHONUNBUFFERED": "1", **component.env},
    )


@dataclass(slots=True)
class _Record:
    """What the supervisor remembers of one part."""

    started_at: float
    failures: int = 0
    due: float | None = None
    given_up: bool = False


class Supervisor:
    """Keeps the parts of a stack running: one that died is started again, later each time.

    Args:
        parts: what to watch; already started or not.
        report: told what died and what is done about it.
        on_change: called after a part was started again or given up.
        clock: seconds, monotonic.

    """

    def __init__(
        self,
        parts: Sequence[Server],
        *,
        report: Report = silent,
        on_change: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parts = list(parts)
        self._report = report
        self._on_change = on_change
        self._clock = clock
        self._records = {part.name: _Record(clock()) for part in parts}

    @property
    def given_up(self) -> list[str]:
        """Names of the parts that died too often."""
        return [name for name, record in self._records.items() if record.given_up]

    def watch(self, until: threading.Event, every_s: float = 0.25) -> None:
        """Look after the parts until the event is set; ends no part."""
        while not until.wait(every_s):
            self.look()

    def look(self) -> None:
        """Look once at each part, and start again what is due."""
        for part in self._parts:
            record = self._records[part.name]
            if record.given_up:
                continue
            if part.pid is not None:
                if record.failures and self._clock() - record.started_at > STEADY_S:
                    record.failures = 0
            elif record.due is None:
                self._plan(part, record)
            elif self._clock() >= record.due:
                self._restart(part, record)

    def _plan(self, part: Server, record: _Record) -> None:
        if record.failures == len(BACK_OFF_S):
            record.given_up = True
            what = f"{part.name} ended {record.failures + 1} times in a row and is given up"
            self._report(Step(f"{what}: see its log"))
            self._on_change()
            return
        wait_s = BACK_OFF_S[record.failures]
        record.failures += 1
        record.due = self._clock() + wait_s
        code = part.exit_code
        self._report(Step(f"{part.name} ended with code {code}: starting it again in {wait_s:g} s"))
        self._on_change()

    def _restart(self, part: Server, record: _Record) -> None:
        record.due = None
        record.started_at = self._clock()
        try:
            part.start()
        except (StartError, OSError) as error:
            self._report(Step(f"{part.name} could not be started again: {error}"))
            return
        self._on_change()
