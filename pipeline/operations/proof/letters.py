"""Records that the ledger sent elsewhere: dead letters, and strays on the re-keyed topic.

Must never read a header for more than its reason.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import Final

from pipeline.contract import headers, names
from pipeline.kafka.reading import Stored
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.proof.ledger import Burial, LedgerWalk, Letter, digest_of
from pipeline.operations.proof.report import Beyond, Report

_TRANSACTION_MS: Final = 60_000
"""A dead letter and its block commit together, so they are not further apart than this."""


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
        self._later: list[tuple[int, Letter]] = []
        self._used: Counter[Letter] = Counter()
        self._due = {letter: deque(burials) for letter, burials in walk.burials.items()}
        self._missing: list[tuple[Letter, Burial]] = []
        number = walk.partition
        span = evidence.span(names.DEAD_LETTER, number)
        oldest_ms: int | None = None
        block = 0
        for record in evidence.records(names.DEAD_LETTER, number, span):
            report.dead_letters += 1
            oldest_ms = record.timestamp_ms if oldest_ms is None else oldest_ms
            block = self._take(record, block)
        self._missing += [(letter, item) for letter, due in self._due.items() for item in due]
        self._explain(retention=span.start > 0, oldest_ms=oldest_ms)

    def conclude(self) -> None:
        """What the ledger up to the cut doesn't explain, the rest of it must."""
        for offset, letter in self._later:
            self._used[letter] += 1
            if self._used[letter] > len(self._walk.burials.get(letter, ())):
                detail = f"no verdict dead-lettered these bytes as {letter.reason or 'nothing'}"
                self._wrong(offset, detail)

    def _wrong(self, offset: int, detail: str) -> None:
        number = self._walk.partition
        self._report.flag("dead_letters", names.DEAD_LETTER, number, offset, detail)

    def _take(self, record: Stored, block: int) -> int:
        """Find its verdict; the ordinal of that verdict's block."""
        letter = letter_of(record)
        due = self._due.get(letter, deque())
        while due and due[0].written_ms < record.timestamp_ms - _TRANSACTION_MS:
            self._missing.append((letter, due.popleft()))
        if not due:
            self._later.append((record.offset, letter))
            return block
        self._used[letter] += 1
        found = due.popleft().block
        if found < block:
            self._wrong(record.offset, f"belongs to block {found}, after one of block {block}")
        return max(block, found)

    def _explain(self, *, retention: bool, oldest_ms: int | None) -> None:
        """Flag what is missing, unless it is older than what retention has left."""
        beyond = 0
        for letter, burial in self._missing:
            if retention and (
                oldest_ms is None or burial.written_ms <= oldest_ms + _TRANSACTION_MS
            ):
                beyond += 1
            else:
                detail = f"block {burial.block} dead-lettered a record as {letter.reason}"
                self._wrong(-1, f"{detail}, and it is not there")
        if beyond:
            self._report.beyond.append(Beyond(names.DEAD_LETTER, self._walk.partition, beyond))


class ReroutedCheck:
    """Counts re-keyed records against rerouted verdicts, over all partitions.

    Args:
        report: told what doesn't hold.

    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._there: Counter[bytes] = Counter()
        self._due: Counter[bytes] = Counter()
        self._taken = False

    def take(self, evidence: Evidence, walk: LedgerWalk) -> None:
        """Read the re-keyed records of a partition; note what its ledger had rerouted by the cut.

        Every partition's cut lies before the first of these readings.
        """
        self._due += walk.rerouted
        number = walk.partition
        if number not in evidence.partitions(names.REKEYED):
            self._taken = True
            return
        span = evidence.span(names.REKEYED, number)
        self._taken |= span.start > 0
        for record in evidence.records(names.REKEYED, number, span):
            self._there[digest_of(record.value)] += 1

    @property
    def unexplained(self) -> bool:
        """Whether there are records that no ledger had rerouted by its cut."""
        return bool(self._there - self._due)

    def conclude(self, walks: Iterable[LedgerWalk]) -> None:
        """Hold both against each other.

        Args:
            walks: every partition's ledger, to its end.

        """
        known: Counter[bytes] = Counter()
        for walk in walks:
            known += walk.rerouted
        for count in (self._there - known).values():
            detail = f"{count} records with the same bytes that no verdict rerouted"
            self._report.flag("rerouted", names.REKEYED, -1, -1, detail)
        missing = (self._due - self._there).total()
        if missing and self._taken:
            self._report.beyond.append(Beyond(names.REKEYED, -1, missing))
        elif missing:
            detail = f"{missing} rerouted records are not there"
            self._report.flag("rerouted", names.REKEYED, -1, -1, detail)


def letter_of(record: Stored) -> Letter:
    """What identifies a dead letter: the bytes it is about, and the reason it gives."""
    found = dict(record.headers)
    reason = (found.get(f"{names.DEAD_LETTER_PREFIX}reason") or b"").decode("utf-8", "replace")
    omitted = headers.omitted_digest(record.headers)
    return Letter(digest_of(record.value) if omitted is None else omitted, reason)
