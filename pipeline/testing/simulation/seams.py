"""What is exchanged while the lane and the governor run in a simulation, by module and name.

Clients, clocks, threads and the end of a process; nothing that decides. Must never change what the
lane does between two calls of a client.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn, Protocol, TypeVar

from pipeline.contract import codec
from pipeline.lane import engine, fencing, inlet, lookup, restore, ticker, writer
from pipeline.lane.config import LaneConfig
from pipeline.lane.lookup import Answer, Lookup, Question
from pipeline.streams import governor, lookups
from pipeline.testing.simulation.consumer import SimulatedConsumer, SimulatedMember
from pipeline.testing.simulation.process import Process
from pipeline.testing.simulation.producer import SimulatedProducer, SimulatedWriter

T = TypeVar("T")


class LeftError(BaseException):
    """The lane has left its process. Not an error that code may handle."""


class Running(Protocol):
    """The simulation, as the seams see it."""

    running: Process
    """The process whose turn it is."""

    def monotonic(self) -> float:
        """Seconds of simulated time."""

    def sleep(self, seconds: float) -> None:
        """Let simulated time pass."""


class SimulatedLookup(Lookup):
    """The lane's look-ups without their thread: an answer comes at some later pause."""

    def __init__(
        self, process: Process, config: LaneConfig, answer: Callable[[Answer], None]
    ) -> None:
        self._config = config
        self._answer = answer
        self._on_error = lambda _: None
        self._consumer = None
        self._asked: list[Question] = []
        self._process = process
        process.lookup = self

    def ask(self, question: Question) -> None:
        """Queue a question."""
        self._asked.append(question)

    def answer(self) -> None:
        """Answer the one that has waited longest."""
        if self._asked:
            self._process.lookup = None  # its clients pause as well
            self._settle(self._asked.pop(0))
            self._process.lookup = self

    def close(self, limit_s: float) -> None:
        """Answer no more."""
        del limit_s
        self._process.lookup = None


class _Inline:
    """An event loop whose executor runs what it is given at once."""

    async def run_in_executor(self, _executor: None, call: Callable[[], Any]) -> Any:
        return call()


def finished(decision: Awaitable[Any]) -> Any:
    """The result of a coroutine that waits for nothing but look-ups.

    Raises:
        RuntimeError: it waits for something else.

    """
    try:
        decision.__await__().send(None)
    except StopIteration as ended:
        return ended.value
    raise RuntimeError("a decision waits for something that is not simulated")


def _leave(why: str, code: int = 0) -> NoReturn:
    del code
    raise LeftError(why)


@contextlib.contextmanager
def simulated(world: Running) -> Iterator[None]:
    """Have the lane and the governor run in a simulation; one at a time in a process."""

    def consumer(config: Mapping[str, Any]) -> SimulatedConsumer:
        kind = SimulatedMember if "group.instance.id" in config else SimulatedConsumer
        return kind(world.running, config)

    def producer(config: Mapping[str, Any]) -> SimulatedProducer:
        kind = SimulatedWriter if "transactional.id" in config else SimulatedProducer
        return kind(world.running, config)

    def look_up(config: LaneConfig, answer: Callable[[Answer], None], _: Any) -> SimulatedLookup:
        return SimulatedLookup(world.running, config, answer)

    clock = SimpleNamespace(monotonic=world.monotonic, sleep=world.sleep)
    loops = SimpleNamespace(get_running_loop=_Inline)
    parsing = SimpleNamespace(parse=_parse, Schema=codec.Schema)
    exchanged: dict[ModuleType, dict[str, Any]] = {
        engine: {"Consumer": consumer, "time": clock, "leave": _leave}
        | {"check_inputs": _fine, "check_changelog": _fine},
        inlet: {"Consumer": consumer, "Lookup": look_up, "time": clock},
        lookup: {"Consumer": consumer, "time": clock, "check_inputs": _fine}
        | {"group_settled": _unsettled},
        restore: {"Consumer": consumer, "time": clock},
        ticker: {"Producer": producer},
        fencing: {"Producer": producer},
        writer: {"in_background": _at_once, "time": clock, "leave": _leave},
        governor: {"asyncio": loops, "time": clock},
        lookups: {"codec": parsing, "unsafe": _safe},
    }
    before = [
        (module, name, getattr(module, name))
        for module, given in exchanged.items()
        for name in given
    ]
    logger = logging.getLogger("pipeline.lane")
    level = logger.level
    try:
        logger.setLevel(logging.CRITICAL)
        for module, given in exchanged.items():
            for name, value in given.items():
                setattr(module, name, value)
        yield
    finally:
        logger.setLevel(level)
        for module, name, value in before:
            setattr(module, name, value)


def _at_once(call: Callable[[], T]) -> Future[T]:
    ending: Future[T] = Future()
    ending.set_result(call())
    return ending


def _fine(*_: Any) -> None:
    """Topics are as declared."""


def _unsettled(_: Any) -> bool:
    """Somebody is always about to join."""
    return False


def _safe(_definition: Any) -> list[Any]:
    """The schemas are the shipped ones."""
    return []


def _parse(definition: Mapping[str, Any]) -> codec.Schema:
    name = {"RawEvent": "raw-event", "Link": "link", "Control": "control"}[definition["name"]]
    return codec.committed(name)
