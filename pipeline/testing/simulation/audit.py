"""The invariants, checked step by step: what each is, and which records show it.

A transaction is looked at once its last marker is written; what readers see, as soon as they may.
Nothing is taken from a worker but what it wrote, and its memory to compare. Must never change
anything.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import orjson

from pipeline.contract import codec, names
from pipeline.governance.ledger import state_digest
from pipeline.streams.state import PARTITION_KEY, PartitionState
from pipeline.testing.simulation.broker import Broker
from pipeline.testing.simulation.conservation import Ledger
from pipeline.testing.simulation.knowledge import inputs_of
from pipeline.testing.simulation.log import Entry, Log, Transaction
from pipeline.testing.simulation.publication import Readers
from pipeline.testing.simulation.reference import Reference
from pipeline.testing.simulation.violation import ViolationError
from pipeline.testing.simulation.worker import GROUP

INVARIANTS: Final = {
    "conservation": "Every input record has exactly one disposition; blocks tile the inputs and"
    " name the one before",
    "clock": "A partition's clock has not passed a record that nobody has read",
    "once": "Each revision of a milestone, each number of an entity appears once, in order",
    "links": "Each link is written once and applied once",
    "letters": "Each dead letter is its origin, byte for byte, and has one verdict",
    "state": "What the changelog gives back is what the worker has and what the ledger vouches for",
    "determinism": "A worker without faults that reads what the ledger read writes the same bytes",
    "worker": "A worker ends only as it is meant to",
    "liveness": "When faults stop, everything is read and decided, and no transaction stays open",
}
"""What is promised, by name."""


class Audit:
    """Checks one world.

    Args:
        broker: what its workers write to.

    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._ledgers = [Ledger(number, broker) for number in range(broker.partitions)]
        self._readers = Readers(broker)
        self._reference = Reference(broker)
        self._kept: list[dict[bytes, bytes]] = [{} for _ in range(broker.partitions)]
        """What the changelog gives back, by partition."""
        self.transactions = 0
        """How many were looked at."""

    @property
    def records(self) -> int:
        """Input records that were decided."""
        return sum(ledger.seq for ledger in self._ledgers)

    @property
    def fates(self) -> Counter[str]:
        """How often the ledgers give each reason."""
        return sum((ledger.fates for ledger in self._ledgers), Counter())

    def look(self) -> None:
        """Look at what has happened since the last time.

        Raises:
            ViolationError: an invariant doesn't hold.

        """
        finished = self._broker.finished
        while finished:
            transaction = finished.pop(0)
            if transaction.committed and transaction.producer.startswith(GROUP):
                self._take(transaction)
        self._readers.look()

    def compare(self, state: PartitionState, who: str) -> None:
        """Hold a worker's memory against the changelog, where nothing is on its way.

        Raises:
            ViolationError: they differ.

        """
        kept = self._kept[state.partition]
        restored = PartitionState.restore(state.partition, kept)
        mine, theirs = _own(restored), _own(state)
        if mine != theirs or _digest(kept) != state.digest or len(restored) != len(state):
            told = f"partition {state.partition}: {who} has {theirs}, the changelog gives {mine}"
            raise ViolationError("state", told)

    def unfinished(self, goal_ms: int) -> str | None:
        """What is still to be read or decided; None: nothing.

        Args:
            goal_ms: time that every clock is to reach.

        """
        transactions = self._broker.transactions
        if transactions.open or transactions.decided:
            return "a transaction is open or lacks markers"
        for ledger in self._ledgers:
            if ledger.clock < goal_ms:
                behind = goal_ms - ledger.clock
                return f"the clock of partition {ledger.partition} is {behind} ms behind"
            inputs = inputs_of(ledger.policy)
            for place, log in self._broker.logs.items():
                if place[1] == ledger.partition and place[0] in inputs:
                    entries, _ = log.read(max(ledger.positions.get(place[0], 0), log.start), 1)
                    if entries:
                        return f"{place[0]} {place[1]}: offset {entries[0].offset} was not read"
        return None

    def held_back(self, partition: int) -> list[str]:
        """Platforms that a partition does not trust now."""
        own = orjson.loads(self._kept[partition].get(PARTITION_KEY, b"{}"))
        return sorted(own["trust"]["held_back"]) if own else []

    def conclude(self) -> None:
        """Check what holds at the end only.

        Raises:
            ViolationError: something doesn't.

        """
        self._readers.conclude(self._ledgers)
        for number in range(self._broker.partitions):
            self._reference.conclude(number, self._kept[number])

    def canonical(self, key: bytes | None, value: bytes | None) -> bytes | None:
        """A changelog value with the order of its names settled, which hashing leaves open."""
        if key != PARTITION_KEY or value is None:
            return value
        return orjson.dumps(orjson.loads(value), option=orjson.OPT_SORT_KEYS)

    def _take(self, transaction: Transaction) -> None:
        """Look at one committed transaction of a worker."""
        self.transactions += 1
        written = transaction.records
        blocks: dict[int, list[dict[str, Any]]] = {}
        for log, entry in written:
            if log.topic == names.DECISIONS:
                block = codec.decode(entry.value or b"", codec.committed("decision-block"))
                self._ledgers[log.partition].take(block, entry.value or b"")
                blocks.setdefault(log.partition, []).append(block)
        told = dict.fromkeys(log.partition for log, _ in written if log.topic == names.CHANGELOG)
        for number in told:
            self._reference.follow(blocks.get(number, []), transaction, number, self._kept[number])
        self._reference.compare(written)
        self._keep(written)
        for number in told:
            self._ledgers[number].agree(orjson.loads(self._kept[number][PARTITION_KEY]))
            if _digest(self._kept[number]) != int(self._ledgers[number].state_digest or "0", 16):
                found = f"partition {number}: not what its ledger vouches for"
                raise ViolationError("state", found)

    def _keep(self, written: list[tuple[Log, Entry]]) -> None:
        """Fold the changelog."""
        for log, entry in written:
            if log.topic != names.CHANGELOG:
                continue
            kept, key = self._kept[log.partition], entry.key or b""
            if entry.value is None:
                kept.pop(key, None)
            else:
                kept[key] = entry.value


def _digest(kept: dict[bytes, bytes]) -> int:
    """Of all entities, as the ledger has it; reckoned from nothing."""
    total = 0
    for key, value in kept.items():
        if key != PARTITION_KEY:
            total = state_digest(total, key, None, value)
    return total


def _own(state: PartitionState) -> Any:
    return orjson.loads(state.own_record()[1])
