"""Approved records of one partition: each keyed, headed and numbered as it has to be.

What the ledger decided of them is `revisions`'s to compare. Must never read an input: what a claim
says is left for `inputs`, as `Carried`.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from pipeline.contract import codec, names
from pipeline.kafka.reading import Stored
from pipeline.operations.proof.carried import Carried
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.proof.ledger import DIGEST_BYTES, LedgerWalk, Told, digest_of, packed
from pipeline.operations.proof.report import Report
from pipeline.operations.proof.spill import Buckets, Column

Record = dict[str, Any]

_STORY: Final = 3
_HEADERS: Final = {
    names.HEADER_ACTION: "action",
    names.HEADER_ASSURANCE: "assurance",
    names.HEADER_EVENT_TYPE: "event_type",
    names.HEADER_TENANT: "tenant",
}


class ApprovedCheck:
    """Reads approved records and stories of one partition.

    Args:
        evidence: the topics.
        walk: the ledger up to the cut.
        report: told what doesn't hold.

    """

    def __init__(self, evidence: Evidence, walk: LedgerWalk, report: Report) -> None:
        self.carried = Carried(walk.seq, walk.folder)
        self.transactions = Column("<qI", walk.folder)
        """Offset of each one's first record, and how many it has."""
        self.running = Column(f"<q{DIGEST_BYTES}s", walk.folder)
        """By record: its offset, and the running digest of all up to it."""
        self.ids: list[tuple[int, int]] = []
        """From how many records on they were written with which schema id."""
        self._evidence = evidence
        self._walk = walk
        self._report = report
        self._entities = Buckets("Bqq", walk.folder)
        """By entity: told by whom, entity_seq, offset."""
        self._read()
        self._read_stories()

    def conclude(self) -> None:
        """Number entities and their stories, and hold the digest of all against the ledger's."""
        for _, entries in self._entities.groups():
            self._follow(entries)
        known, same = len(self.running), 0
        for count, digest, _ in self._walk.approved:
            if not 0 < count <= known:
                continue
            offset, running = self.running[count - 1]
            if running != digest:
                first, _ = self.running[min(same, count - 1)]
                detail = f"one of these, up to offset {offset}, is not as the ledger vouches for"
                self._wrong("altered", first, detail)
                return
            same = count

    def _read(self) -> None:
        number, running, behind = self._walk.partition, b"", -1
        span = self._evidence.span(names.APPROVED, number)
        for record in self._evidence.records(names.APPROVED, number, span):
            self._report.approved += 1
            running = hashlib.blake2b(
                running + (record.value or b""), digest_size=DIGEST_BYTES
            ).digest()
            self.running.append(record.offset, running)
            if record.offset == behind:
                last = len(self.transactions) - 1
                first, count = self.transactions[last]
                self.transactions[last] = first, count + 1
            else:
                self.transactions.append(record.offset, 1)
            behind = record.offset + 1
            self._take(record)

    def _wrong(self, rule: str, offset: int, detail: str) -> None:
        self._report.flag(rule, names.APPROVED, self._walk.partition, offset, detail)

    def _take(self, record: Stored) -> None:
        offset = record.offset
        try:
            body = self._evidence.decode(record.value, "approved-milestone")
        except codec.UndecodableError as error:
            self._wrong("approved", offset, f"no approved record: {error}")
            return
        number = codec.schema_id(record.value)
        if not self.ids or self.ids[-1][1] != number:
            self.ids.append((len(self.running) - 1, number))
        entity = _key(body)
        if record.key != entity:
            self._wrong("approved", offset, f"its key is not {entity.decode()}")
        found = dict(record.headers)
        for name, field in _HEADERS.items():
            if found.get(name) != body[field].encode():
                self._wrong("approved", offset, f"header {name} is not {body[field]!r}")
        self._entities.add(digest_of(entity), Told.THERE, body["entity_seq"], offset)
        milestone, number = packed(body["milestone_id"]), len(self.transactions) - 1
        revision = body["revision"] & 0xFFFF_FFFF
        self._walk.revisions.add(milestone, Told.THERE, revision, offset, number)
        self._trace(offset, body)

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

    def _read_stories(self) -> None:
        number = self._walk.partition
        span = self._evidence.span(names.ENTITY_STATUS, number)
        for record in self._evidence.records(names.ENTITY_STATUS, number, span):
            try:
                body = self._evidence.decode(record.value, "entity-status")
            except codec.UndecodableError as error:
                detail = f"no story: {error}"
                self._report.flag("status", names.ENTITY_STATUS, number, record.offset, detail)
                continue
            entity = digest_of(record.key)
            self._entities.add(entity, _STORY, body["entity_seq"], record.offset)

    def _follow(self, entries: list[tuple[int, int, int]]) -> None:
        """One entity: its records count on, and its newest story is not behind them."""
        told, last = 0, -1
        for by, seq, offset in entries:
            if by == Told.THERE:
                if seq != told + 1:
                    detail = f"entity_seq {seq}, {told + 1} is due for its entity"
                    self._wrong("sequence", offset, detail)
                told, last = seq, offset
        stories = [(seq, offset) for by, seq, offset in entries if by == _STORY]
        if told and not stories:
            self._wrong("status", last, f"its entity is at entity_seq {told} and has no story")
        elif stories and stories[-1][0] < told:
            seq, offset = stories[-1]
            detail = f"this story is at entity_seq {seq}, the entity's approved records at {told}"
            self._report.flag("status", names.ENTITY_STATUS, self._walk.partition, offset, detail)


def _key(body: Record) -> bytes:
    """Key of the entity that a record is about: `tenant/type/id`, `%` and `/` in them escaped."""
    parts = (body["tenant"], body["entity_type"], body["entity_id"])
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts).encode()
