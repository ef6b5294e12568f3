"""One partition's ledger, walked block by block: its chain, its tiling, what it says of records.

What it says of each record goes to disk, 32 bytes, and 32 more where it publishes. Must never share
code with the worker that wrote the ledger.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipeline.operations.proof.spill import Buckets, Column

Record = dict[str, Any]
Wrong = Callable[[str, str], None]
"""Told a rule that doesn't hold, and how."""

DIGEST_BYTES: Final = 16
_HEADER_BYTES: Final = 5
_MISSING_MAX: Final = 10_000_000
"""A greater jump of ledger_seq is no missing block, and not worth the memory."""
_DEAD: Final = "dead_lettered"
_REROUTED: Final = "rerouted"


class Told(IntEnum):
    """Who says that there is a revision, a dead letter or a re-keyed record."""

    DUE = 0
    """The ledger, before the cut: it must be there."""
    LATER = 1
    """The ledger, behind the cut: it may be there."""
    THERE = 2
    """The topic itself."""


class Lost(NamedTuple):
    """Offsets [first, next) that retention took before anyone read them; the ledger says so."""

    topic: str
    first: int
    next: int


class At(NamedTuple):
    """Where and when a block was appended."""

    offset: int
    time_ms: int


class Head(NamedTuple):
    """Where a ledger stands after a block."""

    blocks: int
    chain: str
    state_digest: str
    positions: dict[str, int]


@dataclass
class Decided:
    """What the ledger says of one input, in order of offsets."""

    rows: Column
    """Offset and ledger_seq of each record."""
    next: int = 0


