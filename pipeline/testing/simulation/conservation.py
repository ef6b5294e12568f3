"""One partition's ledger, checked block by block against the logs it speaks of.

Must never share code with the worker that writes it, but for two hashes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any, Final

from pipeline.contract import names
from pipeline.governance.ledger import digest
from pipeline.testing.simulation.broker import Broker
from pipeline.testing.simulation.knowledge import DECLARED, inputs_of
from pipeline.testing.simulation.log import Entry, Log
from pipeline.testing.simulation.violation import ViolationError

Block = dict[str, Any]
_HEADER_BYTES: Final = 5
_APPLIED: Final = frozenset({"link_applied"})
_DEAD: Final = "dead_lettered"


class Ledger:
    """A partition's ledger as far as it is visible.

    Args:
        partition: its number.
        broker: has the logs.

    """

    def __init__(self, partition: int, broker: Broker) -> None:
        self.partition = partition
        self.positions: dict[str, int] = {}
        self.seq = 0
        self.clock = 0
        self.state_digest = ""
        self.policy = ""
        self.approved = (0, "")
        """How many approved records, and their running digest."""
        self.dead = 0
        """How many verdicts and transitions ended in the dead letter."""
        self.fates: Counter[str] = Counter()
        """How often each reason was given."""
        self._block = 0
        self._chain = ""
        self._broker = broker
        self._since = 0
        """The clock when the bundle in force was activated."""

    def take(self, block: Block, value: bytes) -> None:
        """Check the next block.

        Raises:
            ViolationError: it is not what is due.

        """
        due = {
            "block": self._block,
            "first_seq": self.seq,
            "previous_hash": self._chain,
            "clock_before": self.clock,
            "partition": self.partition,
        }
        for name, wanted in due.items():
            if block[name] != wanted:
                self._wrong("conservation", f"{name} is {block[name]}, due is {wanted}")
        self._tile(block)
        self._block += 1
        self._chain = hashlib.sha256(value[_HEADER_BYTES:]).hexdigest()
        self.seq += len(block["decisions"])
        self.state_digest = block["state_digest"]
        if block["policy_version"] != self.policy:
            self.policy, self._since = block["policy_version"], self.clock
        self.approved = block["approved_count"], block["approved_digest"]
        for row in (*block["decisions"], *block["transitions"]):
            self.fates[row["reason"]] += 1
            self.dead += row.get("disposition", row.get("after")) == _DEAD
        if block["clock_after"] < self.clock:
            self._wrong("clock", f"it goes back from {self.clock} to {block['clock_after']}")
        self.clock = block["clock_after"]
        self._time(block)

    def agree(self, own: dict[str, Any]) -> None:
        """Hold what the changelog says of the partition against the ledger.

        Raises:
            ViolationError: they differ.

        """
        mine = {
            "block": self._block,
            "chain": self._chain,
            "seq": self.seq,
            "clock": self.clock,
            "positions": self.positions,
            "approved_count": self.approved[0],
            "approved_digest": self.approved[1],
        }
        for name, wanted in mine.items():
            if own[name] != wanted:
                self._wrong("state", f"its {name} is {own[name]}, the ledger has {wanted}")

    def _wrong(self, invariant: str, found: str) -> None:
        raise ViolationError(invariant, f"partition {self.partition}, block {self._block}: {found}")

    def _tile(self, block: Block) -> None:
        rows: dict[int, list[Block]] = {}
        for row in block["decisions"]:
            rows.setdefault(row["input"], []).append(row)
        for index, covered in enumerate(block["inputs"]):
            topic, at = covered["topic"], covered["first"]
            due = self.positions.get(topic, 0)
            if at != due:
                self._wrong("conservation", f"{topic} goes on at {at}, due is {due}")
            log = self._broker.log(topic, self.partition)
            pieces: list[tuple[int, int, Block]] = [
                *((row["offset"], row["offset"] + 1, row) for row in rows.pop(index, [])),
                *((gap["first"], gap["next"], gap) for gap in covered["gaps"]),
            ]
            for first, until, piece in sorted(pieces, key=lambda piece: piece[:2]):
                if first != at:
                    self._wrong("conservation", f"{topic}: {at} to {first} is told never or twice")
                if "cause" in piece:
                    self._gap(log, first, until, piece["cause"])
                else:
                    self._row(log, log.entries[first], piece)
                at = until
            if at != covered["next"] or at > log.end:
                self._wrong("conservation", f"{topic}: told to {at} of {covered['next']}")
            self.positions[topic] = at
        if rows:
            self._wrong("conservation", f"verdicts on inputs {sorted(rows)} that it does not cover")

    def _row(self, log: Log, entry: Entry, row: Block) -> None:
        if not entry.visible or row["digest"] != digest(entry.value):
            where = f"{log.topic} {entry.offset}"
            self._wrong("conservation", f"{where}: decided about is not what is there")
        if log.topic == names.LINKS and row["reason"] not in _APPLIED:
            self._wrong("links", f"link {entry.offset} is {row['reason']}")

    def _gap(self, log: Log, first: int, until: int, cause: str) -> None:
        for entry in log.entries[first:until]:
            lost = cause == "RETENTION" and entry.offset < log.start
            undecided = entry.transaction is not None and entry.transaction.committed is None
            if not lost and (entry.visible or undecided):
                self._wrong("conservation", f"{log.topic} {entry.offset} is passed over as {cause}")

    def _time(self, block: Block) -> None:
        """See that every record older than the clock has been read."""
        ahead = {item["topic"]: item["read_to"] for item in block["ahead"]}
        known = inputs_of(block["policy_version"])
        for (topic, number), log in self._broker.logs.items():
            if number != self.partition or topic not in known:
                continue
            limit = ahead.get(topic, self.clock)
            entries, _ = log.read(max(log.start, self.positions.get(topic, 0)), 1)
            older = entries and entries[0].timestamp_ms < limit
            if older and (topic in DECLARED or entries[0].timestamp_ms > self._since):
                found = f"{topic} {entries[0].offset} is older than {limit} and was not read"
                self._wrong("clock", found)
