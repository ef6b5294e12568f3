"""The lane as a Faust service: an app that boots no Kafka of Faust's, a channel, a service.

The only module that knows Faust. The agent runs on Faust's loop and does nothing but decide.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from typing import Any, Generic, NoReturn, TypeVar

import faust
from faust.app.base import BootStrategy
from mode import Service

from .config import EX_CONFIG, LaneConfig, LaneError, TopicRefusedError
from .engine import Engine
from .leaving import Watchdog, leave
from .model import Observer, Processor, RecordBatch

log = logging.getLogger(__name__)

S = TypeVar("S")

STOP_S = 40.0
"""What the lane has for an orderly stop; its own steps have tighter limits."""


class LaneChannel(faust.Channel[Any]):
    """Carries batches to the one agent that decides them."""

    def put_threadsafe(self, loop: asyncio.AbstractEventLoop, batch: RecordBatch[Any]) -> None:
        """Put a batch, from the lane's thread."""
        loop.call_soon_threadsafe(self._put_now, batch)

    def _put_now(self, batch: RecordBatch[Any]) -> None:
        subscribers = list(self._subscribers)
        if len(subscribers) != 1:
            leave(f"{len(subscribers)} agents on the lane's channel: there must be one")
        subscribers[0].queue.put_nowait(batch)  # a plain value: no acknowledgements of Faust's


class LaneBoot(BootStrategy):
    """Starts sensors, agents, then the lane. Nothing of Faust's Kafka."""

    enable_kafka = False
    enable_web = False

    def server(self) -> Iterable[Any]:
        """Name the services of a worker, in the order in which they start."""
        app: Any = self.app
        return itertools.chain(self.sensors(), self.agents(), [app.lane])


class LaneApp(faust.App):
    """A Faust app for one lane. Its agents' exceptions end the process."""

    BootStrategy = LaneBoot
    lane: Lane[Any] | None = None

    def __init__(self, name: str, **options: Any) -> None:
        options.setdefault("broker", "kafka://the-lane-has-its-own")
        super().__init__(name, **options)

    async def _on_agent_error(self, agent: Any, exc: BaseException) -> None:
        """Leave: Faust would start the agent again behind the batch that failed."""
        log.critical("agent %s failed", agent, exc_info=exc)
        leave(f"agent {agent} failed: {exc!r}")


class Lane(Service, Generic[S]):
    """Feeds an agent with record batches, exactly once.

    Args:
        app: the Faust app to run in.
        config: topics, names and limits.
        processor: the application's state, as the lane needs to know it.
        observer: telemetry hook.

    """

    def __init__(
        self,
        app: LaneApp,
        config: LaneConfig,
        processor: Processor[S],
        observer: Observer | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        app.lane = self
        self.app = app
        self.config = config
        self.channel = LaneChannel(app, maxsize=4)
        self._engine: Engine[S] = Engine(config, processor, observer or Observer(), self._deliver)
        self._thread: threading.Thread | None = None

    def set_inputs(self, topics: Collection[str]) -> Future[frozenset[str]]:
        """Read exactly these inputs, and the control topic, from now on. Thread-safe.

        No rebalance: each owned partition goes on at the position in its state, or at the beginning
        of an input that it has never read.

        Returns:
            A future of the inputs in force; it raises `TopicRefusedError` where one can't be read,
            and then nothing has changed.

        """
        return self._engine.set_inputs(topics)

    @property
    def phase(self) -> str:
        """One of starting, joining, restoring, running, leaving."""
        return self._engine.phase

    @property
    def owned(self) -> frozenset[int]:
        """Partition numbers whose state is loaded here."""
        return self._engine.owned

    async def on_start(self) -> None:
        """Start the lane's thread."""
        app: Any = self.app
        app.flow_control.resume()  # a channel's queue blocks until somebody resumes
        self._faust_loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="lane", daemon=True)
        self._thread.start()

    async def on_stop(self) -> None:
        """Let the thread finish what is decided and leave the group."""
        self._engine.halt()
        if self._thread is not None:
            join: Callable[[float], None] = self._thread.join
            await asyncio.get_running_loop().run_in_executor(None, join, STOP_S)

    def _deliver(self, batch: RecordBatch[S]) -> None:
        self.channel.put_threadsafe(self._faust_loop, batch)

    def _run(self) -> None:
        watchdog = Watchdog(self.config.stall_limit_s)
        try:
            self._engine.run(watchdog)
        except TopicRefusedError as refusal:
            leave(str(refusal), EX_CONFIG)
        except LaneError as error:
            leave(str(error))
        except BaseException as error:  # noqa: BLE001  whatever it is, this process can't go on
            self._fail(error)
        finally:
            watchdog.close()

    def _fail(self, error: BaseException) -> NoReturn:
        log.critical("the lane's thread failed", exc_info=error)
        leave(f"the lane's thread failed: {error!r}")
