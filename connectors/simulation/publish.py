"""Sends a run's statements to Kafka, each platform on its own topic and in its own order.

At the pace of the run, or as fast as Kafka takes them. Must never judge a statement.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from confluent_kafka import Producer

from connectors.simulation.address import Addresses, encode
from connectors.simulation.statement import Statement
from connectors.simulation.traffic import Sending
from pipeline.contract.bundle import Bundle
from pipeline.contract.names import subject
from pipeline.kafka.clients import Outgoing, Position, deliver, producer
from pipeline.kafka.errors import UnreachableError
from pipeline.kafka.reading import partitions_of
from pipeline.kafka.registry import Registry
from pipeline.settings import Settings

SEQUENCE_HEADER: Final = "simulation.sequence"
"""Header with the order in which the platforms sent their records."""
SLICE_S: Final = 0.1
"""Statements of this long a time are sent together."""
TOGETHER_MAX: Final = 500


class Sent(NamedTuple):
    """A statement, and where Kafka put it."""

    sending: Sending
    position: Position


class Sender:
    """The platforms' producers.

    Args:
        settings: security settings pass through.
        bootstrap: bootstrap servers.
        registry: knows the ids of the raw event's schema.
        bundle: says which platform writes to which topic.

    Raises:
        UnreachableError: Kafka is away, or the raw topics are not there yet.

    """

    def __init__(
        self, settings: Settings, bootstrap: str, registry: Registry, bundle: Bundle
    ) -> None:
        self._addresses = Addresses(bundle)
        self._registry = registry
        self._partitions = {
            topic: len(partitions_of(settings, bootstrap, topic))
            for topic in self._addresses.topics
        }
        missing = [topic for topic, count in self._partitions.items() if not count]
        if missing:
            raise UnreachableError(
                f"{missing[0]} is not there yet: create it with `milepost topics apply`"
            )
        self._producer: Producer = producer(settings, bootstrap)

    def run(
        self,
        sendings: Sequence[Sending],
        stop: threading.Event,
        progress: Callable[[int], None] = lambda _count: None,
        *,
        paced: bool = True,
    ) -> list[Sent]:
        """Send everything, or what comes before `stop` is set.

        Args:
            sendings: in order.
            stop: ends the run early.
            progress: told how many statements Kafka has acknowledged.
            paced: each at its time; else as fast as possible.

        Raises:
            DeliveryError: Kafka did not acknowledge one of them.
            UnreachableError: Kafka or the registry is away.

        """
        began = time.monotonic()
        sent: list[Sent] = []
        while len(sent) < len(sendings) and not stop.is_set():
            elapsed_s = time.monotonic() - began
            batch = _due(sendings, len(sent), elapsed_s if paced else float("inf"))
            if not batch:
                stop.wait(max(0.0, sendings[len(sent)].at_s - elapsed_s))
                continue
            records = [self._record(item) for item in batch]
            positions = deliver(self._producer, records)
            sent += [Sent(*pair) for pair in zip(batch, positions, strict=True)]
            progress(len(sent))
            if paced:
                stop.wait(SLICE_S - (time.monotonic() - began - elapsed_s))
        return sent

    def _record(self, sending: Sending) -> Outgoing:
        statement: Statement = sending.statement
        topic = self._addresses.topic(statement)
        schema_id = self._registry.id_for(subject(topic), "raw-event")
        return Outgoing(
            topic,
            encode(statement, schema_id),
            self._addresses.key(statement),
            ((SEQUENCE_HEADER, str(sending.sequence).encode()),),
            self._addresses.partition(statement, self._partitions[topic]),
        )


def _due(sendings: Sequence[Sending], first: int, elapsed_s: float) -> list[Sending]:
    """The next statements whose time has come."""
    last = first
    while last < len(sendings) and last - first < TOGETHER_MAX and sendings[last].at_s <= elapsed_s:
        last += 1
    return list(sendings[first:last])
