"""What a simulated process and its clients share: where it runs, how it pauses, what strikes it.

Must never know what runs in it.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Protocol

from pipeline.testing.simulation.broker import Broker
from pipeline.testing.simulation.coordinator import FencedError
from pipeline.testing.simulation.turns import Actor, CrashError


class Surrounding(Protocol):
    """The simulation, as a process sees it."""

    broker: Broker
    rnd: Random

    def pause(self, process: Process, what: str) -> None:
        """Let anything happen before a process goes on."""

    def strikes(self, what: str) -> bool:
        """Whether a fault happens now."""


class Waiting(Protocol):
    """A client whose records may still be on their way."""

    waiting: list[
        tuple[str, int, bytes | None, bytes | None, list[tuple[str, bytes | None]] | None]
    ]

    def write(self, count: int) -> None:
        """Write so many of them."""


class Answering(Protocol):
    """What gives answers some time after it was asked."""

    def answer(self) -> None:
        """Give one, if one is owed."""


class Process:
    """One life of a worker.

    Args:
        name: slot and number of this life.
        around: the simulation.

    """

    actor: Actor
    """The thread that runs it."""

    def __init__(self, name: str, around: Surrounding) -> None:
        self.name = name
        self.broker = around.broker
        self.rnd = around.rnd
        self.producers: list[Waiting] = []
        self.lookup: Answering | None = None
        self.dead = False
        self.stopped = False
        """Whether it is stopped, as by SIGSTOP: it doesn't know."""
        self.idle = False
        """Whether it found nothing to read when it last looked."""
        self.restores: Counter[int] = Counter()
        """How often it has read a partition's state back."""
        self.deafness = around.rnd.choice((0.0, 0.3, 0.7))
        """How likely it is not to have heard of its group's news yet."""
        self._around = around

    def pause(self, what: str) -> None:
        """Let others go on, and the environment act.

        Raises:
            CrashError: this process is gone.

        """
        if self.dead:
            return
        if self.lookup is not None and self.rnd.random() < 0.5:
            self.lookup.answer()
        self._around.pause(self, what)
        if self.dead:
            raise CrashError

    def strikes(self, what: str) -> bool:
        """Whether a fault happens to this process now."""
        return not self.dead and self._around.strikes(what)

    def reach(self, point: str) -> None:
        """Come to a point at which a process may be stopped or killed.

        Raises:
            CrashError: it is gone.

        """
        if self.strikes(f"stop {point}"):
            self.stopped = True
            self.pause("stopped")
        if self.strikes(f"crash {point}"):
            raise CrashError

    def end(self) -> None:
        """Be gone; of what waited in its clients, some is written."""
        self.dead = True
        for producer in self.producers:
            try:
                producer.write(self.rnd.randrange(len(producer.waiting) + 1))
            except FencedError:
                producer.waiting = []
