"""Records that the ledger sent elsewhere: dead letters, and strays on the re-keyed topic.

Must never read a header for more than its reason, and the digest of what it left out.
"""

from __future__ import annotations

from collections import Counter, deque
from pathlib import Path
from typing import Final

from pipeline.contract import names
from pipeline.kafka.reading import Stored
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.proof.ledger import LedgerWalk, Told, digest_of, letter
from pipeline.operations.proof.report import Beyond, Report
from pipeline.operations.proof.spill import Buckets, Column

_TRANSACTION_MS: Final = 60_000
"""A dead letter and its block commit together, so they are not further apart than this."""
_REASON: Final = f"{names.DEAD_LETTER_PREFIX}reason"
_OMITTED: Final = f"{names.DEAD_LETTER_PREFIX}omitted"
"""Only on a letter that is too large to keep the value that it is about."""
_DIGEST: Final = f"{names.DEAD_LETTER_PREFIX}value-digest"
"""Of a value that was left out."""

Entry = tuple[int, int, int, int, int]
"""Told by whom, block or ordinal of the letter, append time, offset, transaction."""


class LetterCheck:
    """Reads the dead letters of one partition number.

    Args:
        evidence: the topics.
        walk: the ledger up to the cut.
        report: told what doesn't hold.

    """

    def __init__(self, evidence: Evidence, walk: LedgerWalk, report: Report) -> None:
        self._walk = walk
        self._report = report
        self._blocks = Column("<qq", walk.folder)
        """By letter: its offset, and the block that ordered it plus one; 0: none."""
        self._missing: Counter[int] = Counter()
        """By the ledger's transaction."""
        self._unknown = False
        self._beyond = 0
        span = evidence.span(names.DEAD_LETTER, walk.partition)
        self._retention = span.start > 0
        self._oldest_ms: int | None = None
        for record in evidence.records(names.DEAD_LETTER, walk.partition, span):
            if self._oldest_ms is None:
                self._oldest_ms = record.timestamp_ms
            ordinal = report.dead_letters
            report.dead_letters += 1
            walk.letters.add(
                letter_of(record), Told.THERE, ordinal, record.timestamp_ms, record.offset, 0
            )
            self._blocks.append(record.offset, 0)

    def conclude(self) -> None:
        """Compare with the ledger, which was walked to its end."""
        for _, entries in self._walk.letters.groups():
            due = deque(entry for entry in entries if entry[0] != Told.THERE)
            for entry in entries:
                if entry[0] == Told.THERE:
                    self._match(entry, due)
            for entry in due:
                self._miss(entry)
        self._order()
        for number, missing in sorted(self._missing.items()):
            offset, _, written = self._walk.transactions[number]
            if missing == written and not self._unknown:  # else they are there, but altered
                detail = f"this block stands, and none of the {written} dead letters that its"
                detail = f"{detail} transaction wrote does"
                self._report.flag("torn", names.DECISIONS, self._walk.partition, offset, detail)
        if self._beyond:
            beyond = Beyond(names.DEAD_LETTER, self._walk.partition, self._beyond)
            self._report.beyond.append(beyond)

    def _wrong(self, offset: int, detail: str) -> None:
        number = self._walk.partition
        self._report.flag("dead_letters", names.DEAD_LETTER, number, offset, detail)

    def _match(self, found: Entry, due: deque[Entry]) -> None:
        """Find the verdict of a dead letter."""
        _, ordinal, time_ms, offset, _ = found
        while due and due[0][2] < time_ms - _TRANSACTION_MS:
            self._miss(due.popleft())
        if due:
            self._blocks[ordinal] = offset, due.popleft()[1] + 1
        else:
            self._unknown = True
            self._wrong(offset, "no verdict dead-lettered these bytes for that reason")

    def _miss(self, entry: Entry) -> None:
        """Flag what is missing, unless it is older than what retention has left."""
        by, block, written_ms, offset, number = entry
        oldest_ms = self._oldest_ms
        if by != Told.DUE:
            return
        if self._retention and (oldest_ms is None or written_ms <= oldest_ms + _TRANSACTION_MS):
            self._beyond += 1
            return
        self._missing[number] += 1
        detail = f"block {block} dead-lettered a record, and it is not on {names.DEAD_LETTER}"
        self._report.flag("dead_letters", names.DECISIONS, self._walk.partition, offset, detail)

    def _order(self) -> None:
        newest = 0
        for offset, block in self._blocks:
            if 0 < block < newest:
                detail = f"belongs to block {block - 1}, after one of block {newest - 1}"
                self._wrong(offset, detail)
            newest = max(newest, block)


class ReroutedCheck:
    """Re-keyed records against rerouted verdicts, over all partitions.

    Args:
        folder: for what doesn't stay in memory.
        report: told what doesn't hold.

    """

    def __init__(self, folder: Path | None, report: Report) -> None:
        self.told = Buckets("BIq", folder)
        """By digest: told by whom, partition and offset there."""
        self._report = report
        self._taken = False

    def read(self, evidence: Evidence) -> None:
        """Read the re-keyed records: between every ledger's cut and the rest of it."""
        numbers = evidence.partitions(names.REKEYED)
        self._taken = not numbers
        for number in numbers:
            span = evidence.span(names.REKEYED, number)
            self._taken |= span.start > 0
            for record in evidence.records(names.REKEYED, number, span):
                self.told.add(digest_of(record.value), Told.THERE, number, record.offset)

    def conclude(self, *, everything: bool) -> None:
        """Hold both against each other.

        Args:
            everything: whether every partition's ledger was read: else who sent a record is not
                known of all.

        """
        beyond = 0
        for _, entries in self.told.groups():
            there = [entry for entry in entries if entry[0] == Told.THERE]
            due = [entry for entry in entries if entry[0] == Told.DUE]
            verdicts = len(entries) - len(there)
            if everything:
                for _, number, offset in there[verdicts:]:
                    detail = "no verdict rerouted these bytes"
                    self._report.flag("rerouted", names.REKEYED, number, offset, detail)
            missing = due[len(there) :]
            if self._taken:
                beyond += len(missing)
                continue
            for _, number, offset in missing:
                detail = f"a record was rerouted here, and it is not on {names.REKEYED}"
                self._report.flag("rerouted", names.DECISIONS, number, offset, detail)
        if beyond:
            self._report.beyond.append(Beyond(names.REKEYED, -1, beyond))


def letter_of(record: Stored) -> bytes:
    """What identifies a dead letter: the bytes it is about, and the reason it gives."""
    found = dict(record.headers)
    reason = (found.get(_REASON) or b"").decode("utf-8", "replace")
    if _OMITTED not in found:
        return letter(digest_of(record.value), reason)
    try:
        omitted = bytes.fromhex((found.get(_DIGEST) or b"").decode())
    except ValueError:
        omitted = b""
    return letter(omitted, reason)
