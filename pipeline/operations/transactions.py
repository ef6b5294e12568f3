"""Partitions whose transactions do not end, and what their coordinators decided last.

Each look uses fresh clients, since a long-lived one can be wrong after a broker's restart. Must
never end a transaction.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from confluent_kafka import KafkaException, TopicPartition

from pipeline.kafka import clients
from pipeline.kafka.errors import UnreachableError
from pipeline.kafka.reading import read_to_end
from pipeline.settings import Settings

GROUP = "milepost-doctor"
LOG = "__transaction_state"
READ_S = 10.0

STATES = (
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
)


class Decision(NamedTuple):
    """The last state of a transaction that names a partition."""

    state: str
    producer_id: int
    epoch: int
    at_ms: int = 0
    """When its coordinator wrote it, ms UTC."""


class Entry(NamedTuple):
    """One entry of the coordinators' log."""

    transactional_id: str
    decision: Decision
    partitions: list[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Stuck:
    """A partition whose last stable offset stands still below its end."""

    topic: str
    number: int
    stable: int
    end: int


def stuck(
    settings: Settings, bootstrap: str, patience_s: float, wait: Callable[[float], None]
) -> list[Stuck]:
    """Find partitions with a transaction that is open now and still is after `patience_s`."""
    before = _open(settings, bootstrap, None)
    if not before:
        return []
    wait(patience_s)
    after = _open(settings, bootstrap, [(one.topic, one.number) for one in before])
    stood = {(one.topic, one.number): one.stable for one in before}
    return [one for one in after if stood[one.topic, one.number] == one.stable]


def advice(state: str) -> str:
    """Say what to do about a transaction that stays open, given its last state."""
    if state in {"PrepareAbort", "CompleteAbort"}:
        return "It was to be aborted: `milepost transactions abort` for that partition is safe"
    if state == "Ongoing":
        return (
            "End the program with that transactional id, or wait: the broker aborts it when its "
            "own time-out has passed; `milepost transactions abort` does so at once"
        )
    return (
        "Do not abort it: its commit may be decided, and an abort would tear it. Stop the "
        "workers, keep the data, and run `milepost verify` to see which outputs are concerned"
    )


def entries(settings: Settings, bootstrap: str) -> Iterator[Entry]:
    """The coordinators' log up to its end of now; nothing of what can't be read.

    What concerns one transactional id is in order.
    """
    with contextlib.suppress(UnreachableError):
        for record in read_to_end(settings, bootstrap, LOG):
            if record.key and record.value:
                # The key is a version and a string of up to 32,767 bytes.
                name = record.key[4:].decode("utf-8", "replace")
                yield Entry(name, *entry(record.value))


def begun(settings: Settings, bootstrap: str, topic: str, number: int, offset: int) -> int:
    """When the record at an offset was appended, ms UTC; 0: it can't be read."""
    consumer = _consumer(settings, bootstrap, "read_uncommitted")
    try:
        consumer.assign([TopicPartition(topic, number, offset)])
        record = consumer.poll(READ_S)
    except KafkaException:
        return 0
    finally:
        consumer.close()
    if record is None or record.error() is not None or record.offset() != offset:
        return 0
    return max(0, int(record.timestamp()[1]))


def entry(value: bytes) -> tuple[Decision, list[tuple[str, int]]]:
    """Read one entry of the coordinators' log: what it says, and of which partitions."""
    version, producer_id, epoch, _, state = struct.unpack_from(">hqhib", value)
    at = struct.calcsize(">hqhib")
    name = STATES[state] if 0 <= state < len(STATES) else f"state {state}"
    partitions: list[tuple[str, int]] = []
    count, at = _length(value, at, version, ">i")
    for _ in range(count):
        size, at = _length(value, at, version, ">h")
        topic = value[at : at + size].decode("utf-8", "replace")
        at += size
        numbers, at = _length(value, at, version, ">i")
        partitions += [(topic, one) for one in struct.unpack_from(f">{numbers}i", value, at)]
        at += 4 * numbers
        at += 0 if version == 0 else 1  # no tagged fields are defined
    (at_ms,) = struct.unpack_from(">q", value, at)
    return Decision(name, producer_id, epoch, at_ms), partitions


def _length(value: bytes, at: int, version: int, form: str) -> tuple[int, int]:
    """Read a length: plain in version 0, a varint of length + 1 since."""
    if version == 0:
        (length,) = struct.unpack_from(form, value, at)
        return max(0, length), at + struct.calcsize(form)
    result = shift = 0
    while True:
        byte = value[at]
        at += 1
        result |= (byte & 127) << shift
        if byte < 128:
            return max(0, result - 1), at
        shift += 7


def _open(
    settings: Settings, bootstrap: str, partitions: list[tuple[str, int]] | None
) -> list[Stuck]:
    stable_reader = _consumer(settings, bootstrap, "read_committed")
    end_reader = _consumer(settings, bootstrap, "read_uncommitted")
    try:
        if partitions is None:
            topics = end_reader.list_topics(timeout=10).topics.values()
            partitions = [(one.topic, number) for one in topics for number in one.partitions]
        found = []
        for topic, number in partitions:
            try:
                # Stable first: it only grows, so a false gap can't come from the order.
                stable = _end(stable_reader, topic, number)
                end = _end(end_reader, topic, number)
            except KafkaException:
                continue  # deleted meanwhile, or without a leader: other checks' business
            if stable < end:
                found.append(Stuck(topic, number, stable, end))
        return found
    finally:
        stable_reader.close()
        end_reader.close()


def _end(consumer: Any, topic: str, number: int) -> int:
    return int(consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1])


def _consumer(
    settings: Settings,
    bootstrap: str,
    isolation: Literal["read_committed", "read_uncommitted"],
    **overrides: Any,
) -> Any:
    return clients.consumer(
        settings, bootstrap, GROUP, "earliest", **{"isolation.level": isolation}, **overrides
    )
