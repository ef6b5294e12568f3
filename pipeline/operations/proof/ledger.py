"""One partition's ledger, walked block by block: its chain, its tiling, what it says of records.

Kept in arrays, so that a partition of millions of records fits: 32 bytes a record. Must never share
code with the worker that wrote the ledger.
"""

from __future__ import annotations

import hashlib
import uuid
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

Record = dict[str, Any]
Wrong = Callable[[str, str], None]
"""Told a rule that doesn't hold, and how."""

DIGEST_BYTES: Final = 16
_HEADER_BYTES: Final = 5
_MISSING_MAX: Final = 10_000_000
"""A greater jump of ledger_seq is no missing block, and not worth the memory."""
_DEAD: Final = "dead_lettered"
_REROUTED: Final = "rerouted"


class Letter(NamedTuple):
    """What identifies a dead letter: the digest of its bytes, and the reason."""

    digest: bytes
    reason: str


class Burial(NamedTuple):
    """Where the ledger orders a dead letter: the block's ordinal and its append time."""

    block: int
    written_ms: int


class Lost(NamedTuple):
    """Offsets [first, next) that retention took before anyone read them; the ledger says so."""

    topic: str
    first: int
    next: int


class Head(NamedTuple):
    """Where a ledger stands after a block."""

    blocks: int
    chain: str
    state_digest: str
    positions: dict[str, int]


@dataclass
class Decided:
    """What the ledger says of one input, in order of offsets."""

    offsets: array[int] = field(default_factory=lambda: array("q"))
    seqs: array[int] = field(default_factory=lambda: array("q"))
    next: int = 0


