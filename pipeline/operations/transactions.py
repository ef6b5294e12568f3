"""Partitions whose transactions do not end, and what their coordinators decided last.

Each look uses fresh clients, since a long-lived one can be wrong after a broker's restart. Must
never end a transaction.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from confluent_kafka import KafkaException, TopicPartition

from pipeline.kafka import clients
from pipeline.settings import Settings

GROUP = "milepost-doctor"
LOG = "__transaction_state"
READ_S = 30.0

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


Decisions = dict[tuple[str, int], dict[str, Decision]]
"""By topic and partition number, then by transactional id."""


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


def advice(states: Iterable[str]) -> str:
    """Say what to do about a partition, given the last states that name it."""
    known = set(states)
    if not known or known & {"PrepareCommit", "CompleteCommit"}:
        return (
            "Do not abort it: its commit may be decided, and an abort would tear it. Stop the "
            "workers, keep the data, and run `milepost verify` to see which outputs are concerned"
        )
    if "Ongoing" in known:
        return (
            "End the program with that transactional id, or wait: the broker aborts it when its "
            "own time-out has passed; `milepost transactions abort` does so at once"
        )
    return "It was to be aborted: `milepost transactions abort` for that partition is safe"


def last_decisions(settings: Settings, bootstrap: str) -> Decisions:
    """Read the coordinators' log: what was decided last for each partition.

    Empty if the log can't be read, as on clusters whose owners keep it to themselves.
    """
    consumer = _consumer(settings, bootstrap, "read_uncommitted", **{"enable.partition.eof": True})
    found: Decisions = {}
    try:
        numbers = list(consumer.list_topics(LOG, timeout=10).topics[LOG].partitions)
        consumer.assign([TopicPartition(LOG, number, 0) for number in numbers])
        ended: set[int | None] = set()
        deadline = time.monotonic() + READ_S
        while len(ended) < len(numbers) and time.monotonic() < deadline:
            for record in consumer.consume(1_000, 1.0):
                if record.error() is not None:
                    ended.add(record.partition())
                else:
                    _note(found, _bytes(record.key()), _bytes(record.value()))
    except KafkaException:
        return {}
    finally:
        consumer.close()
    return found


def _note(found: Decisions, key: bytes | None, value: bytes | None) -> None:
    if not key or not value:
        return
    # The key is a version and a string of up to 32,767 bytes.
    transactional_id = key[4:].decode("utf-8", "replace")
    decision, partitions = entry(value)
    for partition in partitions:
        found.setdefault(partition, {})[transactional_id] = decision


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
    return Decision(name, producer_id, epoch), partitions


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


def _bytes(value: Any) -> bytes | None:
    return value if isinstance(value, bytes) else None
