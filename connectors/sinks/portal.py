"""The portal's sink: approved milestones and entity status from Kafka into the portal's store.

Effects and positions commit in one database transaction, so a kill anywhere loses and repeats
nothing. An outage of Kafka, registry or database is waited out; the sink never ends for one, and
says so in the store. Must never judge a milestone.
"""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

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
from sqlalchemy.exc import SQLAlchemyError

from connectors.applied import NOTHING, FencedError, TopicPartition
from connectors.portal import tables
from connectors.portal.apply import Arrived
from connectors.portal.decode import SCHEMAS, Decoder
from connectors.portal.progress import Progress
from connectors.portal.writer import Batch, PublishedBundle, SetAside, StoreWriter
from pipeline.contract.codec import UndecodableError
from pipeline.contract.names import POLICY
from pipeline.governance.reasons import Reason
from pipeline.kafka import clients
from pipeline.kafka.errors import UnreachableError
from pipeline.kafka.registry import NEGATIVE_CACHE_MS, Registry
from pipeline.settings import Settings

BATCH_RECORDS_MAX: Final = 2_000
LINGER_S: Final = 0.02
"""How long a batch gathers records once it has the first."""
TICK_S: Final = 2.0
"""How often the topics' ends are asked for and the store is told how the sink is."""
ANSWER_S: Final = 3.0
"""How long one question to Kafka may take."""
OUTAGE_S_MAX: Final = 60.0
"""Outage after which the consumer is made anew: an old one may not find the brokers again."""
BACK_OFF_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)

_OUTAGES = (UnreachableError, KafkaException, SQLAlchemyError, OSError)
_log = structlog.get_logger(__name__)


class Where(NamedTuple):
    """Addresses of what the sink reads from."""

    bootstrap: str
    registry_url: str


class PortalSink:
    """Keeps the portal's store up to date, until told to stop.

    Args:
        settings: group, security, database.
        find: tells the addresses; asked at each attempt to connect, may raise UnreachableError.
        clock_ms: the portal's own clock, ms UTC.

    """

    def __init__(
        self,
        settings: Settings,
        find: Callable[[], Where],
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._settings = settings
        self._find = find
        self._clock_ms = clock_ms
        self._url = tables.database_url(settings)
        self._state = "starting"
        self._detail = ""
        self._since_ms = clock_ms()

    def run(self, stop: threading.Event) -> None:
        """Follow the topics until the event is set; outages are waited out."""
        failures = 0
        while not stop.is_set():
            began = time.monotonic()
            try:
                self._follow(stop)
            except (FencedError, tables.StoreError, *_OUTAGES) as error:
                blocked = isinstance(error, tables.StoreError)
                self.say("blocked" if blocked else "waiting", _sentence(error))
                if time.monotonic() - began > BACK_OFF_S[-1]:
                    failures = 0
                wait_s = BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)]
                failures += 1
            else:
                self.say("stopped")
                wait_s = 0.0
            self._write_down()
            stop.wait(wait_s * random.uniform(0.7, 1.0))  # noqa: S311  spreads reconnects

    def say(self, state: str, detail: str = "") -> None:
        """Note how the sink is: starting, reading, waiting (for an outage), blocked, stopped."""
        if state != self._state:
            level = _log.warning if state in {"waiting", "blocked"} else _log.info
            level("portal sink", state=state, detail=detail)
            self._since_ms = self._clock_ms()
        self._state, self._detail = state, detail

    def tell(self, writer: StoreWriter) -> None:
        """Write down how the sink is, for those who only have the store."""
        writer.tell(self._state, self._detail, self._since_ms)

    def _follow(self, stop: threading.Event) -> None:
        """One attempt: connect and read until something fails or the stop."""
        engine = tables.open_writer(self._url)
        try:
            writer = StoreWriter(engine, self._url, self._clock_ms)
            self.tell(writer)
            where = self._find()
            with Registry.of(self._settings, where.registry_url) as registry:
                session = _Session(self, writer, Decoder(registry), self._clock_ms)
                session.run(self._settings, where.bootstrap, stop)
        finally:
            engine.dispose()

    def _write_down(self) -> None:
        with contextlib.suppress(tables.StoreError, SQLAlchemyError, OSError):
            engine = tables.open_writer(self._url)
            try:
                self.tell(StoreWriter(engine, self._url, self._clock_ms))
            finally:
                engine.dispose()


def run_portal_sink(settings: Settings, bootstrap: str, registry_url: str) -> None:
    """Keep the portal's store up to date until SIGINT or SIGTERM; outages are waited out.

    Args:
        settings: group, security, database.
        bootstrap: Kafka bootstrap servers.
        registry_url: the schema registry.

    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    where = Where(bootstrap, registry_url)
    PortalSink(settings, lambda: where).run(stop)


class _Session:
    """One consumer, from its first question to its end."""

    def __init__(
        self, sink: PortalSink, writer: StoreWriter, decoder: Decoder, clock_ms: Callable[[], int]
    ) -> None:
        self._sink = sink
        self._writer = writer
        self._decoder = decoder
        self._clock_ms = clock_ms
        self._partitions: dict[TopicPartition, Progress] = {}
        self._answered = time.monotonic()
        self._ticked = 0.0

    def run(self, settings: Settings, bootstrap: str, stop: threading.Event) -> None:
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
        missing = [name for name in SCHEMAS if name not in found.topics]
        if missing:
            raise UnreachableError(
                f"Kafka at {bootstrap} has no topic {' and '.join(missing)}: run `milepost topics "
                "apply`"
            )
        # Without a published bundle the portal calls things as the files beside it do
        topics = [*SCHEMAS, *([POLICY] if POLICY in found.topics else [])]
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
            record = self._decode_patiently(at.topic, value)
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

    def _decode_patiently(self, topic: str, value: bytes) -> dict[str, Any]:
        """Decode; a schema that the registry does not show yet is asked for once more."""
        try:
            return self._decoder.decode(topic, value)
        except UndecodableError as error:
            if error.reason not in {Reason.SCHEMA_NOT_ALLOWED, Reason.UNKNOWN_SCHEMA}:
                raise
        time.sleep(NEGATIVE_CACHE_MS / 1_000 * 1.1)
        return self._decoder.decode(topic, value)

    def _judge(
        self, error: KafkaError, at: TopicPartition, progress: Progress | None, message: Message
    ) -> None:
        """Tell a partition's end from what ends the session; the client mends the rest itself."""
        code = error.code()
        if code == KafkaError._PARTITION_EOF:  # noqa: SLF001  librdkafka's codes have no other name
            if progress is not None:
                progress.reached_end(_known(message.offset()))
        elif code == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
            raise tables.StoreError(
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
        self._sink.tell(self._writer)

    def _ask_ends(self, consumer: Consumer) -> None:
        asked_ms = self._clock_ms()
        try:
            ends = _ends(consumer, self._partitions)
        except KafkaException as error:
            if time.monotonic() - self._answered > OUTAGE_S_MAX:
                raise
            self._sink.say("waiting", _sentence(error))
            return
        self._answered = time.monotonic()
        for at, end in ends.items():
            self._partitions[at].asked_end(asked_ms, end)
        self._sink.say("reading")


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


def _sentence(error: BaseException) -> str:
    """One sentence for a person."""
    if isinstance(error, KafkaException):
        cause: KafkaError = error.args[0]
        return f"Kafka does not answer ({cause.name()}: {cause.str()})"
    if isinstance(error, SQLAlchemyError):
        return f"The portal's store can't be used ({type(error).__name__}: {_first_line(error)})"
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:500] or type(error).__name__
