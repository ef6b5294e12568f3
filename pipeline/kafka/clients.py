"""Kafka clients with the properties that Milepost's promises rest on, and delivery one can check.

Producers partition by murmur2 and wait for all in-sync replicas; consumers read committed records
and never commit by themselves. Must never know which topics exist or what a record means.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, NamedTuple, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._metadata import ClusterMetadata

from pipeline.kafka.errors import (
    DeliveryError,
    DeliveryRefusedError,
    DeliveryTimeoutError,
    UnreachableError,
)
from pipeline.settings import Settings, SettingsError

T = TypeVar("T")
Start = Literal["earliest", "latest", "error"]
"""Where a consumer begins if its position is unknown or was taken by retention."""

DELIVERY_TIMEOUT_MS: Final = 30_000
RECORD_BYTES_MAX: Final = 2_097_152
_POLL_S = 0.05
_RETRY = "see that Kafka runs, then send them again"
_LOG = logging.getLogger("milepost.kafka")
_REFUSALS = {
    KafkaError.MSG_SIZE_TOO_LARGE: "make the record smaller or raise the topic's max.message.bytes",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "have the cluster's owner grant WRITE on it",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "create it with `milepost topics apply`",
    KafkaError._UNKNOWN_TOPIC: "create it with `milepost topics apply`",  # noqa: SLF001  librdkafka's own codes have no other name
    KafkaError._UNKNOWN_PARTITION: "compare its partitions with `milepost topics plan`",  # noqa: SLF001
    KafkaError.TOPIC_EXCEPTION: "use a topic name that Kafka allows",
    KafkaError.INVALID_RECORD: "send a key: compacted topics need one",
}


class Outgoing(NamedTuple):
    """One record to produce; the partition follows from the key unless it is given."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    partition: int | None = None


class Position(NamedTuple):
    """Where an acknowledged record was written."""

    topic: str
    partition: int
    offset: int


def producer(settings: Settings, bootstrap: str, **overrides: Any) -> Producer:
    """A producer that loses nothing it acknowledged and puts each key where Java would.

    Args:
        settings: security settings pass through.
        bootstrap: bootstrap servers, `host:port`, comma-separated.
        overrides: librdkafka properties by their own names, `**{"linger.ms": 20}`.

    """
    return _made(
        Producer,
        _common(settings, bootstrap)
        | {
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 5,
            "delivery.timeout.ms": DELIVERY_TIMEOUT_MS,
            "message.max.bytes": RECORD_BYTES_MAX,
        }
        | overrides,
    )


def consumer(
    settings: Settings, bootstrap: str, group: str, start: Start, **overrides: Any
) -> Consumer:
    """A consumer of committed records that commits only when told.

    Args:
        settings: security settings pass through.
        bootstrap: bootstrap servers, `host:port`, comma-separated.
        group: consumer group; also needed by one that only assigns.
        start: where to begin without a position; `error` once positions are known, so that
            retention can't skip records in silence.
        overrides: librdkafka properties by their own names.

    """
    return _made(
        Consumer,
        _common(settings, bootstrap)
        | {
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": start,
            # On a half-open connection it would read nothing for librdkafka's minute; what it asks
            # for at once arrives in time over a slow line, too
            "socket.timeout.ms": 10_000,
            "fetch.max.bytes": 8_000_000,
        }
        | overrides,
    )


def admin(settings: Settings, bootstrap: str, **overrides: Any) -> AdminClient:
    """An admin client for one task: make a fresh one each time, never keep it.

    A long-lived one answers FENCED_LEADER_EPOCH for ever after a broker's restart.
    """
    return _made(AdminClient, _common(settings, bootstrap) | overrides)


def metadata(client: AdminClient, bootstrap: str, timeout_s: float = 10.0) -> ClusterMetadata:
    """The cluster's brokers and topics; asking creates no topic.

    Raises:
        UnreachableError: no broker answers in time.

    """
    try:
        return client.list_topics(timeout=timeout_s)
    except KafkaException as error:
        raise unreachable(bootstrap, error) from None


