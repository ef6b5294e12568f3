"""What the portal does with the topics it follows: records to the store, and how far it has read.

Must never know how effects are stored.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

import structlog
from confluent_kafka import OFFSET_END, Consumer, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin._metadata import ClusterMetadata

from connectors.applied import NOTHING, TopicPartition
from connectors.portal.apply import Arrived
from connectors.portal.progress import Progress
from connectors.portal.tables import StoreError
from connectors.portal.writer import Batch, PublishedBundle, SetAside, StoreWriter
from connectors.sinks.decoding import Decoder
from connectors.sinks.following import ANSWER_S, Incoming, Intake
from connectors.sinks.outages import sentence
from pipeline.contract.codec import UndecodableError
from pipeline.contract.names import APPROVED, ENTITY_STATUS, POLICY
from pipeline.telemetry.metrics import Metrics

OUTAGE_S_MAX: Final = 60.0
"""Outage after which the consumer is made anew: an old one may not find the brokers again."""

_log = structlog.get_logger(__name__)


class Reporter(Protocol):
    """Is told how following goes."""

    def say(self, state: str, detail: str = "") -> None:
        """Note the state: reading, or waiting for an outage to end."""

    def tell(self, writer: StoreWriter) -> None:
        """Write the state down."""


class PortalIntake(Intake):
    """Takes records into the portal's store, for one session of a consumer.

    Args:
        reporter: told how it goes.
        writer: writes the store.
        decoder: reads values.
        clock_ms: the portal's own clock, ms UTC.
        metrics: records are counted there.

    """

    topics = (APPROVED, ENTITY_STATUS)

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

    def prepare(self, cluster: ClusterMetadata) -> list[str]:
        """Try again what could not be decoded before; returns the topics to follow.

        Raises:
            StoreError: the store follows another cluster.

        """
        # Without a published bundle the portal calls things as the files beside it do
        topics = [*self.topics, *([POLICY] if POLICY in cluster.topics else [])]
        self._writer.prepare(
            str(cluster.cluster_id),
            [
                TopicPartition(name, part)
                for name in topics
                for part in cluster.topics[name].partitions
            ],
        )
        for item in self._writer.set_aside():
            with contextlib.suppress(UndecodableError):
                record = self._decoder.decode(item.topic, item.value or b"")
                self._writer.recover(
                    Arrived(item.topic, item.partition, item.offset, item.published_ms, record)
                )
        return topics

    def claim(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Take partitions over from whoever applied them before."""
        self._partitions = self._writer.claim(partitions)
        return {at: progress.claim.next_offset for at, progress in self._partitions.items()}

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Take no more records of these partitions."""
        for at in partitions:
            self._partitions.pop(at, None)

    def take(self, records: Sequence[Incoming]) -> dict[TopicPartition, int]:
        """Apply records and move positions in one transaction.

        Raises:
            FencedError: another process took a partition over.
            UnreachableError: the registry is away.
            sqlalchemy.exc.SQLAlchemyError: the database is away.

        """
        batch = Batch()
        for record in records:
            progress = self._partitions.get(record.at)
            if progress is not None:
                self._read(batch, record)
                progress.record(record.offset, record.published_ms)
        return self._commit(batch) if batch else {}

    def positions(self) -> dict[TopicPartition, int]:
        """Where the store is, whoever takes the records."""
        return self._writer.positions()

    def tick(self, consumer: Consumer) -> dict[TopicPartition, int]:
        """Ask for the ends of the topics, and say how the sink is."""
        moved = {}
        if self._partitions:
            self._ask_ends(consumer)
            if any(progress.news for progress in self._partitions.values()):
                moved = self._commit(Batch())
        self._reporter.tell(self._writer)
        return moved

    def removed(self, at: TopicPartition) -> StoreError:
        """The error to raise if the topic no longer has what comes next."""
        return StoreError(
            f"{at.topic}[{at.partition}] no longer has the offset where the portal's store ends: "
            "records were removed or the topic was made anew; remove the store to build it from "
            "what the topic has"
        )

    def reached_end(self, at: TopicPartition, offset: int) -> None:
        """There is nothing to read before this offset."""
        progress = self._partitions.get(at)
        if progress is not None:
            progress.reached_end(offset)

    def _read(self, batch: Batch, record: Incoming) -> None:
        at, offset, published_ms, key, value = record
        if value is None:
            return  # the topic forgets an entity; the portal keeps its story
        if at.topic == POLICY:
            version = (key or b"").decode("utf-8", "replace")
            batch.bundle = PublishedBundle(version, published_ms, value)
            return
        try:
            content = self._decoder.decode_patiently(at.topic, value)
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
                SetAside(*at, offset, published_ms, key, value, error.reason, str(error))
            )
        else:
            batch.add(Arrived(*at, offset, published_ms, content))

    def _commit(self, batch: Batch) -> dict[TopicPartition, int]:
        self._writer.commit(batch, self._partitions)
        for outcome, records in (("applied", batch.milestones), ("set_aside", batch.set_aside)):
            if records:
                self._metrics.add(
                    "milepost_sink_records_total", len(records), sink="portal", outcome=outcome
                )
        positions = {at: progress.claim.next_offset for at, progress in self._partitions.items()}
        return {at: position for at, position in positions.items() if position != NOTHING}

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
