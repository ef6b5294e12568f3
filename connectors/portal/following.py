"""Follows the portal's topics with one consumer: reads, hands over for commit, asks for the ends.

Lives until something fails; whoever runs it starts another. Must never know how effects are stored.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
)
from confluent_kafka import TopicPartition as KafkaPartition

from connectors.applied import NOTHING, TopicPartition
from connectors.portal.apply import Arrived
from connectors.portal.outages import sentence
from connectors.portal.progress import Progress
from connectors.portal.tables import StoreError
from connectors.portal.writer import Batch, PublishedBundle, SetAside, StoreWriter
from connectors.sinks.decoding import Decoder
from pipeline.contract.codec import UndecodableError
from pipeline.contract.names import APPROVED, ENTITY_STATUS, POLICY
from pipeline.kafka import clients
from pipeline.kafka.errors import UnreachableError
from pipeline.settings import Settings
from pipeline.telemetry.metrics import Metrics

GOVERNED: Final = (APPROVED, ENTITY_STATUS)
"""What the store is made from."""
BATCH_RECORDS_MAX: Final = 2_000
LINGER_S: Final = 0.02
"""How long a batch gathers records once it has the first."""
TICK_S: Final = 2.0
"""How often the topics' ends are asked for and the store is told how the sink is."""
ANSWER_S: Final = 3.0
"""How long one question to Kafka may take."""
OUTAGE_S_MAX: Final = 60.0
"""Outage after which the consumer is made anew: an old one may not find the brokers again."""

_log = structlog.get_logger(__name__)


class Reporter(Protocol):
    """Is told how following goes."""

    def say(self, state: str, detail: str = "") -> None:
        """Note the state: reading, or waiting for an outage to end."""

    def tell(self, writer: StoreWriter) -> None:
        """Write the state down."""


