"""The one runtime of all sources: encode, address, produce, wait for delivery, retry, stop.

A checkpoint is stored only once Kafka has acknowledged every record of a document. Outages are
waited out with jitter; a record that Kafka refuses for good goes back to its source. Must never
know a format or a partner.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import structlog
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_random_exponential,
)

from connectors.addressing import Addressing, UnaddressableError
from connectors.protocols import ConfigurationError, Document, Record, Source
from pipeline.contract import codec
from pipeline.contract.names import subject
from pipeline.kafka.clients import Outgoing, Position, deliver, producer
from pipeline.kafka.errors import DeliveryError, UnreachableError, UnregisteredError
from pipeline.kafka.registry import Registry
from pipeline.settings import Settings
from pipeline.telemetry.metrics import Metrics

SCHEMA: Final = "raw-event"
POLL_MS: Final = 1_000
BACKOFF_MS_MAX: Final = 30_000
DELIVERY_MS: Final = 10_000
"""How long Kafka has to acknowledge: shorter than the client's default, a sender is waiting."""

_log = structlog.get_logger(__name__)


class RefusedError(Exception):
    """A record can never be delivered; the message says which and why."""


class Publisher:
    """Turns raw events into records on their topics, and knows when they have arrived.

    Safe to share between threads.
    """

    def __init__(
        self, settings: Settings, bootstrap: str, registry: Registry, addressing: Addressing
    ) -> None:
        self._settings = settings
        self._bootstrap = bootstrap
        self._registry = registry
        self._addressing = addressing
        self._schema = codec.committed(SCHEMA)
        self._lock = threading.Lock()
        self._producer: Any = None

    def records(self, events: Iterable[Record]) -> list[Outgoing]:
        """Encode events for their topics.

        Raises:
            UnaddressableError: an event names no known platform, account or entity.
            RefusedError: an event does not fit the schema.
            ConfigurationError: the schema is not registered for a topic.
            UnreachableError: the registry does not answer.

        """
        found = []
        for event in events:
            topic, key = self._addressing.address(event)
            try:
                schema_id = self._registry.id_for(subject(topic), SCHEMA)
            except UnregisteredError as error:
                raise ConfigurationError(str(error)) from None
            try:
                value = codec.encode(event, self._schema, schema_id)
            except Exception as error:  # noqa: BLE001  fastavro raises a dozen kinds
                detail = f"event {event.get('event_id')!r} does not fit the schema: {error}"
                raise RefusedError(detail) from None
            if len(value) > self._settings.record_bytes_max:
                raise RefusedError(
                    f"event {event['event_id'][:100]!r} has {len(value):,} bytes, more than the "
                    f"{self._settings.record_bytes_max:,} of MILEPOST_RECORD_BYTES_MAX"
                )
            found.append(Outgoing(topic, value, key))
        return found

    def publish(self, events: Iterable[Record]) -> list[Position]:
        """Produce events; returns once Kafka has acknowledged all of them.

        Raises:
            UnreachableError: Kafka or the registry is away; some may have arrived all the same.
            ConfigurationError: the schema is not registered, or the topic can't be written to.
            UnaddressableError: an event can't be addressed; nothing was sent.
            RefusedError: a record can never be delivered.

        """
        outgoing = self.records(events)
        if not outgoing:
            return []
        client = self._client()
        try:
            return deliver(client, outgoing, timeout_s=DELIVERY_MS / 1000 + 2)
        except UnreachableError:
            # An idempotent producer that failed may stay failed
            self._discard(client)
            raise
        except DeliveryError as error:
            self._discard(client)
            raise ConfigurationError(str(error)) from None

    def _client(self) -> Any:
        with self._lock:
            if self._producer is None:
                self._producer = producer(
                    self._settings, self._bootstrap, **{"delivery.timeout.ms": DELIVERY_MS}
                )
            return self._producer

    def _discard(self, client: Any) -> None:
        with self._lock:
            if self._producer is client:
                self._producer = None


