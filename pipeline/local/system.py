"""The whole of Milepost on this machine: Kafka, the registry and the product's own processes.

Must never know which processes those are: the caller hands in a plan.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pipeline.local.components import Component, ComponentServer, Supervisor, run_once
from pipeline.local.ports import Ports
from pipeline.local.progress import Report, Step, silent
from pipeline.local.stack import Addresses, LocalStack

STEP_S = 120.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What runs on the stack."""

    steps: Sequence[Component] = ()
    """Commands that run to their end first, one after the other: topics, schemas, policy."""
    components: Sequence[Component] = ()
    """Processes that stay, started in this order."""


Planner = Callable[[Addresses, Ports], Plan]
"""Makes the plan once addresses are known; takes further ports by name."""


class LocalSystem:
    """A stack with processes of ours on it, kept running until stopped.

    Args:
        stack: not started yet.
        planner: makes the plan.
        report: told what is being done.

    """

    def __init__(self, stack: LocalStack, planner: Planner, *, report: Report = silent) -> None:
        self.stack = stack
        self.components: Sequence[ComponentServer] = ()
        self._planner = planner
        self._report = report

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until it is ready.

        Raises:
            LocalStackError: something could not be started; nothing is left running.

        """
        try:
            self.stack.start()
            self.stack.tell(complete=False)
            self._start_plan(self._planner(self.stack.addresses, self.stack.ports))
            self._tell()
        except BaseException:
            self.stop()
            raise

    def watch(self, until: threading.Event) -> None:
        """Keep everything running until the event is set."""
        parts = (*self.stack.parts, *self.components)
        supervisor = Supervisor(parts, report=self._report, on_change=self._tell)
        supervisor.watch(until)

    def stop(self) -> None:
        """End our processes first, then the stack."""
        for component in reversed(self.components):
            component.ask_to_end()
        for component in self.components:
            component.stop()
        self.components = ()
        self.stack.stop()

    def _start_plan(self, plan: Plan) -> None:
        folder, hold = self.stack.state_dir, self.stack.hold
        for step in plan.steps:
            self._report(Step(f"Running {step.name}"))
            run_once(step, folder, within_s=STEP_S, hold=hold)
        started: list[ComponentServer] = []
        for component in plan.components:
            self._report(Step(f"Starting {component.name}"))
            server = ComponentServer(component, folder, hold)
            server.start()
            started.append(server)
            self.components = tuple(started)
        for server in started:
            self._report(Step(f"Waiting for {server.name}"))
            server.wait_ready()

    def _tell(self) -> None:
        self.stack.tell(self.components)
