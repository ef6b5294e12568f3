"""What audits and inspections may look at: topics, partition by partition, as they are now.

`TopicEvidence` reads Kafka; another may hold copies. Must never know what a record proves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from pipeline.contract.codec import Schema
from pipeline.kafka.decoding import Decoder
from pipeline.kafka.reading import LogReader, Span, Stored

Progress = Callable[[str, int, int], None]
"""Told what is being read, how far, and of how much."""


class Evidence(Protocol):
    """Committed records of topics, and how to read them."""

    def partitions(self, topic: str) -> list[int]:
        """Partition numbers of a topic; empty if it doesn't exist."""

    def span(self, topic: str, partition: int) -> Span:
        """Where a partition starts, and its end of now, everything before it decided."""

    def records(self, topic: str, partition: int, span: Span) -> Iterator[Stored]:
        """Committed records of a span, in order."""

    def since(self, topic: str, partition: int, time_ms: int) -> int:
        """Offset of the first record appended at or after a time; the end if none was."""

    def decode(self, value: bytes | None, name: str) -> dict[str, Any]:
        """One value, read as `schemas/<name>.avsc`; UndecodableError if it is no such record."""

    def written(self, number: int) -> Schema:
        """The schema with that id; UndecodableError if there is none that can be used."""


class TopicEvidence:
    """The topics of a cluster themselves.

    Args:
        reader: reads them.
        decoder: knows the schemas they were written with.
        progress: told what is being read.

    """

    def __init__(
        self, reader: LogReader, decoder: Decoder, progress: Progress | None = None
    ) -> None:
        self._reader = reader
        self._progress = progress
        self.partitions = reader.partitions
        self.span = reader.settled
        self.since = reader.since
        self.decode = decoder.decode
        self.written = decoder.written

    def records(self, topic: str, partition: int, span: Span) -> Iterator[Stored]:
        """Committed records of a span, in order.

        Raises:
            UnreachableError: no broker answers.

        """
        tell = self._progress
        label = f"{topic}[{partition}]"
        return self._reader.read(
            topic,
            {partition: span},
            None if tell is None else lambda passed, total: tell(label, passed, total),
        )
