"""Reading a topic from where to where: everything that was committed until now, then stop.

For commands, bundles and checks. Must never join a consumer group or commit an offset.
"""

from __future__ import annotations

import contextlib
import operator
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline.kafka import clients
from pipeline.kafka.errors import UnreachableError
from pipeline.settings import Settings

Progress = Callable[[int, int], None]
"""Told how many offsets were passed, and of how many."""

_CALL_S = 10.0
_STALL_S = 30.0
_FETCH = 2_000
_NEWEST = 16
_SETTLE_S = 30.0
_LOOK_S = 1.0
_ASK_S = 0.02
_LEADER_S = 10.0


class Stored(NamedTuple):
    """A record as a topic holds it; the time is its append time, ms UTC."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


class Span(NamedTuple):
    """Offsets [start, end) of a partition: what retention left, up to what is committed now."""

    start: int
    end: int


class UndecidedError(UnreachableError):
    """A transaction stays open: what was appended behind its begin can't be read."""

    def __init__(self, topic: str, partition: int, span: Span) -> None:
        super().__init__(
            f"A transaction on {topic}[{partition}] stays undecided: see `milepost doctor`"
        )
        self.span = span
        """What can be read."""


class LogReader:
    """One consumer that reads any topic, any number of times. Used by one thread.

    Args:
        settings: security settings pass through.
        bootstrap: bootstrap servers.

    """

    def __init__(self, settings: Settings, bootstrap: str) -> None:
        self._settings = settings
        self._bootstrap = bootstrap
        self._watermarks: Consumer | None = None
        self._consumer = clients.consumer(
            settings,
            bootstrap,
            "milepost-reader",
            "earliest",
            **{"enable.partition.eof": True, "fetch.wait.max.ms": 5},
        )
        self._partitions: dict[str, list[int]] = {}
        self._open: dict[tuple[str, int], tuple[int, float]] = {}
        """What ends of partitions stand still below their logs', and since when."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up the connections."""
        self._consumer.close()
        if self._watermarks is not None:
            self._watermarks.close()

    def partitions(self, topic: str) -> list[int]:
        """Partition numbers of a topic; empty if it doesn't exist.

        Raises:
            UnreachableError: no broker answers.

        """
        if not self._partitions.get(topic):
            try:
                known = self._consumer.list_topics(timeout=_CALL_S).topics
            except KafkaException as error:
                raise clients.unreachable(self._bootstrap, error) from None
            self._partitions = {
                name: sorted(item.partitions) for name, item in known.items() if item.error is None
            }
        return self._partitions.get(topic, [])

    def span(self, topic: str, partition: int) -> Span:
        """Where a partition starts and ends now.

        Raises:
            UnreachableError: no broker answers.

        """
        return self._asked(self._consumer, topic, partition)

    def _asked(self, consumer: Consumer, topic: str, partition: int) -> Span:
        until = time.monotonic() + _LEADER_S
        while True:
            try:
                found = consumer.get_watermark_offsets(
                    TopicPartition(topic, partition), timeout=_CALL_S, cached=False
                )
                break
            except KafkaException as error:
                # a topic that was just created has no leader for a moment
                lasting = error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION
                if lasting or time.monotonic() > until:
                    raise clients.unreachable(self._bootstrap, error) from None
                time.sleep(_ASK_S)
        if found is None:
            raise UnreachableError(f"Kafka at {self._bootstrap} does not say where {topic} ends")
        return Span(*found)

    def settled(self, topic: str, partition: int, limit_s: float = _SETTLE_S) -> Span:
        """Where a partition starts, and its end of now, once every transaction in it is decided.

        A transaction ends on each of its partitions at another moment: who compares two topics
        needs all that was appended to both. Several that stay open are waited for together.

        Raises:
            UndecidedError: a transaction stays open for longer than the limit.
            UnreachableError: no broker answers.

        """
        end = self._written(topic, partition)
        began, looked = time.monotonic(), False
        while True:
            found = self.span(topic, partition)
            if found.end >= end:
                self._open.pop((topic, partition), None)
                return Span(found.start, end)
            if time.monotonic() > self._still_since(topic, partition, found.end) + limit_s:
                raise UndecidedError(topic, partition, found)
            if not looked and time.monotonic() > began + _LOOK_S:
                looked = True
                self._look_around()
            time.sleep(_ASK_S)

    def _still_since(self, topic: str, partition: int, end: int) -> float:
        """Since when a partition's stable end is known to stand where it stands now."""
        known = self._open.get((topic, partition))
        if known is None or known[0] != end:
            known = self._open[topic, partition] = (end, time.monotonic())
        return known[1]

    def _look_around(self) -> None:
        """Note all partitions with an open transaction: whoever asks for them waits less."""
        for topic, numbers in self._partitions.items():
            for number in numbers:
                with contextlib.suppress(UnreachableError):
                    stable = self.span(topic, number).end
                    if stable < self._written(topic, number):
                        self._still_since(topic, number, stable)

    def _written(self, topic: str, partition: int) -> int:
        """Where a partition ends now, open transactions included."""
        if self._watermarks is None:
            self._watermarks = clients.consumer(
                self._settings,
                self._bootstrap,
                "milepost-reader",
                "earliest",
                **{"isolation.level": "read_uncommitted"},
            )
        return self._asked(self._watermarks, topic, partition).end

    def since(self, topic: str, partition: int, time_ms: int) -> int:
        """Offset of the first record appended at or after a time, ms UTC; the end if none was.

        Raises:
            UnreachableError: no broker answers.

        """
        try:
            (found,) = self._consumer.offsets_for_times(
                [TopicPartition(topic, partition, time_ms)], timeout=_CALL_S
            )
        except KafkaException as error:
            raise clients.unreachable(self._bootstrap, error) from None
        return found.offset if found.offset >= 0 else self.span(topic, partition).end

    def read(
        self, topic: str, spans: Mapping[int, Span], progress: Progress | None = None
    ) -> Iterator[Stored]:
        """Committed records of these spans, each partition in order.

        Raises:
            UnreachableError: no broker answers, or reading stalls.

        """
        at = {number: span.start for number, span in spans.items() if span.start < span.end}
        todo = set(at)
        if not todo:
            return
        total = sum(spans[number].end - start for number, start in at.items())
        passed = 0
        self._consumer.assign([TopicPartition(topic, number, at[number]) for number in sorted(at)])
        stalled = time.monotonic() + _STALL_S
        while todo:
            messages = self._consume()
            if not messages and time.monotonic() > stalled:
                raise UnreachableError(f"Reading {topic} stalls at {at}: is a transaction open?")
            for message in messages:
                number, offset = message.partition(), message.offset()
                if number is None or offset is None or number not in todo:
                    continue
                error, before = message.error(), at[number]
                if error is None and offset < spans[number].end:
                    at[number] = offset + 1
                    yield _stored(topic, number, offset, message)
                elif error is None:
                    at[number] = spans[number].end
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  its public name
                    at[number] = max(offset, before)
                else:
                    raise clients.unreachable(self._bootstrap, KafkaException(error))
                passed += min(at[number], spans[number].end) - before
                if at[number] >= spans[number].end:
                    todo.discard(number)
            if messages:  # the time that the caller took doesn't count
                stalled = time.monotonic() + _STALL_S
            if progress is not None:
                progress(passed, total)
        self._consumer.unassign()

    def newest(
        self,
        topic: str,
        wanted: Callable[[Stored], bool] = lambda _: True,
        partitions: Iterable[int] | None = None,
    ) -> dict[int, Stored]:
        """The newest wanted record of each partition, found from the end backwards.

        Raises:
            UnreachableError: no broker answers, or reading stalls.

        """
        numbers = self.partitions(topic) if partitions is None else partitions
        left = {number: self.span(topic, number) for number in numbers}
        found: dict[int, Stored] = {}
        step = _NEWEST
        while left:
            window = {
                number: Span(max(span.start, span.end - step), span.end)
                for number, span in left.items()
            }
            for record in self.read(topic, window):
                if wanted(record):
                    found[record.partition] = record
            left = {
                number: Span(span.start, window[number].start)
                for number, span in left.items()
                if number not in found and span.start < window[number].start
            }
            step *= 8
        return found

    def _consume(self) -> list[Message]:
        """Wait for the first record, then take what lies ready: asking for many waits it out."""
        try:
            first = self._consumer.consume(1, 0.2)
            return [*first, *self._consumer.consume(_FETCH, 0)] if first else []
        except KafkaException as error:
            raise clients.unreachable(self._bootstrap, error) from None


