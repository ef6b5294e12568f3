"""Approved records held against the ledger: each decided revision is there once, as it was said.

Must never read an input: what a claim says is left for `inputs` to compare, as `Carried`.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from pipeline.contract import codec, names
from pipeline.governance.identity import entity_key
from pipeline.kafka.reading import Stored
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.proof.ledger import DIGEST_BYTES, LedgerWalk, packed
from pipeline.operations.proof.report import Report

Record = dict[str, Any]

_CARRIED: Final = (
    "platform",
    "native_status",
    "native_reason",
    "classifier",
    "recorded",
    "occurred_offset_minutes",
    "leg",
    "attempt",
    "document",
    "warehouse_task",
    "amount",
    "currency",
)
_HEADERS: Final = {
    names.HEADER_ACTION: "action",
    names.HEADER_ASSURANCE: "assurance",
    names.HEADER_EVENT_TYPE: "event_type",
    names.HEADER_TENANT: "tenant",
}


class Carried:
    """What approved records carry of their claims, by ledger_seq: a hash, and the time."""

    def __init__(self, records: int) -> None:
        self._hashes = array("Q", bytes(8 * records))
        self._times = array("q", bytes(8 * records))
        self._more: dict[int, set[int]] = {}
        """Times of claims whose records carry different ones."""

    def __contains__(self, seq: int) -> bool:
        return seq < len(self._hashes) and self._hashes[seq] != 0

    def note(self, seq: int, approved: Record) -> bool:
        """Note what an approved record carries; False: another one of that claim differs."""
        found = _hash({**approved, "event_id": approved["source_event_id"]})
        before, time = self._hashes[seq], approved["occurred"]
        if before and self._times[seq] != time:
            self._more.setdefault(seq, set()).add(self._times[seq])
        self._hashes[seq], self._times[seq] = found, time
        return before in {0, found}

    def agrees(self, seq: int, raw: Record, width_ms: int) -> bool:
        """Whether a raw event says what was noted, its time at its own precision."""
        said = raw["occurred"] // width_ms
        times = [self._times[seq], *self._more.get(seq, ())]
        return self._hashes[seq] == _hash(raw) and all(time // width_ms == said for time in times)


class _Chain:
    """The running digest of a partition's approved records, held against the blocks'."""

    def __init__(self, walk: LedgerWalk) -> None:
        self._walk = walk
        self._known = max(walk.approved, default=0)
        self._count = 0
        self._digest = b""
        self._broken: int | None = None
        self._later: list[tuple[int, int, str]] = []
        """Offset, count and digest of records that blocks behind the cut are about."""

    def take(self, record: Stored) -> None:
        """Take in the next record."""
        value = self._digest + (record.value or b"")
        self._digest = hashlib.blake2b(value, digest_size=DIGEST_BYTES).digest()
        self._count += 1
        if self._count > self._known:
            self._later.append((record.offset, self._count, self._digest.hex()))
        elif self._differs(self._count, self._digest.hex()):
            self._broken = record.offset

    def broken(self) -> int | None:
        """Offset up to which records were altered, of the first block that shows it."""
        found = (at for at, count, digest in self._later if self._differs(count, digest))
        return next(found, None) if self._broken is None else self._broken

    def _differs(self, count: int, digest: str) -> bool:
        told = self._walk.approved.get(count)
        return self._broken is None and told is not None and told != digest


class ApprovedCheck:
    """Reads approved records and stories of one partition.

    Args:
        evidence: the topics.
        walk: the ledger up to the cut.
        report: told what doesn't hold.

    """

    def __init__(self, evidence: Evidence, walk: LedgerWalk, report: Report) -> None:
        self.carried = Carried(walk.seq)
        self._evidence = evidence
        self._walk = walk
        self._report = report
        self._seen: dict[bytes, int] = {}
        self._told: dict[bytes, int] = {}
        self._later: list[tuple[int, bytes, int]] = []
        number = walk.partition
        span = evidence.span(names.APPROVED, number)
        chain = _Chain(walk)
        for record in evidence.records(names.APPROVED, number, span):
            report.approved += 1
            chain.take(record)
            self._take(record)
        self._chain = chain
        for milestone, revision in walk.milestones.items():
            for missing in range(self._seen.get(milestone, 0) + 1, revision + 1):
                detail = (
                    f"milestone {UUID(bytes=milestone)} r{missing} was decided and is not there"
                )
                report.flag("approved", names.APPROVED, number, -1, detail)
        self._check_stories()

    def conclude(self) -> None:
        """What the ledger up to the cut doesn't explain, the rest of it must."""
        offset = self._chain.broken()
        if offset is not None:
            detail = "up to here the records are not those whose digest the ledger carries"
            self._wrong("altered", offset, detail)
        for offset, milestone, revision in self._later:
            if revision > self._walk.milestones.get(milestone, 0):
                detail = f"no verdict published milestone {UUID(bytes=milestone)} r{revision}"
                self._wrong("approved", offset, detail)

    def _wrong(self, rule: str, offset: int, detail: str) -> None:
        self._report.flag(rule, names.APPROVED, self._walk.partition, offset, detail)

    def _take(self, record: Stored) -> None:
        offset = record.offset
        try:
            body = self._evidence.decode(record.value, "approved-milestone")
        except codec.UndecodableError as error:
            self._wrong("approved", offset, f"no approved record: {error}")
            return
        entity = entity_key(body["tenant"], body["entity_type"], body["entity_id"]).encode()
        if record.key != entity:
            self._wrong("approved", offset, f"its key is not {entity.decode()}")
        found = dict(record.headers)
        for name, field in _HEADERS.items():
            if found.get(name) != body[field].encode():
                self._wrong("approved", offset, f"header {name} is not {body[field]!r}")
        self._count(offset, entity, body)
        self._trace(offset, body)

    def _count(self, offset: int, entity: bytes, body: Record) -> None:
        due = self._told.get(entity, 0) + 1
        if body["entity_seq"] != due:
            detail = f"{entity.decode()}: entity_seq {body['entity_seq']}, {due} is due"
            self._wrong("sequence", offset, detail)
        self._told[entity] = body["entity_seq"]
        milestone, revision = packed(body["milestone_id"]), body["revision"]
        due = self._seen.get(milestone, 0) + 1
        if revision < due:
            self._wrong("approved", offset, f"{body['milestone_id']} r{revision} is there before")
        elif revision > due:
            detail = f"{body['milestone_id']}: revision {revision}, {due} is due"
            self._wrong("sequence", offset, detail)
        self._seen[milestone] = max(revision, due - 1)
        if revision > self._walk.milestones.get(milestone, 0):
            self._later.append((offset, milestone, revision))

    def _trace(self, offset: int, body: Record) -> None:
        """Hold it against the record that it comes from."""
        seq = body["ledger_seq"]
        if body["ledger_partition"] != self._walk.partition:
            detail = f"names ledger {body['ledger_partition']}, its own is {self._walk.partition}"
            self._wrong("approved", offset, detail)
        digest = self._walk.digest(seq)
        if digest is None:
            return  # decided behind the cut: its revision is looked for there
        if body["raw_digest"] != digest.hex():
            detail = f"its raw_digest is not that of ledger_seq {seq}"
            self._wrong("carried", offset, detail)
        elif not self.carried.note(seq, body):
            self._wrong("carried", offset, f"another record of ledger_seq {seq} says otherwise")

    def _check_stories(self) -> None:
        """The newest story of each entity is not behind its approved records."""
        number = self._walk.partition
        newest: dict[bytes, tuple[int, int]] = {}
        span = self._evidence.span(names.ENTITY_STATUS, number)
        for record in self._evidence.records(names.ENTITY_STATUS, number, span):
            try:
                body = self._evidence.decode(record.value, "entity-status")
            except codec.UndecodableError as error:
                detail = f"no story: {error}"
                self._report.flag("status", names.ENTITY_STATUS, number, record.offset, detail)
                continue
            newest[record.key or b""] = record.offset, body["entity_seq"]
        for entity, told in self._told.items():
            offset, seq = newest.get(entity, (-1, 0))
            if seq < told:
                detail = f"{entity.decode()}: its story is at entity_seq {seq}, approved at {told}"
                self._report.flag("status", names.ENTITY_STATUS, number, offset, detail)


def _hash(body: Mapping[str, Any]) -> int:
    quantity = body["quantity"]
    measured = None if quantity is None else sorted(quantity.items())
    said = [body["event_id"], measured, *(body[name] for name in _CARRIED)]
    return hash(repr(said)) & 0xFFFF_FFFF_FFFF_FFFF or 1