class LedgerWalk:
    """A partition's ledger, as far as it was walked.

    Args:
        partition: its number.
        rerouted: by digest of a record sent elsewhere: told by whom, partition and offset there.
        folder: for what doesn't stay in memory; None: the system's own.

    """

    def __init__(self, partition: int, rerouted: Buckets, folder: Path | None = None) -> None:
        self.partition = partition
        self.rerouted = rerouted
        self.folder = folder
        self.blocks = 0
        self.seq = 0
        self.chain = ""
        self.state_digest = ""
        self.told = Told.DUE
        """What it says now: until the cut, and behind it."""
        self.missing = 0
        """Blocks that are not there."""
        self.skipped = -1
        """Offset of the first block whose ledger_seq does not go on; -1: all do."""
        self.approved = Column("<q16sq", folder)
        """By block: how many approved records there are, their running digest, its offset."""
        self.wanted = 0
        """Number of blocks after which `marked` is to be kept."""
        self.marked: Head | None = None
        self.inputs: dict[str, Decided] = {}
        self.digests = Column(f"{DIGEST_BYTES}s", folder)
        """Of every record's value, by ledger_seq."""
        self.revisions = Buckets("BIqI", folder)
        """By milestone: told by whom, revision, offset there, transaction."""
        self.letters = Buckets("BqqqI", folder)
        """By bytes and reason: told by whom, block or ordinal, append time, offset, transaction."""
        self.transactions = Column("<qII", folder)
        """Offset of each one's first block, approved records and dead letters that it wrote."""
        self.lost: list[Lost] = []
        self.dispositions: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.last = -1
        """Offset of the newest block: where none follows at once, a transaction ended."""

    def take(self, block: Record, value: bytes, at: At, wrong: Wrong) -> None:
        """Walk over one block.

        Args:
            block: decoded.
            value: as it was written, with its header.
            at: where it is.
            wrong: told what doesn't hold.

        """
        if at.offset != self.last + 1 or not len(self.transactions):
            self.transactions.append(at.offset, 0, 0)
        self.last = at.offset
        self._link(block, at, wrong)
        self.chain = hashlib.sha256(value[_HEADER_BYTES:]).hexdigest()
        self._tile(block, wrong)
        self._note(block, at, wrong)
        self.blocks = block["block"] + 1
        self.seq = block["first_seq"] + len(block["decisions"])
        self.state_digest = block["state_digest"]
        if block["approved_count"] >= 0:
            running = bytes.fromhex(block["approved_digest"])
            self.approved.append(block["approved_count"], running, at.offset)
        if self.blocks == self.wanted:
            self.marked = self.head

    @property
    def head(self) -> Head:
        """Where it stands now."""
        positions = {topic: item.next for topic, item in self.inputs.items()}
        return Head(self.blocks, self.chain, self.state_digest, positions)

    def digest(self, seq: int) -> bytes | None:
        """Digest of the record with this ledger_seq; None: the ledger has none."""
        if not 0 <= seq < len(self.digests):
            return None
        found: bytes = self.digests[seq][0]
        return found

    def _link(self, block: Record, at: At, wrong: Wrong) -> None:
        number, first = block["block"], block["first_seq"]
        if number != self.blocks:
            self.missing += max(0, number - self.blocks)
            wrong("chain", f"block {number} where {self.blocks} is due")
        if block["previous_hash"] != self.chain:
            wrong("chain", f"block {number} does not name the block before it")
        if first != self.seq and self.skipped < 0:
            self.skipped = at.offset
        if first != self.seq or block["partition"] != self.partition:
            where = f"partition {block['partition']}, ledger_seq {first}"
            wrong("chain", f"block {number} begins at {where}, {self.seq} is due")

    def _room(self, first: int, count: int) -> int:
        """Room for digests, from where on: in step with ledger_seq, also behind missing blocks.

        A block that is there again, or too early, takes nothing from the others.
        """
        known = len(self.digests)
        at = first if 0 <= first <= known + _MISSING_MAX else known
        self.digests.resize(max(known, at + count))
        return at

    def _tile(self, block: Record, wrong: Wrong) -> None:
        taken: dict[int, list[int]] = {}
        for row in block["decisions"]:
            taken.setdefault(row["input"], []).append(row["offset"])
        for index, covered in enumerate(block["inputs"]):
            topic, first, until = covered["topic"], covered["first"], covered["next"]
            known = self._input(topic)
            if first != known.next:
                wrong("tiling", f"{topic} goes on at {first}, {known.next} is due")
            pieces = [(offset, offset + 1) for offset in taken.pop(index, [])]
            pieces += [(gap["first"], gap["next"]) for gap in covered["gaps"]]
            at = first
            for start, end in sorted(pieces):
                if start != at:
                    wrong("tiling", f"{topic}: {at} to {start} is not accounted for exactly once")
                at = end
            if at != until:
                wrong("tiling", f"{topic}: {at} to {until} is not accounted for")
            known.next = until
            for gap in covered["gaps"]:
                if gap["cause"] == "RETENTION":
                    self.lost.append(Lost(topic, gap["first"], gap["next"]))
        if taken:
            wrong("tiling", f"decisions of inputs that the block does not cover: {sorted(taken)}")

    def _input(self, topic: str) -> Decided:
        known = self.inputs.get(topic)
        if known is None:
            known = self.inputs[topic] = Decided(Column("<qq", self.folder))
        return known

    def _note(self, block: Record, at: At, wrong: Wrong) -> None:
        first, covered = block["first_seq"], block["inputs"]
        rows = [self._input(item["topic"]).rows for item in covered]
        buried = 0
        room = self._room(first, len(block["decisions"]))
        for place, row in enumerate(block["decisions"]):
            self.dispositions[row["disposition"]] += 1
            self.reasons[row["reason"]] += 1
            if row["input"] < len(rows):
                rows[row["input"]].append(row["offset"], first + place)
            self.digests[room + place] = (row["digest"],)
            buried += self._sent(row["disposition"], row["digest"], row["reason"], block, at)
        for row in block["transitions"]:
            digest = self.digest(row["seq"])
            if digest is None:
                wrong("chain", f"a transition is about ledger_seq {row['seq']}, which is not there")
            else:
                buried += self._sent(row["after"], digest, row["reason"], block, at)
        published = 0
        number = len(self.transactions) - 1
        for row in _publishing(block):
            milestone = packed(row["milestone_id"])
            self.revisions.add(milestone, self.told, row["revision"], at.offset, number)
            published += 1
        if published or buried:
            offset, approved, letters = self.transactions[number]
            self.transactions[number] = offset, approved + published, letters + buried

    def _sent(self, fate: str, digest: bytes, reason: str, block: Record, at: At) -> bool:
        """Note where a record was sent; whether to the dead letters."""
        if fate == _REROUTED:
            self.rerouted.add(digest, self.told, self.partition, at.offset)
        elif fate == _DEAD:
            number = len(self.transactions) - 1
            self.letters.add(
                letter(digest, reason), self.told, block["block"], at.time_ms, at.offset, number
            )
            return True
        return False


def digest_of(value: bytes | None) -> bytes:
    """Digest of a record's value, as the ledger has it: BLAKE2b, 16 bytes."""
    return hashlib.blake2b(value or b"", digest_size=DIGEST_BYTES).digest()


def letter(digest: bytes, reason: str) -> bytes:
    """What identifies a dead letter: its bytes and its reason."""
    return hashlib.blake2b(digest + reason.encode(), digest_size=DIGEST_BYTES).digest()


def packed(milestone_id: str) -> bytes:
    """A milestone id in 16 bytes; another text by its hash."""
    try:
        found = bytes.fromhex(milestone_id.replace("-", ""))
    except ValueError:
        found = b""
    return found if len(found) == DIGEST_BYTES else digest_of(milestone_id.encode())


def _publishing(block: Record) -> Iterator[Record]:
    for rows in (block["decisions"], block["transitions"]):
        for row in rows:
            if row["revision"] > 0:
                yield row
