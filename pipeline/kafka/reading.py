"""Reading a topic from where to where: everything that was committed until now, then stop.

For commands, bundles and checks. Must never join a consumer group or commit an offset.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from pipeline.kafka import clients
from pipeline.kafka.errors import UnreachableError
from pipeline.settings import Settings

_CALL_S = 10.0
_STALL_S = 30.0
_FETCH = 2_000


class Stored(NamedTuple):
    """A record as a topic holds it; the time is its append time, ms UTC."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


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
    progress: Callable[[int, int], None] | None = None,
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
    numbers = partitions_of(settings, bootstrap, topic) if partitions is None else list(partitions)
    if not numbers:
        return
    consumer = clients.consumer(
        settings,
        bootstrap,
        "milepost-reader",
        "earliest",
        **{"enable.partition.eof": True, "fetch.wait.max.ms": 50},
    )
    try:
        first, ends = _bounds(consumer, bootstrap, topic, numbers)
        at = {number: max(first[number], (start or {}).get(number, 0)) for number in numbers}
        begun = dict(at)
        todo = {number for number in numbers if at[number] < ends[number]}
        total = sum(ends[number] - at[number] for number in todo)
        consumer.assign([TopicPartition(topic, number, at[number]) for number in sorted(todo)])
        yield from _records(consumer, topic, at, ends, todo, progress, begun, total)
    except KafkaException as error:
        raise clients.unreachable(bootstrap, error) from None
    finally:
        consumer.close()


def ends_of(settings: Settings, bootstrap: str, topic: str) -> dict[int, int]:
    """Where each partition of a topic ends now.

    Raises:
        UnreachableError: no broker answers.

    """
    consumer = clients.consumer(settings, bootstrap, "milepost-reader", "earliest")
    try:
        return _bounds(consumer, bootstrap, topic, partitions_of(settings, bootstrap, topic))[1]
    except KafkaException as error:
        raise clients.unreachable(bootstrap, error) from None
    finally:
        consumer.close()


def _bounds(
    consumer: Consumer, bootstrap: str, topic: str, numbers: list[int]
) -> tuple[dict[int, int], dict[int, int]]:
    first, ends = {}, {}
    for number in numbers:
        found = consumer.get_watermark_offsets(
            TopicPartition(topic, number), timeout=_CALL_S, cached=False
        )
        if found is None:
            raise UnreachableError(f"Kafka at {bootstrap} does not say where {topic} ends")
        first[number], ends[number] = found
    return first, ends


def _records(
    consumer: Consumer,
    topic: str,
    at: dict[int, int],
    ends: Mapping[int, int],
    todo: set[int],
    progress: Callable[[int, int], None] | None,
    begun: Mapping[int, int],
    total: int,
) -> Iterator[Stored]:
    stalled = time.monotonic() + _STALL_S
    while todo:
        messages = consumer.consume(_FETCH, 0.2)
        if messages:
            stalled = time.monotonic() + _STALL_S
        elif time.monotonic() > stalled:
            raise UnreachableError(f"Reading {topic} stalls at {at}: is a transaction open?")
        for message in messages:
            number = message.partition()
            error = message.error()
            if number is None or number not in todo:
                continue
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  its public name
                    raise KafkaException(error)
                at[number] = message.offset() or at[number]
            else:
                offset = message.offset() or 0
                if offset < ends[number]:
                    at[number] = offset + 1
                    yield Stored(
                        topic,
                        number,
                        offset,
                        message.timestamp()[1],
                        _bytes(message.key()),
                        _bytes(message.value()),
                        _headers(message.headers()),
                    )
                else:
                    at[number] = ends[number]
            if at[number] >= ends[number]:
                todo.discard(number)
        if progress is not None:
            progress(sum(at[number] - begun[number] for number in begun), total)


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _headers(given: object) -> list[tuple[str, bytes | None]]:
    if not isinstance(given, list):
        return []
    return [(str(name), _bytes(value)) for name, value in given]
