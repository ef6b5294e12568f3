"""What may happen to a simulated world at a step, and what such events see of it.

Must never hold an event of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from pipeline.testing.simulation.worker import Habitat, Worker


class Event(NamedTuple):
    """Something that may happen."""

    weight: float
    """How often, compared with the others."""
    act: Callable[[], None]
    fault: bool = False
    """Whether it is a fault, which some worlds don't know."""


class Stage(Habitat, Protocol):
    """The simulation, as its events see it."""

    now_ms: int
    workers: list[Worker]
    """Processes that live, stopped ones included."""

    def start(self, slot: str) -> None:
        """Start a fresh process in a slot."""

    def kill(self, worker: Worker) -> None:
        """Kill a process."""