class State(StrEnum):
    """What a source is doing."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    """For Kafka or the registry to come back."""
    STOPPED = "stopped"


@dataclass(slots=True)
class Status:
    """How a source is: it never reads running while it is stuck. Times are ms UTC."""

    state: State = State.STARTING
    trouble: str | None = None
    delivered_documents: int = 0
    delivered_records: int = 0
    refused_documents: int = 0
    delivered_ms: int | None = None
    waiting: int = 0

    def document(self) -> dict[str, Any]:
        """The status for a health answer."""
        return {
            "state": str(self.state),
            "trouble": self.trouble,
            "delivered_documents": self.delivered_documents,
            "delivered_records": self.delivered_records,
            "refused_documents": self.refused_documents,
            "delivered_ms": self.delivered_ms,
            "waiting": self.waiting,
        }


class Runtime:
    """Drives one source until it is told to stop, or once through what is there."""

    def __init__(
        self,
        publisher: Publisher,
        stop: threading.Event,
        metrics: Metrics | None = None,
        swept: Callable[[int], None] = lambda _began_ms: None,
    ) -> None:
        """Prepare it.

        Args:
            publisher: where documents go.
            stop: ends it.
            metrics: counts what is delivered.
            swept: told when a look at the source began (ms UTC) that left nothing waiting.

        """
        self._swept = swept
        self._publisher = publisher
        self._stop = stop
        self._metrics = metrics or Metrics()
        self.status = Status()

    def run(self, source: Source, *, once: bool = False, poll_ms: int = POLL_MS) -> Status:
        """Carry documents from a source to Kafka.

        Args:
            source: closed in the end.
            once: end when nothing is left to read.
            poll_ms: pause between looks at the source.

        Raises:
            ConfigurationError: nothing can be sent until somebody changes something.

        """
        log = _log.bind(source=source.name)
        log.info("source started", once=once)
        try:
            self.status.state = State.RUNNING
            while not self._stop.is_set():
                began_ms = time.time_ns() // 1_000_000
                for document in source.documents():
                    self._carry(source, document, log)
                    if self._stop.is_set():
                        break
                self.status.waiting = source.waiting()
                if not self.status.waiting and not self._stop.is_set():
                    self._swept(began_ms)
                if once and not self.status.waiting:
                    break
                self._stop.wait(poll_ms / 1000)
        finally:
            self.status.state = State.STOPPED
            source.close()
            log.info("source stopped", **self.status.document())
        return self.status

    def _carry(self, source: Source, document: Document, log: Any) -> None:
        """Deliver a document and settle it; returns without either if told to stop meanwhile."""
        attempts = Retrying(
            retry=retry_if_exception_type(UnreachableError),
            wait=wait_random_exponential(multiplier=0.5, max=BACKOFF_MS_MAX / 1000),
            sleep=sleep_using_event(self._stop),
            stop=stop_when_event_set(self._stop),
            before_sleep=self._waits,
            reraise=True,
        )
        try:
            attempts(self._publisher.publish, document.records)
        except UnreachableError:
            return
        except (RefusedError, UnaddressableError) as error:
            log.warning("document refused", document=document.name, why=str(error))
            self.status.refused_documents += 1
            source.refused(document, str(error))
            self._count(source, "refused", 0)
            return
        self.status.state, self.status.trouble = State.RUNNING, None
        source.delivered(document)
        self.status.delivered_documents += 1
        self.status.delivered_records += len(document.records)
        self.status.delivered_ms = time.time_ns() // 1_000_000
        self._count(source, "delivered", len(document.records))

    def _count(self, source: Source, outcome: str, records: int) -> None:
        self._metrics.add("milepost_source_documents_total", 1, source=source.name, outcome=outcome)
        self._metrics.add("milepost_source_records_total", records, source=source.name)

    def _waits(self, attempt: RetryCallState) -> None:
        outcome = attempt.outcome
        error = None if outcome is None else outcome.exception()
        self.status.state, self.status.trouble = State.WAITING, str(error)
        _log.warning("waiting for Kafka or the registry", why=str(error))