class LedgerWalk:
    """A partition's ledger, as far as it was walked."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.blocks = 0
        self.seq = 0
        self.chain = ""
        self.state_digest = ""
        self.approved: dict[int, str] = {}
        """Running digest of the approved records, by how many there are."""
        self.wanted = 0
        """Number of blocks after which `marked` is to be kept."""
        self.marked: Head | None = None
        self.inputs: dict[str, Decided] = {}
        self.digests = bytearray()
        """Of every record's value, by ledger_seq."""
        self.milestones: dict[bytes, int] = {}
        """Newest revision by milestone id."""
        self.ahead: dict[bytes, set[int]] = {}
        """Revisions beyond it that were told before the one in between."""
        self.burials: dict[Letter, deque[Burial]] = {}
        self.rerouted: Counter[bytes] = Counter()
        """Digests of records that were sent to another partition."""
        self.lost: list[Lost] = []
        self.dispositions: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    def take(self, block: Record, value: bytes, written_ms: int, wrong: Wrong) -> None:
        """Walk over one block.

        Args:
            block: decoded.
            value: as it was written, with its header.
            written_ms: its append time, ms UTC.
            wrong: told what doesn't hold.

        """
        self._link(block, wrong)
        self._align(block["first_seq"])
        self.chain = hashlib.sha256(value[_HEADER_BYTES:]).hexdigest()
        self._tile(block, wrong)
        self._note(block, written_ms, wrong)
        self.blocks = block["block"] + 1
        self.seq = block["first_seq"] + len(block["decisions"])
        self.state_digest = block["state_digest"]
        if block["approved_count"] >= 0:
            self.approved[block["approved_count"]] = block["approved_digest"]
        if self.blocks == self.wanted:
            self.marked = self.head

    @property
    def head(self) -> Head:
        """Where it stands now."""
        positions = {topic: item.next for topic, item in self.inputs.items()}
        return Head(self.blocks, self.chain, self.state_digest, positions)

    def digest(self, seq: int) -> bytes | None:
        """Digest of the record with this ledger_seq; None: the ledger has none."""
        if not 0 <= seq < len(self.digests) // DIGEST_BYTES:
            return None
        return bytes(self.digests[seq * DIGEST_BYTES : (seq + 1) * DIGEST_BYTES])

    def _link(self, block: Record, wrong: Wrong) -> None:
        number, first = block["block"], block["first_seq"]
        if number != self.blocks:
            wrong("chain", f"block {number} where {self.blocks} is due")
        if block["previous_hash"] != self.chain:
            wrong("chain", f"block {number} does not name the block before it")
        if first != self.seq or block["partition"] != self.partition:
            where = f"partition {block['partition']}, ledger_seq {first}"
            wrong("chain", f"block {number} begins at {where}, {self.seq} is due")

    def _align(self, first: int) -> None:
        """Keep `digests` in step with ledger_seq where blocks are missing or doubled."""
        missing = first - len(self.digests) // DIGEST_BYTES
        if missing < 0:
            del self.digests[max(0, first) * DIGEST_BYTES :]
        elif missing <= _MISSING_MAX:
            self.digests += bytes(missing * DIGEST_BYTES)

    def _tile(self, block: Record, wrong: Wrong) -> None:
        taken: dict[int, list[int]] = {}
        for row in block["decisions"]:
            taken.setdefault(row["input"], []).append(row["offset"])
        for index, covered in enumerate(block["inputs"]):
            topic, first, until = covered["topic"], covered["first"], covered["next"]
            known = self.inputs.setdefault(topic, Decided())
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

    def _note(self, block: Record, written_ms: int, wrong: Wrong) -> None:
        burial = Burial(block["block"], written_ms)
        for place, row in enumerate(block["decisions"]):
            self.dispositions[row["disposition"]] += 1
            self.reasons[row["reason"]] += 1
            if row["input"] < len(block["inputs"]):
                known = self.inputs[block["inputs"][row["input"]]["topic"]]
                known.offsets.append(row["offset"])
                known.seqs.append(block["first_seq"] + place)
            self.digests += row["digest"]
            if row["disposition"] == _DEAD:
                self._bury(Letter(row["digest"], row["reason"]), burial)
            elif row["disposition"] == _REROUTED:
                self.rerouted[row["digest"]] += 1
        for row in block["transitions"]:
            digest = self.digest(row["seq"])
            if digest is None:
                wrong("chain", f"a transition is about ledger_seq {row['seq']}, which is not there")
            elif row["after"] == _DEAD:
                self._bury(Letter(digest, row["reason"]), burial)
            elif row["after"] == _REROUTED:
                self.rerouted[digest] += 1
        for row in _publishing(block):
            self._publish(packed(row["milestone_id"]), row["revision"], wrong)

    def _publish(self, milestone: bytes, revision: int, wrong: Wrong) -> None:
        """Count a revision.

        Transitions stand behind all decisions, in further blocks if they are many, so a revision
        may be told before the one that it follows; `unfinished` says whether one never was.
        """
        told = self.milestones.get(milestone, 0)
        ahead = self.ahead.get(milestone, set())
        if revision <= told or revision in ahead:
            name = uuid.UUID(bytes=milestone)
            wrong("sequence", f"the ledger gives {name} revision {revision} twice")
            return
        ahead.add(revision)
        while told + 1 in ahead:
            told += 1
            ahead.discard(told)
        self.milestones[milestone] = told
        if ahead:
            self.ahead[milestone] = ahead
        else:
            self.ahead.pop(milestone, None)

    @property
    def unfinished(self) -> list[str]:
        """Milestones with a revision whose predecessor is told nowhere."""
        return [str(uuid.UUID(bytes=milestone)) for milestone in self.ahead]

    def _bury(self, letter: Letter, burial: Burial) -> None:
        self.burials.setdefault(letter, deque()).append(burial)


def digest_of(value: bytes | None) -> bytes:
    """Digest of a record's value, as the ledger has it: BLAKE2b, 16 bytes."""
    return hashlib.blake2b(value or b"", digest_size=DIGEST_BYTES).digest()


def packed(milestone_id: str) -> bytes:
    """A milestone id in 16 bytes; another text by its hash."""
    try:
        return uuid.UUID(milestone_id).bytes
    except ValueError:
        return hashlib.blake2b(milestone_id.encode(), digest_size=16).digest()


def _publishing(block: Record) -> Iterator[Record]:
    for rows in (block["decisions"], block["transitions"]):
        for row in rows:
            if row["revision"]:
                yield row
