"""The lane's loop: one thread that reads, hands over, produces and commits, batch by batch.

Knows nothing of Faust: batches go out through a callable, answers come back through a queue. No
batch is with the agent and no transaction is open while `consume()` runs, so that a rebalance finds
nothing in flight.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException

from . import clients
from .config import EX_CONFIG, LaneConfig, LaneError
from .inlet import Inlet
from .leaving import Watchdog, leave
from .lookup import AskInputs, check_changelog, check_inputs
from .model import Commit, Decided, Observer, PartitionBatch, Processor, RecordBatch, Results
from .writer import Position, TransactionAbortedError, Writer

log = logging.getLogger(__name__)

S = TypeVar("S")

CONNECT_S = 120.0
"""What the watchdog allows for one round of checking topics."""


@dataclass(slots=True)
class _Pending:
    """A decision on the way to its commit."""

    generation: int
    decisions: dict[int, Decided]
    positions: list[Position]
    mark: str
    records: int
    decide_s: float
    outputs: int = 0
    bytes: int = 0
    produce_s: float = 0.0


class Engine(Generic[S]):
    """Everything of the lane that is not Faust; `run` is the body of its thread."""

    def __init__(
        self,
        config: LaneConfig,
        processor: Processor[S],
        observer: Observer,
        deliver: Callable[[RecordBatch[S]], None],
    ) -> None:
        self._config = config
        self._processor = processor
        self._observer = observer
        self._deliver = deliver
        self._answers: queue.SimpleQueue[tuple[RecordBatch[S], Results]] = queue.SimpleQueue()
        self._halt = threading.Event()
        self._asked: queue.SimpleQueue[AskInputs] = queue.SimpleQueue()
        self._inlet: Inlet[S] | None = None
        self._pending: _Pending | None = None
        self._aborts = 0
        self._void: dict[tuple[str, int], int] = {}
        """By input and partition: where the first of a row of aborted ones would have got."""
        self._life = uuid.uuid4().hex[:12]
        self._marks = itertools.count(1)
        self.phase = "starting"
        """starting → joining → restoring → running → leaving"""

    # What other threads may call

    def halt(self) -> None:
        """Ask the loop to commit what is decided, leave the group and return."""
        self._halt.set()

    def set_inputs(self, topics: Collection[str]) -> Future[frozenset[str]]:
        """Read exactly these inputs, and the control topic, from now on.

        Returns:
            A future of the inputs in force. It raises `TopicRefusedError` where one can't be read;
            then nothing has changed.

        """
        question = AskInputs(frozenset(topics) | {self._config.control_topic}, Future())
        self._asked.put(question)
        return question.answer

    @property
    def owned(self) -> frozenset[int]:
        """Partition numbers whose state is loaded."""
        return frozenset() if self._inlet is None else frozenset(self._inlet.parts)

    # The lane's thread

    def run(self, watchdog: Watchdog) -> None:
        """Connect, join, go round until `halt`, leave in order.

        Raises:
            TopicRefusedError: a topic can't be used as it is.
            LaneError: this process can't go on.
            KafkaException: nor here.

        """
        self._watchdog = watchdog
        self._writer = Writer(self._config, watchdog, self._on_error)
        self._check_topics()
        if self._halt.is_set():
            return
        inlet = Inlet(
            self._config, self._processor, self._observer, watchdog, self._on_error, self._halt
        )
        self._inlet = inlet
        inlet.join()
        self._enter("joining")
        while not self._halt.is_set():
            self._round(inlet)
        self._enter("leaving")
        if self._pending is not None:
            self._transact(inlet, self._pending)
        inlet.close()
        self._writer.close()

    def _check_topics(self) -> None:
        """See that all topics fit, waiting for a cluster that can't be reached."""
        while not self._halt.is_set():
            self._watchdog.step("check topics", CONNECT_S)
            client = Consumer(clients.observer(self._config, self._on_connect_error))
            try:
                check_inputs(self._config, client, self._config.topics)
                check_changelog(self._config, client)
            except KafkaException as error:
                log.warning("waiting for the cluster: %s", error)
            else:
                return
            finally:
                client.close()
            self._halt.wait(1.0)

    def _on_connect_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._AUTHENTICATION:  # noqa: SLF001  its public name
            leave(f"the cluster refuses this worker's credentials: {error}", EX_CONFIG)
        self._on_error(error)

    def _on_error(self, error: KafkaError) -> None:
        log.warning("librdkafka: %s", error)
        if error.fatal():
            leave(f"fatal: {clients.describe(error)}")

    def _enter(self, phase: str) -> None:
        if phase != self.phase:
            self.phase = phase
            self._observer.phase(phase)

    def _round(self, inlet: Inlet[S]) -> None:
        """Read one batch and hand it over; write and commit the last one while it is decided."""
        self._watchdog.step("consume")
        while not self._asked.empty():
            inlet.lookup.ask(self._asked.get())
        inlet.tend()
        parts, records = inlet.take(wait=self._pending is None)
        pending, self._pending = self._pending, None
        if pending is not None and pending.generation != inlet.generation:
            pending = None  # decided, not produced: the next owner reads its input again
        if inlet.noted is not None:
            self._enter("restoring")
            restored = inlet.restore(inlet.noted)
            self._writer.begin()
            self._enter("running" if restored else "joining")
            return
        began = time.monotonic()
        batch = RecordBatch(parts, records, self._answers.put) if parts else None
        if batch is not None:
            self._deliver(batch)
        committed = pending is None or self._transact(inlet, pending)
        if batch is not None:
            results = self._wait(batch)
            if committed:
                self._follow(inlet, batch, results, time.monotonic() - began)
        if not committed:
            self._reload(inlet)

    def _wait(self, batch: RecordBatch[S]) -> Results:
        """Wait for the agent.

        Raises:
            LaneError: its answer doesn't fit the batch.

        """
        self._watchdog.step("agent")
        answered, results = self._answers.get()
        if answered is not batch:
            raise LaneError("a batch was answered twice")
        if results.keys() != batch.parts.keys():
            raise LaneError(
                f"the batch has partitions {sorted(batch.parts)}, its answer {sorted(results)}"
            )
        return results

    def _follow(
        self, inlet: Inlet[S], batch: RecordBatch[S], results: Results, decide_s: float
    ) -> None:
        """Do as the agent said: put back, commit now, or let the commit overlap what comes."""
        decisions = {}
        positions: list[Position] = []
        mark = f"{self._life}-{next(self._marks)}"
        records = 0
        for number, result in results.items():
            part = batch.parts[number]
            inlet.settle(part, result)
            if isinstance(result, Decided):
                decisions[number] = result
                records += len(part.records)
                positions += self._positions(part, result, mark)
        if not decisions:
            return
        pending = _Pending(inlet.generation, decisions, positions, mark, records, decide_s)
        if batch.size >= self._config.overlap_records:
            self._pending = pending
        elif not self._transact(inlet, pending):
            self._reload(inlet)

    def _positions(self, part: PartitionBatch[S], decided: Decided, mark: str) -> list[Position]:
        """Offsets for the group: what moved, and always the control topic's.

        The latter makes a pending transaction of this partition visible to whoever waits for stable
        offsets, whichever input it read. Its mark tells which transaction was the newest.
        """
        control = self._config.control_topic
        given = {
            topic: decided.positions[topic] for topic in part.ends if topic in decided.positions
        }
        given[control] = decided.positions.get(control, 0)
        return [(topic, part.partition, position, mark) for topic, position in given.items()]

    def _transact(self, inlet: Inlet[S], pending: _Pending) -> bool:
        return self._produce(inlet, pending) and self._commit(inlet, pending)

    def _produce(self, inlet: Inlet[S], pending: _Pending) -> bool:
        """Open the transaction; False: it was aborted."""
        began = time.monotonic()
        try:
            pending.outputs, pending.bytes = self._writer.write(pending.decisions)
        except TransactionAbortedError as aborted:
            self._note_abort(aborted, inlet, pending)
            return False
        pending.produce_s = time.monotonic() - began
        return True

    def _commit(self, inlet: Inlet[S], pending: _Pending) -> bool:
        """Commit the open transaction; False: it was aborted."""
        began = time.monotonic()
        try:
            self._writer.commit(pending.positions, inlet.group)
        except TransactionAbortedError as aborted:
            self._note_abort(aborted, inlet, pending)
            return False
        for topic, number, position, _ in pending.positions:
            if position >= self._void.get((topic, number), position):
                self._void.pop((topic, number), None)
        inlet.committed(pending.decisions, pending.mark)
        self._observer.committed(
            Commit(
                tuple(pending.decisions),
                pending.records,
                pending.outputs,
                pending.bytes,
                pending.decide_s,
                pending.produce_s,
                time.monotonic() - began,
            )
        )
        return True

    def _note_abort(
        self, aborted: TransactionAbortedError, inlet: Inlet[S], pending: _Pending
    ) -> None:
        """Count it; leave if the same was tried too often.

        What commits in between, of other inputs, does not count in its favour: a decision that
        can't be written must not be tried for ever beside traffic that goes well. What this worker
        reads no more is nobody's try.
        """
        self._void = {at: to for at, to in self._void.items() if inlet.reads(*at)}
        self._aborts = self._aborts + 1 if self._void else 1
        for topic, number, position, _ in pending.positions:
            self._void.setdefault((topic, number), position)
        self._observer.aborted(str(aborted))
        if self._aborts >= self._config.aborts_max:
            leave(f"{self._aborts} tries of the same were aborted, the last one by {aborted}")

    def _reload(self, inlet: Inlet[S]) -> None:
        """State was updated in place for what is now void: read it back."""
        inlet.reload()
        self._enter("restoring")
