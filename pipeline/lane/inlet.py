"""The reading side of a lane: group membership, what is fetched, and cutting batches.

All positions are the lane's own. There is one way to move them: assign the whole set anew, with an
explicit offset for each; a deferred or lost input is left out of the set. (A group with an eager
protocol allows no incremental assign, and `seek` and `pause` have states in which they fail.)
"""

from __future__ import annotations

import logging
import operator
import queue
import threading
import time
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from . import clients
from .config import LaneConfig, LaneError, TopicRefusedError
from .leaving import Watchdog
from .lookup import (
    CALL_S,
    LATEST,
    Answer,
    AskEnds,
    AskGroup,
    AskSpan,
    AskUnread,
    EndsKnown,
    GroupKnown,
    InputsKnown,
    Lookup,
    SpanKnown,
    UnreadKnown,
    append_time_remedy,
    offsets,
)
from .model import (
    TICK_HEADER,
    Decided,
    Deferred,
    Headers,
    Observer,
    PartitionBatch,
    Processor,
    Record,
    Restored,
)
from .reading import Part, Reading, TickPlan, check_positions
from .restore import Restorer
from .stalls import Place, Stalls
from .ticker import Ticker

log = logging.getLogger(__name__)

S = TypeVar("S")

IDLE_S = 0.1
"""How long an idle round waits for a first record."""
TOGETHER_S = 0.001
"""How long it then waits for what came with it in the broker's answer."""
LEAVE_S = 5.0
"""How long a stopping worker tries to leave the group."""
LEAVING_S = 0.01
"""How often it looks whether it has left."""
AWAKE_S = 0.05
"""How often the client's main thread is woken: left alone it looks twice a second whether a
heartbeat is due, whatever their interval."""


