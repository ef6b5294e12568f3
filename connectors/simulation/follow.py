"""Follows a run on Kafka: what the ledger says of each record, and what was approved, how fast.

Reads the governed topics as any consumer does, committed records only. Must never ask the governor.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from pipeline.contract import codec, names
from pipeline.governance.reasons import Reason
from pipeline.governance.vocabulary import Disposition
from pipeline.kafka import clients
from pipeline.kafka.reading import partitions_of
from pipeline.settings import Settings

Record = dict[str, Any]
Place = tuple[str, int, int]
"""Topic, partition, offset of an input record."""
Partition = tuple[str, int]
LedgerPlace = tuple[int, int]
"""Partition and sequence in the ledger."""
Fate = tuple[str, str]
"""Disposition or change, and reason."""
_FETCH: Final = 2_000
_OPEN: Final = Disposition.HELD.value
_BOUND: Final = (Disposition.REROUTED.value, Reason.REFERENCE_BOUND.value)
_OF_OURS: Final = frozenset({names.LINKS, names.CONTROL})
_SCHEMAS: Final = {names.DECISIONS: "decision-block", names.APPROVED: "approved-milestone"}


@dataclass
class Judged:
    """What became of one input record."""

    place: Place
    digest: bytes
    first: Fate
    last: Fate


@dataclass
class Followed:
    """What is known so far of a run."""

    judged: dict[LedgerPlace, Judged] = field(default_factory=dict)
    """Records of raw, re-keyed and replay topics; not links and control records."""
    approved: list[Record] = field(default_factory=list)
    waits: list[tuple[LedgerPlace, int]] = field(default_factory=list)
    """Of each approved record: its claim's ledger place, and ms from raw to approved."""
    approved_next: dict[int, int] = field(default_factory=dict)
    """By partition: offset after the last approved record."""
    first: Counter[Fate] = field(default_factory=Counter)
    """Raw records by disposition and reason, as they were first judged."""
    open_claims: int = 0
    """Claims that wait."""
    read_to: dict[Partition, int] = field(default_factory=dict)
    """By topic and partition of an input: offset after the last that the ledger accounts for."""
    others: int = 0
    """Links and control records that the ledger tiles besides."""

    @property
    def raw(self) -> int:
        """How many records of raw topics have a decision."""
        return self.first.total()

    def ends(self) -> Mapping[Place, Fate]:
        """How each raw record ended; one that was sent on ended as its re-keyed copy did."""
        copies = {
            item.digest: item.last
            for item in self.judged.values()
            if item.place[0] == names.REKEYED
        }
        return {
            item.place: copies.get(item.digest, item.last)
            if item.last[0] == Disposition.REROUTED
            else item.last
            for item in self.judged.values()
            if item.place[0].startswith(names.RAW_PREFIX)
        }

    @property
    def bound(self) -> int:
        """How many claims that knew only a reference were sent on to what it names."""
        return sum(item.last == _BOUND for item in self.judged.values())

    def latencies_ms(self, newest: int | None = None) -> list[int]:
        """From raw to approved, sorted, for claims that were approved when they were read.

        Claims that waited for their owner, a stop list or a predecessor waited on purpose.

        Args:
            newest: only of so many approved records; default: of all.

        """
        at_once = {Disposition.APPROVED.value, Disposition.PROVISIONAL.value}
        return sorted(
            wait_ms
            for ledger, wait_ms in (self.waits if newest is None else self.waits[-newest:])
            if (found := self.judged.get(ledger)) is not None and found.first[0] in at_once
        )


def percentile(ordered: list[int], share: float) -> int | None:
    """The value below which a share of sorted values lies; None of no values."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


class Follower(threading.Thread):
    """Reads ledger and approved records from their beginning until it is stopped.

    Args:
        settings: security settings pass through.
        bootstrap: bootstrap servers.
        group: no group is joined; only a name for the broker's logs.

    """

    def __init__(self, settings: Settings, bootstrap: str, group: str) -> None:
        super().__init__(name="follower", daemon=True)
        self.followed = Followed()
        self.lock = threading.Lock()
        self.failure: Exception | None = None
        self._stopping = threading.Event()
        self._consumer: Consumer = clients.consumer(settings, bootstrap, group, "earliest")
        self._consumer.assign(
            [
                TopicPartition(topic, number, 0)
                for topic in _SCHEMAS
                for number in partitions_of(settings, bootstrap, topic)
            ]
        )

    def run(self) -> None:
        """Read until stopped; `failure` tells why it ended before."""
        try:
            while not self._stopping.is_set():
                messages = self._consumer.consume(_FETCH, 0.1)
                with self.lock:
                    for message in messages:
                        self._take(message)
        except (KafkaException, codec.UndecodableError) as error:
            self.failure = error
        finally:
            self._consumer.close()

    def end(self) -> None:
        """Stop reading and wait until it has."""
        self._stopping.set()
        if self.is_alive():
            self.join()

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            raise KafkaException(error)
        topic = message.topic() or ""
        record = codec.decode(message.value() or b"", codec.committed(_SCHEMAS[topic]))
        if topic == names.DECISIONS:
            note_block(self.followed, record)
        else:
            note_approved(self.followed, record, message.timestamp()[1])
            next_offset = (message.offset() or 0) + 1
            self.followed.approved_next[message.partition() or 0] = next_offset


def note_block(followed: Followed, block: Record) -> None:
    """Take a block of the ledger into account."""
    partition = block["partition"]
    for item in block["inputs"]:
        followed.read_to[item["topic"], partition] = item["next"]
    for number, row in enumerate(block["decisions"]):
        topic = block["inputs"][row["input"]]["topic"]
        if topic in _OF_OURS:
            followed.others += 1
            continue
        fate = row["disposition"], row["reason"]
        followed.judged[partition, block["first_seq"] + number] = Judged(
            (topic, partition, row["offset"]), row["digest"], fate, fate
        )
        followed.open_claims += fate[0] == _OPEN
        if topic.startswith(names.RAW_PREFIX):
            followed.first[fate] += 1
    for row in block["transitions"]:
        judged = followed.judged.get((partition, row["seq"]))
        if judged is not None:
            followed.open_claims += (row["after"] == _OPEN) - (judged.last[0] == _OPEN)
            judged.last = row["after"], row["reason"]


def note_approved(followed: Followed, record: Record, appended_ms: int) -> None:
    """Take an approved record into account."""
    followed.approved.append(record)
    place = record["ledger_partition"], record["ledger_seq"]
    followed.waits.append((place, appended_ms - record["received"]))