def partitions_of(settings: Settings, bootstrap: str, topic: str) -> list[int]:
    """Partition numbers of a topic; empty if it doesn't exist.

    Raises:
        UnreachableError: no broker answers.

    """
    admin = clients.admin(settings, bootstrap)
    found = clients.metadata(admin, bootstrap).topics.get(topic)
    return [] if found is None or found.error is not None else sorted(found.partitions)


def read_to_end(
    settings: Settings,
    bootstrap: str,
    topic: str,
    *,
    partitions: Iterable[int] | None = None,
    start: Mapping[int, int] | None = None,
    progress: Progress | None = None,
) -> Iterator[Stored]:
    """Committed records of a topic, each partition in order, up to what is its end now.

    Args:
        settings: security settings pass through.
        bootstrap: bootstrap servers.
        topic: what to read.
        partitions: only these; default: all.
        start: first offset by partition; default: the beginning of the log.
        progress: told how many offsets were passed, and of how many.

    Raises:
        UnreachableError: no broker answers, or reading stalls.

    """
    with LogReader(settings, bootstrap) as reader:
        numbers = reader.partitions(topic) if partitions is None else list(partitions)
        spans = {number: reader.span(topic, number) for number in numbers}
        for number, offset in (start or {}).items():
            if number in spans:
                spans[number] = Span(max(offset, spans[number].start), spans[number].end)
        yield from reader.read(topic, spans, progress)


def ends_of(settings: Settings, bootstrap: str, topic: str) -> dict[int, int]:
    """Where each partition of a topic ends now.

    Raises:
        UnreachableError: no broker answers.

    """
    with LogReader(settings, bootstrap) as reader:
        return {number: reader.span(topic, number).end for number in reader.partitions(topic)}


def _stored(topic: str, number: int, offset: int, message: Message) -> Stored:
    return Stored(
        topic,
        number,
        offset,
        message.timestamp()[1],
        _bytes(message.key()),
        _bytes(message.value()),
        _headers(message),
    )


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


_ask_headers = operator.methodcaller("headers")
"""Calls it so that the interpreter always looks at the result, see `pipeline.lane.inlet`."""


def _headers(message: Message) -> list[tuple[str, bytes | None]]:
    """Headers; none where the client breaks on a name that is not UTF-8."""
    try:
        given: object = _ask_headers(message)
    except (SystemError, UnicodeDecodeError):
        return []
    if not isinstance(given, list):
        return []
    return [(str(name), _bytes(value)) for name, value in given]
