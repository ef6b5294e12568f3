"""Every published revision in the ledger held against the approved records, one to one.

Also names the transactions of which one side is missing altogether. Must never read a topic.
"""

from __future__ import annotations

from collections import Counter
from typing import Final
from uuid import UUID

from pipeline.contract import names
from pipeline.operations.proof.approved import ApprovedCheck
from pipeline.operations.proof.ledger import LedgerWalk, Told
from pipeline.operations.proof.report import Report

_NAMED_MAX: Final = 10_000
"""Transactions of which records are missing that are looked at as a whole."""

Entry = tuple[int, int, int, int]
"""Told by whom, revision, offset, transaction."""


class Revisions:
    """Compares one partition, once its ledger was walked to the end.

    Args:
        walk: the ledger.
        approved: its approved records.
        report: told what doesn't hold.

    """

    def __init__(self, walk: LedgerWalk, approved: ApprovedCheck, report: Report) -> None:
        self._walk = walk
        self._approved = approved
        self._report = report
        self._without: Counter[int] = Counter()
        """Decided revisions that are not there, by the ledger's transaction."""
        self._unknown: Counter[int] = Counter()
        """Approved records that nobody decided, by their transaction."""
        self._twice: Counter[int] = Counter()
        """Approved records that are there in another transaction too, by their transaction."""

    def conclude(self) -> None:
        """Compare milestone by milestone, then transaction by transaction."""
        for milestone, entries in self._walk.revisions.groups():
            decided = [entry for entry in entries if entry[0] != Told.THERE]
            there = [entry for entry in entries if entry[0] == Told.THERE]
            self._count(milestone, decided)
            self._match(milestone, decided, there)
        self._name_torn()

    def _wrong(self, rule: str, topic: str, offset: int, detail: str) -> None:
        self._report.flag(rule, topic, self._walk.partition, offset, detail)

    def _count(self, milestone: bytes, decided: list[Entry]) -> None:
        """The ledger gives revisions 1, 2, 3 … once each; in one block their order is free."""
        last = 0
        for _, revision, offset, _ in sorted(decided, key=lambda entry: (entry[1], entry[2])):
            if revision == last:
                detail = f"the ledger gives milestone {UUID(bytes=milestone)} r{revision} twice"
                self._wrong("sequence", names.DECISIONS, offset, detail)
            elif revision != last + 1:
                detail = f"the ledger skips r{last + 1} of milestone {UUID(bytes=milestone)}"
                self._wrong("sequence", names.DECISIONS, offset, detail)
            last = revision

    def _match(self, milestone: bytes, decided: list[Entry], there: list[Entry]) -> None:
        due = {revision: (by, offset, number) for by, revision, offset, number in decided}
        seen: dict[int, int] = {}
        last = 0
        for _, revision, offset, number in there:
            name = f"milestone {UUID(bytes=milestone)} r{revision}"
            if revision in seen:
                self._wrong("approved", names.APPROVED, offset, f"{name} is there before")
                _add(self._twice, number)
                _add(self._twice, seen[revision])
                continue
            seen[revision] = number
            if revision not in due:
                self._wrong("approved", names.APPROVED, offset, f"no verdict published {name}")
                _add(self._unknown, number)
            if revision != last + 1:
                detail = f"{name} follows r{last}"
                self._wrong("sequence", names.APPROVED, offset, detail)
            last = max(revision, last)
        for revision, (by, offset, number) in due.items():
            if by == Told.DUE and revision not in seen:
                detail = f"milestone {UUID(bytes=milestone)} r{revision} was decided here"
                self._wrong(
                    "approved", names.DECISIONS, offset, f"{detail}, and is not on {names.APPROVED}"
                )
                _add(self._without, number)

    def _name_torn(self) -> None:
        """Name the transactions of which one side is missing altogether."""
        for number, missing in sorted(self._without.items()):
            offset, due, _ = self._walk.transactions[number]
            if missing == due and not self._unknown:  # else they are there, but altered
                detail = f"this block stands, and none of the {due} approved records that its"
                self._wrong("torn", names.DECISIONS, offset, f"{detail} transaction wrote does")
        for number, count in sorted((self._unknown + self._twice).items()):
            offset, size = self._approved.transactions[number]
            if count < size:
                continue
            if self._twice[number]:
                detail = "are there twice: a transaction that was torn and made again, or another"
                detail = f"this and all {size} records of its transaction {detail} producer's"
                self._wrong("torn", names.APPROVED, offset, detail)
            elif self._walk.missing:
                detail = f"this and all {size} records of its transaction stand, and the ledger,"
                detail = f"{detail} which lacks {self._walk.missing} blocks, does not know them"
                self._wrong("torn", names.APPROVED, offset, detail)


def _add(counted: Counter[int], number: int) -> None:
    if number in counted or len(counted) < _NAMED_MAX:
        counted[number] += 1