class Inlet(Generic[S]):
    """Owns the group's consumer and the states. Used on the lane's thread only."""

    def __init__(
        self,
        config: LaneConfig,
        processor: Processor[S],
        observer: Observer,
        watchdog: Watchdog,
        on_error: clients.OnError,
        halt: threading.Event,
    ) -> None:
        self._config = config
        self._halt = halt
        self._processor = processor
        self._observer = observer
        self._watchdog = watchdog
        self._inbox: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._inputs = config.topics
        self._refetch = False
        self._joined = False
        self._awake = 0.0
        """When the client's main thread is to be woken."""
        self._dry = False
        """Whether the last reading emptied what was fetched ahead."""
        self._stalls = Stalls(config.stall_limit_s, time.monotonic())
        self.parts: dict[int, Part[S]] = {}
        self._former: dict[int, Part[S]] = {}
        """Partitions of the former assignment: some of them may come back as they were."""
        self.noted: frozenset[int] | None = None
        """An assignment that was noted and not restored yet: nothing is fetched meanwhile."""
        self.generation = 0
        """Counts the times that all states were dropped; what is older is void."""
        self.group: Any = None
        """Group metadata of the assignment, for its transactions."""
        self.lookup = Lookup(config, self._inbox.put, on_error)
        self._ticker = Ticker(config, self._on_tick_failed, on_error)
        self._consumer = Consumer(clients.member(config, on_error))
        self._restorer = Restorer(config, self._consumer, watchdog, observer, on_error)

    def join(self) -> None:
        """Join the group; partitions arrive while `take` runs."""
        self._consumer.subscribe(
            [self._config.control_topic],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )
        self._know_topics()

    def _know_topics(self) -> None:
        """Have the client know who leads the inputs by the time it is to read them.

        Otherwise it asks only when its first partitions wait for it, once a second.
        """
        self._watchdog.step("leaders", CALL_S + 5)
        try:
            offsets(self._consumer, sorted(self._inputs), [0], LATEST)
        except KafkaException as error:
            log.warning("leaders of the inputs: %s", error)

    def close(self) -> None:
        """Stop reading; with `leave_on_stop` others get the partitions at once."""
        self._watchdog.step("leave the group", LEAVE_S + 10)
        if self._config.leave_on_stop:
            # close() alone keeps a static member's place until its session ends; what leaves is
            # unsubscribe(), once its revoke was served and before close() begins
            self._consumer.unsubscribe()
            until = time.monotonic() + LEAVE_S
            while self._consumer.memberid() and time.monotonic() < until:
                self._consumer.poll(LEAVING_S)
        self._watchdog.step("close", 30)
        self._consumer.close()
        self._ticker.close(1.0)
        self.lookup.close(5.0)

    # Callbacks: inside consume(), poll() and close(). They note and drop, nothing else.

    def _on_assign(self, consumer: Consumer, given: list[TopicPartition]) -> None:
        consumer.assign([])
        self._drop()
        self._joined = True
        self.noted = frozenset(each.partition for each in given)
        log.info("assigned partitions %s", sorted(self.noted))

    def _on_revoke(self, consumer: Consumer, taken: list[TopicPartition]) -> None:
        self._drop()
        self._joined = False
        self.noted = None
        consumer.unassign()
        log.info("revoked partitions %s", sorted(each.partition for each in taken))

    def _drop(self) -> None:
        self._former |= self.parts
        self.parts.clear()
        self.group = None
        self.generation += 1
        self._stalls.forget()

    # Between batches

    def reload(self) -> None:
        """Forget every state, as if the same partitions had just been assigned."""
        self.noted = frozenset(self.parts)
        self._drop()
        self._former.clear()
        self._consumer.assign([])

    def restore(self, noted: frozenset[int]) -> bool:
        """Read back state and positions of the noted assignment; False: it changed meanwhile.

        A partition that this worker had before stays as it is, if the newest commit of its
        positions is the one that made it so.
        """
        began = time.monotonic()
        generation = self.generation

        def interrupted() -> bool:
            self._serve()
            return self.generation != generation or self._halt.is_set()

        changelog = {}
        if noted:
            known = {number: part.mark for number, part in self._former.items() if part.mark}
            read = self._restorer.read(noted, self._inputs, known, interrupted)
            if read is None:
                return False
            changelog = read
            self._watchdog.step("rebuild state", 600)
            parts = {
                number: self._part(number, changelog[number])
                if number in changelog
                else self._former[number]
                for number in sorted(noted)
            }
            group = self._consumer.consumer_group_metadata()
            if interrupted():
                return False
            self.parts, self.group = parts, group
            for number, part in parts.items():
                part.mark = self._restorer.marks.get(number)
                part.reading.select(self._chosen(part))
        self._former.clear()
        self.noted = None
        self._observer.assigned(noted)
        if changelog:
            keys = sum(len(kept) for kept in changelog.values())
            took = time.monotonic() - began
            log.info("restored %s: %d keys, %.3f s", sorted(changelog), keys, took)
            self._observer.restored(
                Restored(tuple(sorted(changelog)), self._restorer.records, keys, took)
            )
        self._fetch()
        return True

    def _part(self, number: int, changelog: dict[bytes, bytes]) -> Part[S]:
        state = self._processor.restore(number, changelog)
        return Part(
            self.generation,
            state,
            Reading(number, self._processor.positions(state)),
            TickPlan(self._config.tick_interval_s, self._config.tick_pause_s, time.monotonic()),
            self._processor.due_ms(state),
            self._processor.inputs(state),
        )

    def _chosen(self, part: Part[S]) -> frozenset[str]:
        """Inputs that a partition reads: its own choice among the lane's, and the control topic."""
        if part.inputs is None:
            return self._inputs
        return self._inputs.intersection(part.inputs) | {self._config.control_topic}

    def _fetch(self) -> None:
        """Assign everything that is to be read, each at its position."""
        self._refetch = False
        self._consumer.assign(
            [
                TopicPartition(topic, number, position)
                for number, part in self.parts.items()
                for topic, position in part.reading.wanted().items()
            ]
        )

    def settle(self, batch: PartitionBatch[S], answer: Decided | Deferred) -> None:
        """Note what the agent said about a partition, while no batch is with the agent.

        Raises:
            LaneError: the positions contradict the batch.

        """
        part = self.parts[batch.partition]
        if isinstance(answer, Deferred):
            log.debug("partition %d put off for %.1f s: %s",
                      batch.partition, answer.seconds, answer.why)  # fmt: skip
            at = time.monotonic() + answer.seconds
            part.reading.put_back(batch, answer.topics, at)
            self._stalls.put_off((topic, batch.partition) for topic in part.reading.parked)
            self._observer.deferred(batch.partition, answer)
            self._refetch = True
            return
        check_positions(batch, answer)
        part.mark = None
        part.due_ms = self._processor.due_ms(part.state)
        inputs = self._processor.inputs(part.state)
        if inputs != part.inputs:
            part.inputs = inputs
            self._refetch |= part.reading.select(self._chosen(part))

    def reads(self, topic: str, number: int) -> bool:
        """Whether this partition of an input is read, or put off, by this worker."""
        part = self.parts.get(number)
        return part is not None and topic in part.reading.inputs

    def committed(self, numbers: Iterable[int], mark: str) -> None:
        """Note that the states of these partitions are committed, with this mark."""
        for number in numbers:
            self.parts[number].mark = mark

    def tend(self) -> None:
        """Do what is due between batches: answers, ends of deferrals, ticks."""
        while not self._inbox.empty():
            self._hear(self._inbox.get())
        now = time.monotonic()
        for number, part in self.parts.items():
            self._refetch |= part.reading.wake(now)
            if part.plan.wanted(now, part.due_ms):
                part.plan.written(now, self._ticker.write(number))
        self._ticker.poll()
        if now >= self._awake:
            self._awake = now + AWAKE_S
            self._consumer.memberid()
        if self._refetch and self.noted is None:
            self._fetch()
        if self._dry and self.noted is None and self._stalls.due(now):
            self._look(now)

    def _look(self, now: float) -> None:
        """Have the lookup thread see whether what stands still here could be read."""
        if not self._joined:
            self._stalls.begin_outside(now)
            self.lookup.ask(AskGroup())
            return
        still = self._stalls.begin(now, self._fetched())
        if still:
            self.lookup.ask(AskUnread(still))

    def _fetched(self) -> dict[Place, int]:
        """Positions of everything that is being fetched."""
        return {
            (topic, number): part.reading.position[topic]
            for number, part in self.parts.items()
            for topic in sorted(part.reading.open)
        }

    def _on_tick_failed(self, number: int, token: bytes) -> None:
        part = self._held(number)
        if part is not None:
            part.plan.failed(token)

    def _held(self, number: int) -> Part[S] | None:
        """A partition that this worker owns, or owned and may be given back."""
        return self.parts.get(number) or self._former.get(number)

    def _hear(self, answer: Answer) -> None:
        """Take in an answer of the lookup thread, unless it is about a former assignment."""
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, UnreadKnown):
            self._stalls.found(self._fetched(), answer.unread)
            return
        if isinstance(answer, GroupKnown):
            self._stalls.found_outside(joining=not self._joined, settled=answer.settled)
            return
        if isinstance(answer, InputsKnown):
            self._inputs = answer.question.topics
            for part in self.parts.values():
                self._refetch |= part.reading.select(self._chosen(part))
            answer.question.answer.set_result(self._inputs)
            log.info("inputs are now %s", sorted(self._inputs))
            return
        question = answer.question
        asked = self._held(question.partition)
        if asked is None or question.generation != asked.generation:
            return
        reading = asked.reading
        if isinstance(answer, EndsKnown):
            lags = reading.aim(answer.question.append_ms, answer.ends)
            self._observer.lag(question.partition, lags)
        else:
            self._found(reading, answer)

    def _found(self, reading: Reading, answer: SpanKnown) -> None:
        """Go on with inputs whose position was not in their log."""
        for topic, (start, end) in answer.spans.items():
            try:
                gap = reading.found(topic, start, end)
            except ValueError as error:
                raise LaneError(
                    f"input {topic!r}, partition {reading.partition}: {error}: the topic was made "
                    "anew or has lost records; state and input no longer belong together"
                ) from None
            if gap is not None:
                log.warning("input %r, partition %d: offsets %d to %d were gone before they were "
                            "read", topic, reading.partition, gap.first, gap.next - 1)  # fmt: skip
                self._observer.gap(reading.partition, gap)
        self._refetch = True

    # Reading

    def take(self, wait: bool) -> tuple[dict[int, PartitionBatch[S]], int]:  # noqa: FBT001
        """Read what lies ready and cut batches; with `wait`, wait a little when idle.

        Returns:
            Batches by partition number, and how many records they hold.

        Raises:
            LaneError: the log can't be read on.

        """
        if wait:
            messages = self._consumer.consume(1, IDLE_S)
            if messages:
                rest = self._config.batch_records_max - 1
                messages += self._consumer.consume(rest, TOGETHER_S) if rest else []
        else:
            messages = self._consumer.consume(self._config.batch_records_max, 0)
        self._dry = len(messages) < self._config.batch_records_max
        if self.noted is not None or not self.parts:
            for message in messages:
                self._complain(message)
            return {}, 0
        records = self._sort(messages)
        batches = {}
        for number, part in self.parts.items():
            if not part.reading.open:
                continue  # put off as a whole
            batch = part.reading.cut(records.get(number, []), part.state)
            if batch is not None:
                batches[number] = batch
                if batch.read_through:
                    self._observer.read_through(number, batch.read_through)
        return batches, sum(map(len, records.values()))

    def _sort(self, messages: list[Message]) -> dict[int, list[Record]]:
        """Make records of messages by partition number, moving positions along."""
        records: dict[int, list[Record]] = {}
        parts, control = self.parts, self._config.control_topic
        append = TIMESTAMP_LOG_APPEND_TIME
        message: Any  # its fields are optional in the stubs, and set where there is no error
        for message in messages:
            if message.error() is not None:
                self._event(message)
                continue
            topic, number, offset = message.topic(), message.partition(), message.offset()
            part = parts.get(number)
            if part is None or topic not in part.reading.open:
                continue
            kind, time_ms = message.timestamp()
            if kind != append:
                raise TopicRefusedError(topic, append_time_remedy("CreateTime"))
            position = part.reading.position
            if offset < position[topic]:
                raise LaneError(f"{topic} {number}: offset {offset} came after {position[topic]}")
            position[topic] = offset + 1
            record = Record(
                topic, number, offset, time_ms, message.key(), message.value(), _headers(message)
            )
            if topic == control:
                self._look_for_tick(record, part)
            if number in records:
                records[number].append(record)
            else:
                records[number] = [record]
        return records

    def _look_for_tick(self, record: Record, part: Part[S]) -> None:
        for name, token in record.headers or ():
            if name == TICK_HEADER:
                part.plan.consumed(time.monotonic(), token, record.timestamp_ms)
                self.lookup.ask(
                    AskEnds(
                        part.generation,
                        record.partition,
                        record.timestamp_ms,
                        part.reading.inputs,
                    )
                )

    def _event(self, message: Message) -> None:
        """Take in a message that is no record: an end, a lost position, or a complaint."""
        error, topic, number = message.error(), message.topic(), message.partition()
        part = self.parts.get(-1 if number is None else number)
        if error is None or topic is None or part is None or topic not in part.reading.open:
            self._complain(message)
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  its public name
            part.reading.reached_end(topic, message.offset() or 0)
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
            if topic not in part.reading.lost:
                part.reading.lost.add(topic)
                self.lookup.ask(
                    AskSpan(part.generation, part.reading.partition, frozenset({topic}))
                )
        else:
            self._complain(message)

    def _complain(self, message: Message) -> None:
        """Log an error that librdkafka works on by itself; raise any other.

        Raises:
            LaneError: waiting won't mend it.

        """
        error = message.error()
        if error is None or error.code() in _PASSING:
            return
        if error.fatal() or not error.retriable():
            raise LaneError(f"consume: {clients.describe(error)}")
        log.warning("consume: %s", error)

    def _serve(self) -> None:
        """Serve callbacks while nothing is fetched."""
        message = self._consumer.poll(0)
        if message is not None:
            self._complain(message)


_PASSING = frozenset({KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET})  # noqa: SLF001
"""Codes that may arrive late, about what is no longer fetched."""


_ask_headers = operator.methodcaller("headers")
"""Calls a message's method so that the interpreter always looks at the result. Called directly and
often, it doesn't, and the client hands out a list with a hole that crashes the process where a
header's name is not UTF-8: a producer is free to write one."""


def _headers(message: Any) -> Headers | None:
    """Headers of a message; None where the client can't read them."""
    try:
        found: Headers | None = _ask_headers(message)
    except (SystemError, UnicodeDecodeError):
        log.warning(
            "%s %s: headers of offset %s have names that are not UTF-8 and are left out",
            message.topic(),
            message.partition(),
            message.offset(),
        )
        return None
    return found