class Session:
    """One consumer, from its first question to its end.

    Args:
        reporter: told how it goes.
        writer: writes the store.
        decoder: reads values.
        clock_ms: the portal's own clock, ms UTC.
        metrics: records are counted there.

    """

    def __init__(
        self,
        reporter: Reporter,
        writer: StoreWriter,
        decoder: Decoder,
        clock_ms: Callable[[], int],
        metrics: Metrics,
    ) -> None:
        self._reporter = reporter
        self._metrics = metrics
        self._writer = writer
        self._decoder = decoder
        self._clock_ms = clock_ms
        self._partitions: dict[TopicPartition, Progress] = {}
        self._answered = time.monotonic()
        self._ticked = 0.0

    def run(self, settings: Settings, bootstrap: str, stop: threading.Event) -> None:
        """Follow the topics until the event is set.

        Raises:
            FencedError: another process took a partition over.
            StoreError: the store does not fit this Kafka.
            UnreachableError: Kafka or the registry is away.
            KafkaException: the consumer can't go on.
            sqlalchemy.exc.SQLAlchemyError: the database is away.

        """
        consumer = clients.consumer(
            settings,
            bootstrap,
            settings.portal_group,
            "error",
            **{
                "enable.partition.eof": True,
                "session.timeout.ms": 6_000,
                "heartbeat.interval.ms": 2_000,
                "max.poll.interval.ms": 120_000,
                "fetch.wait.max.ms": 100,
                "fetch.queue.backoff.ms": 50,
                "reconnect.backoff.ms": 500,
            },
        )
        try:
            topics = self._prepare(consumer, bootstrap)
            consumer.subscribe(
                topics, on_assign=self._assigned, on_revoke=self._lost, on_lost=self._lost
            )
            while not stop.is_set():
                self._step(consumer)
        finally:
            consumer.close()

    def _prepare(self, consumer: Consumer, bootstrap: str) -> list[str]:
        """Try again what could not be decoded before; returns the topics to follow."""
        try:
            found = consumer.list_topics(timeout=ANSWER_S)
        except KafkaException as error:
            raise clients.unreachable(bootstrap, error) from None
        missing = [name for name in GOVERNED if name not in found.topics]
        if missing:
            raise UnreachableError(
                f"Kafka at {bootstrap} has no topic {' and '.join(missing)}: run `milepost topics "
                "apply`"
            )
        # Without a published bundle the portal calls things as the files beside it do
        topics = [*GOVERNED, *([POLICY] if POLICY in found.topics else [])]
        self._writer.prepare(
            found.cluster_id,
            [
                TopicPartition(name, part)
                for name in topics
                for part in found.topics[name].partitions
            ],
        )
        for item in self._writer.set_aside():
            with contextlib.suppress(UndecodableError):
                record = self._decoder.decode(item.topic, item.value or b"")
                self._writer.recover(
                    Arrived(item.topic, item.partition, item.offset, item.published_ms, record)
                )
        return topics

    def _assigned(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        ours = [TopicPartition(part.topic, part.partition) for part in partitions]
        self._partitions = self._writer.claim(ours)
        consumer.assign(
            [
                KafkaPartition(
                    at.topic, at.partition, OFFSET_BEGINNING if start == NOTHING else start
                )
                for at, start in (
                    (at, progress.claim.next_offset) for at, progress in self._partitions.items()
                )
            ]
        )
        self._ticked = 0.0

    def _lost(self, _consumer: Consumer, _partitions: list[KafkaPartition]) -> None:
        self._partitions = {}

    def _step(self, consumer: Consumer) -> None:
        first = consumer.poll(TICK_S / 4)
        messages = [] if first is None else [first]
        if first is not None:
            messages += consumer.consume(BATCH_RECORDS_MAX - 1, LINGER_S)
        batch = self._batch(messages)
        if batch:
            self._commit(consumer, batch)
        if time.monotonic() - self._ticked >= TICK_S:
            self._tick(consumer)

    def _batch(self, messages: Sequence[Message]) -> Batch:
        batch = Batch()
        for message in messages:
            at = TopicPartition(message.topic() or "", _known(message.partition()))
            progress = self._partitions.get(at)
            error = message.error()
            if error is not None:
                self._judge(error, at, progress, message)
            elif progress is not None:
                self._read(batch, at, message)
                progress.record(_known(message.offset()), message.timestamp()[1])
        return batch

    def _read(self, batch: Batch, at: TopicPartition, message: Message) -> None:
        value = message.value()
        if value is None:
            return  # the topic forgets an entity; the portal keeps its story
        offset, published_ms = _known(message.offset()), message.timestamp()[1]
        if at.topic == POLICY:
            version = (message.key() or b"").decode("utf-8", "replace")
            batch.bundle = PublishedBundle(version, published_ms, value)
            return
        try:
            record = self._decoder.decode_patiently(at.topic, value)
        except UndecodableError as error:
            _log.error(
                "record set aside",
                topic=at.topic,
                partition=at.partition,
                offset=offset,
                reason=error.reason,
                detail=str(error),
            )
            batch.set_aside.append(
                SetAside(*at, offset, published_ms, message.key(), value, error.reason, str(error))
            )
        else:
            batch.add(Arrived(*at, offset, published_ms, record))

    def _judge(
        self, error: KafkaError, at: TopicPartition, progress: Progress | None, message: Message
    ) -> None:
        """Tell a partition's end from what ends the session; the client mends the rest itself."""
        code = error.code()
        if code == KafkaError._PARTITION_EOF:  # noqa: SLF001  librdkafka's codes have no other name
            if progress is not None:
                progress.reached_end(_known(message.offset()))
        elif code == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
            raise StoreError(
                f"{at.topic}[{at.partition}] no longer has the offset where the portal's store "
                "ends: records were removed or the topic was made anew; remove the store to build "
                "it from what the topic has"
            )
        elif error.fatal() or code in (
            KafkaError._MAX_POLL_EXCEEDED,  # noqa: SLF001
            KafkaError.UNKNOWN_TOPIC_OR_PART,
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.GROUP_AUTHORIZATION_FAILED,
        ):
            raise KafkaException(error)

    def _commit(self, consumer: Consumer, batch: Batch) -> None:
        self._writer.commit(batch, self._partitions)
        for outcome, records in (("applied", batch.milestones), ("set_aside", batch.set_aside)):
            if records:
                self._metrics.add(
                    "milepost_sink_records_total", len(records), sink="portal", outcome=outcome
                )
        offsets = [
            KafkaPartition(at.topic, at.partition, progress.claim.next_offset)
            for at, progress in self._partitions.items()
            if progress.claim.next_offset != NOTHING
        ]
        if offsets:
            consumer.commit(offsets=offsets, asynchronous=True)

    def _tick(self, consumer: Consumer) -> None:
        """Ask for the ends of the topics, and say how the sink is."""
        self._ticked = time.monotonic()
        if self._partitions:
            self._ask_ends(consumer)
            if any(progress.news for progress in self._partitions.values()):
                self._commit(consumer, Batch())
        self._reporter.tell(self._writer)

    def _ask_ends(self, consumer: Consumer) -> None:
        asked_ms = self._clock_ms()
        try:
            ends = _ends(consumer, self._partitions)
        except KafkaException as error:
            if time.monotonic() - self._answered > OUTAGE_S_MAX:
                raise
            self._reporter.say("waiting", sentence(error))
            return
        self._answered = time.monotonic()
        for at, end in ends.items():
            self._partitions[at].asked_end(asked_ms, end)
        self._reporter.say("reading")


def _ends(consumer: Consumer, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """Last stable offsets.

    Raises:
        KafkaException: not every partition's leader answered in time.

    """
    asked = [KafkaPartition(*at, OFFSET_END) for at in partitions]
    found = {}
    for part in consumer.offsets_for_times(asked, timeout=ANSWER_S):
        if part.error is not None:
            raise KafkaException(part.error)
        found[TopicPartition(part.topic, part.partition)] = part.offset
    return found


def _known(number: int | None) -> int:
    return -1 if number is None else number
