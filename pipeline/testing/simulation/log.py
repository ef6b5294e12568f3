"""Logs of the simulated broker: records, commit markers, and how much of them a reader may see.

Must never draw a random number: whoever writes decides when.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

Headers = list[tuple[str, bytes | None]]


class Transaction:
    """Records of one producer that become visible together, or never."""

    __slots__ = ("author", "began_ms", "committed", "marks", "producer", "records", "unwritten")

    def __init__(self, producer: str, began_ms: int) -> None:
        self.producer = producer
        self.author: tuple[str, Mapping[int, int]] = ("", {})
        """The process, and how often it had read each partition's state back."""
        self.began_ms = began_ms
        self.committed: bool | None = None
        """None: not decided yet."""
        self.records: list[tuple[Log, Entry]] = []
        self.marks: dict[tuple[str, int], str] = {}
        """What it stores beside the positions of the group that it commits."""
        self.unwritten: list[Log | None] = []
        """Logs that still lack its marker; None stands for the group's offsets."""

    def join(self, log: Log | None) -> None:
        """Take part in a log, or in the group's offsets."""
        if log not in self.unwritten:
            self.unwritten.append(log)


class Entry(NamedTuple):
    """What occupies an offset. A marker has neither key nor value."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers | None
    transaction: Transaction | None
    marker: bool = False

    @property
    def visible(self) -> bool:
        """Whether a reader gets it, now that its transaction is decided."""
        return not self.marker and (self.transaction is None or self.transaction.committed is True)


class Log:
    """One partition of a topic. Offsets are never used again, whatever is removed."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.start = 0
        """First offset that retention has left."""
        self.compacted: set[int] = set()
        """Offsets that compaction has emptied."""
        self.entries: list[Entry] = []
        self._open: dict[Transaction, int] = {}

    @property
    def end(self) -> int:
        """Offset of the next record: the high watermark."""
        return len(self.entries)

    @property
    def stable(self) -> int:
        """Last stable offset: below it every transaction is decided and marked."""
        return min(self._open.values()) if self._open else len(self.entries)

    def append(
        self,
        now_ms: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] | None = None,
        transaction: Transaction | None = None,
    ) -> Entry:
        """Append one record, stamped with append time."""
        given = None if headers is None else list(headers)
        entry = Entry(len(self.entries), now_ms, key, value, given, transaction)
        self.entries.append(entry)
        if transaction is not None:
            self._open.setdefault(transaction, entry.offset)
            transaction.join(self)
            transaction.records.append((self, entry))
        return entry

    def mark(self, transaction: Transaction, now_ms: int) -> None:
        """Append the marker that tells how a transaction ended."""
        marker = Entry(len(self.entries), now_ms, None, None, None, transaction, marker=True)
        self.entries.append(marker)
        self._open.pop(transaction, None)

    def read(self, first: int, most: int) -> tuple[list[Entry], int]:
        """Committed records from an offset on.

        Args:
            first: where to begin.
            most: how many at most.

        Returns:
            The records, and the position behind them and behind what is skipped after them.

        """
        found: list[Entry] = []
        at, stable = first, self.stable
        while at < stable:
            entry = self.entries[at]
            if entry.visible and at not in self.compacted:
                if len(found) == most:
                    break
                found.append(entry)
            at += 1
        return found, at

    def compact(self, keeps_deletes: bool) -> None:  # noqa: FBT001  a coin is tossed for it
        """Empty what a newer committed record of its key replaces; nothing that isn't stable."""
        newest: dict[bytes | None, Entry] = {}
        for entry in self.entries[: self.stable]:
            if not entry.visible:
                self.compacted.add(entry.offset)
                continue
            before = newest.get(entry.key)
            if before is not None:
                self.compacted.add(before.offset)
            newest[entry.key] = entry
        if not keeps_deletes:
            self.compacted |= {entry.offset for entry in newest.values() if entry.value is None}