def unreachable(bootstrap: str, error: KafkaException) -> UnreachableError:
    """The error for a Kafka that doesn't answer."""
    return UnreachableError(
        f"Kafka at {bootstrap} can't be reached ({_text(error.args[0])}): start it (`milepost up`)"
        " or correct MILEPOST_BOOTSTRAP_SERVERS and MILEPOST_KAFKA_*"
    )


class Delivery:
    """A set of records on their way, whose arrival is checked as a whole."""

    def __init__(self, producer: Producer, timeout_s: float = 35.0) -> None:
        """Start the clock.

        Args:
            producer: may be shared with other deliveries and threads.
            timeout_s: limit for the whole set; longer than the producer's own delivery time-out,
                the cause of a failure is known better.

        """
        self._producer = producer
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._positions: list[Position | None] = []
        self._open: dict[int, str] = {}
        self._failure: DeliveryError | None = None

    def add(self, record: Outgoing) -> None:
        """Hand one record to the producer; waits while its queue is full.

        Raises:
            DeliveryError: the queue stayed full, or an earlier record of the set failed.

        """
        index = len(self._positions)
        self._positions.append(None)
        self._open[index] = record.topic
        while True:
            try:
                self._produce(record, index)
            except BufferError:
                self._wait_a_little()
            except KafkaException as error:
                del self._open[index]
                raise _failure(record.topic, error.args[0]) from None
            else:
                return

    def wait(self) -> list[Position]:
        """Return once every record is acknowledged: positions in the order they were added.

        Raises:
            DeliveryError: one was refused or not acknowledged in time; the message names its topic.

        """
        while self._open:
            self._wait_a_little()
        if self._failure is not None:
            raise self._failure
        return [position for position in self._positions if position is not None]

    def _produce(self, record: Outgoing, index: int) -> None:
        def on_delivery(error: KafkaError | None, message: Message) -> None:
            topic = self._open.pop(index, record.topic)
            if error is not None:
                self._failure = self._failure or _failure(topic, error)
                return
            partition, offset = message.partition(), message.offset()
            self._positions[index] = Position(
                topic, -1 if partition is None else partition, -1 if offset is None else offset
            )

        self._producer.produce(
            record.topic,
            record.value,
            record.key,
            -1 if record.partition is None else record.partition,
            on_delivery=on_delivery,
            headers=list(record.headers),
        )

    def _wait_a_little(self) -> None:
        self._producer.poll(_POLL_S)
        if self._failure is not None:
            raise self._failure
        if self._open and time.monotonic() > self._deadline:
            topic = next(iter(self._open.values()))
            raise DeliveryTimeoutError(topic, f"not within {self._timeout_s:g} s", _RETRY)


def deliver(
    producer: Producer, records: Iterable[Outgoing], timeout_s: float = 35.0
) -> list[Position]:
    """Produce a set of records and return only when Kafka has acknowledged all of them.

    Args:
        producer: from `producer`; may be shared.
        records: the set; delivering none is fine.
        timeout_s: limit for the whole set.

    Raises:
        DeliveryError: at least one was not acknowledged; the message names its topic.

    """
    delivery = Delivery(producer, timeout_s)
    for record in records:
        delivery.add(record)
    return delivery.wait()


def _made(kind: Callable[..., T], config: dict[str, Any]) -> T:
    """A client, or the sentence that says which setting it refuses.

    Raises:
        SettingsError: librdkafka doesn't take the configuration.

    """
    try:
        return kind(config, logger=_LOG)
    except KafkaException as error:
        detail = error.args[0].str()
        raise SettingsError(
            f"MILEPOST_KAFKA_*: the client refuses its settings: {detail}"
        ) from None


def _common(settings: Settings, bootstrap: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": bootstrap,
        "client.id": "milepost",
        # A broker that restarts is found again within a second instead of ten
        "reconnect.backoff.max.ms": 1_000,
        **settings.kafka_client(),
    }


def _failure(topic: str, error: KafkaError) -> DeliveryError:
    remedy = _REFUSALS.get(error.code())
    if remedy is not None:
        return DeliveryRefusedError(topic, _text(error), remedy)
    return DeliveryTimeoutError(topic, _text(error), _RETRY)


def _text(error: KafkaError) -> str:
    return f"{error.name()}: {error.str()}"
