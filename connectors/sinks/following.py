"""Follows topics with one consumer for a sink, which keeps effects and positions in its own store.

Where to read on is what the store says; offsets committed to Kafka are for lag tools only. Lives
until something fails; whoever runs it starts it again. Must never know how effects are stored.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin._metadata import ClusterMetadata

from connectors.applied import NOTHING, TopicPartition
from connectors.sinks.ceasing import LOOK_S, Watch, unread
from pipeline.kafka import clients
from pipeline.kafka.errors import UnreachableError
from pipeline.settings import Settings

POLL_S: Final = 0.25
LINGER_S: Final = 0.02
"""How long a batch gathers records once it has the first."""
TICK_S: Final = 2.0
"""How often the sink is told that time goes by."""
ANSWER_S: Final = 3.0
"""How long one question to Kafka may take."""


class Incoming(NamedTuple):
    """A record as it was read."""

    at: TopicPartition
    offset: int
    published_ms: int
    key: bytes | None
    value: bytes | None


class Intake(ABC):
    """What a sink does with what is followed. Positions are offsets of the records to read next."""

    topics: tuple[str, ...]
    """Without these it can't begin."""

    @abstractmethod
    def prepare(self, cluster: ClusterMetadata) -> Sequence[str]:
        """Get ready for a cluster; returns the topics to follow."""

    @abstractmethod
    def claim(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Take partitions over; returns their positions, NOTHING for the beginning."""

    @abstractmethod
    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Take no more records of these partitions."""

    @abstractmethod
    def take(self, records: Sequence[Incoming]) -> Mapping[TopicPartition, int]:
        """Apply records and move positions in one transaction; returns the new ones."""

    @abstractmethod
    def positions(self) -> Mapping[TopicPartition, int]:
        """Positions of all partitions in the store, whoever takes them."""

    @abstractmethod
    def tick(self, consumer: Consumer) -> Mapping[TopicPartition, int]:
        """Do what time asks for; returns positions that moved."""

    @abstractmethod
    def removed(self, at: TopicPartition) -> Exception:
        """The error to raise if the topic no longer has what comes next."""

    def reached_end(self, at: TopicPartition, offset: int) -> None:  # noqa: B027  few want to know
        """There is nothing to read before this offset; told if `enable.partition.eof` is set."""


_CLIENT: Final[dict[str, Any]] = {
    "session.timeout.ms": 6_000,
    "heartbeat.interval.ms": 2_000,
    # Also how long a rebalance waits for a member that is gone after a broker's restart
    "max.poll.interval.ms": 30_000,
    "fetch.wait.max.ms": 100,
    "fetch.queue.backoff.ms": 50,
}


def follow(
    intake: Intake,
    settings: Settings,
    bootstrap: str,
    stop: threading.Event,
    *,
    group: str,
    records_max: int,
    **options: Any,
) -> None:
    """Follow the intake's topics until the event is set.

    Args:
        intake: what is done with them.
        settings: security settings pass through.
        bootstrap: bootstrap servers.
        stop: ends it.
        group: consumer group.
        records_max: of one batch.
        options: more librdkafka properties.

    Raises:
        UnreachableError: Kafka is away, or a topic is not there.
        CeasedError: the consumer reads nothing any more, though another one does.
        KafkaException: the consumer can't go on.
        Exception: what the intake raises.

    """
    ticked, looked = -TICK_S, time.monotonic()
    watch = Watch(partial(unread, settings, bootstrap))

    def assigned(_consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        nonlocal ticked
        starts = intake.claim([TopicPartition(item.topic, item.partition) for item in partitions])
        consumer.assign(
            [
                KafkaPartition(*at, OFFSET_BEGINNING if start == NOTHING else start)
                for at, start in starts.items()
            ]
        )
        ticked = -TICK_S

    def lost(_consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        intake.forget(TopicPartition(item.topic, item.partition) for item in partitions)

    consumer = clients.consumer(
        settings,
        bootstrap,
        group,
        "error",
        **(_CLIENT | options),
    )
    try:
        topics = list(intake.prepare(_cluster(consumer, bootstrap, intake.topics)))
        consumer.subscribe(topics, on_assign=assigned, on_revoke=lost, on_lost=lost)
        while not stop.is_set():
            if time.monotonic() - ticked >= TICK_S:
                ticked = time.monotonic()
                _commit(consumer, intake.tick(consumer))
            if time.monotonic() - looked >= LOOK_S:
                watch.look(_awaited(consumer, intake.positions()))
                looked = time.monotonic()
            first = consumer.poll(POLL_S)
            if first is not None:
                messages = [first, *consumer.consume(records_max - 1, LINGER_S)]
                _commit(consumer, intake.take(list(_records(intake, messages))))
    finally:
        consumer.close()


def _cluster(consumer: Consumer, bootstrap: str, topics: Iterable[str]) -> ClusterMetadata:
    try:
        found: ClusterMetadata = consumer.list_topics(timeout=ANSWER_S)
    except KafkaException as error:
        raise clients.unreachable(bootstrap, error) from None
    missing = [name for name in topics if name not in found.topics]
    if missing:
        raise UnreachableError(
            f"Kafka at {bootstrap} has no topic {' and '.join(missing)}: run `milepost topics "
            "apply`"
        )
    return found


def _awaited(
    consumer: Consumer, positions: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """Positions of what is assigned; of everything where nothing is: it may never be."""
    assigned = {TopicPartition(item.topic, item.partition) for item in consumer.assignment()}
    return {at: place for at, place in positions.items() if not assigned or at in assigned}


def _commit(consumer: Consumer, positions: Mapping[TopicPartition, int]) -> None:
    offsets = [KafkaPartition(*at, position) for at, position in positions.items()]
    if offsets:
        consumer.commit(offsets=offsets, asynchronous=True)


def _records(intake: Intake, messages: Iterable[Message]) -> Iterator[Incoming]:
    """What was read; tells ends of partitions from what ends the session, which is raised.

    The client mends other failures itself.
    """
    for message in messages:
        at = TopicPartition(message.topic() or "", _known(message.partition()))
        offset, error = _known(message.offset()), message.error()
        if error is None:
            yield Incoming(at, offset, message.timestamp()[1], message.key(), message.value())
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  librdkafka's codes have no other name
            intake.reached_end(at, offset)
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
            raise intake.removed(at)
        elif error.fatal() or error.code() in (
            KafkaError._MAX_POLL_EXCEEDED,  # noqa: SLF001
            KafkaError.UNKNOWN_TOPIC_OR_PART,
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.GROUP_AUTHORIZATION_FAILED,
        ):
            raise KafkaException(error)


def _known(number: int | None) -> int:
    return -1 if number is None else number
