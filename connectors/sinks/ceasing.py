"""Notices a consumer that has ceased to read: another one finds records where it stands still.

Clients have been seen to come back from a broker's restart without a word and without a record.
What counts is what is found, never a clock alone: an idle topic, an open transaction, an outage or
a process that was stopped leave nothing that is found again and again. Must never know a store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

from confluent_kafka import OFFSET_BEGINNING
from confluent_kafka import TopicPartition as KafkaPartition

from connectors.applied import NOTHING, TopicPartition
from pipeline.kafka import clients
from pipeline.kafka.errors import UnreachableError
from pipeline.settings import Settings

LOOK_S: Final = 15.0
"""How often to look at what stands still."""
LOOKS: Final = 3
"""So many looks in a row have to find something unread at the same position."""
READ_S: Final = 3.0
"""How long one look may take."""


class CeasedError(UnreachableError):
    """The consumer leaves unread what another one can read: it has to be made anew."""


class Watch:
    """Compares positions from look to look.

    Args:
        find: tells in which partitions something can be read at or behind a position.

    """

    def __init__(
        self, find: Callable[[Mapping[TopicPartition, int]], Collection[TopicPartition]]
    ) -> None:
        self._find = find
        self._stood: dict[TopicPartition, int] = {}
        self._found: dict[TopicPartition, int] = {}

    def look(self, positions: Mapping[TopicPartition, int]) -> None:
        """Look once, at least `LOOK_S` after the last time.

        Args:
            positions: of what the consumer should read now.

        Raises:
            CeasedError: the last looks found the same.

        """
        still = {at: place for at, place in positions.items() if self._stood.get(at) == place}
        self._stood = dict(positions)
        unread = self._find(still) if still else ()
        self._found = {at: self._found.get(at, 0) + 1 for at in unread}
        ceased = sorted(at for at, looks in self._found.items() if looks >= LOOKS)
        if ceased:
            places = ", ".join(f"{topic}[{number}]" for topic, number in ceased)
            raise CeasedError(
                f"The client reads nothing of {places} any more, though another one does: it is"
                " made anew"
            )


def unread(
    settings: Settings, bootstrap: str, positions: Mapping[TopicPartition, int]
) -> set[TopicPartition]:
    """Partitions in which a consumer of its own finds a committed record at or behind a position.

    None where Kafka gives no answer: an outage is told by others.
    """
    found: set[TopicPartition] = set()
    todo = set(positions)
    consumer = clients.consumer(
        settings, bootstrap, "milepost-looking", "error", **{"enable.partition.eof": True}
    )
    try:
        consumer.assign(
            [
                KafkaPartition(*at, OFFSET_BEGINNING if place == NOTHING else place)
                for at, place in positions.items()
            ]
        )
        ends = time.monotonic() + READ_S
        while todo and time.monotonic() < ends:
            for message in consumer.consume(100, 0.2):
                partition = message.partition()
                at = TopicPartition(message.topic() or "", -1 if partition is None else partition)
                if message.error() is None:
                    found.add(at)
                todo.discard(at)
    finally:
        consumer.close()
    return found
