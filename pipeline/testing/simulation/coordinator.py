"""The simulated broker's transactions: epochs that fence, decisions, markers that follow later.

As Kafka has it: a commit is decided at once, its markers reach the logs one by one, and the next
transaction of that producer begins after the last of them. Must never know what is written.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeline.testing.simulation.log import Headers, Log, Transaction

Marks = dict[tuple[str, int], str]


class FencedError(Exception):
    """A newer producer of this transactional id has been here."""


class Coordinator:
    """Every transactional producer's state.

    Args:
        timeout_ms: after which an open transaction is aborted.
        finished: told each transaction once its last marker is written, and every former one's.

    """

    def __init__(self, timeout_ms: int, finished: Callable[[Transaction], None]) -> None:
        self.timeout_ms = timeout_ms
        self.now_ms = 0
        self.decided: list[Transaction] = []
        """Those with markers still to be written."""
        self._finished = finished
        self._epochs: dict[str, int] = {}
        self._open: dict[str, Transaction] = {}
        self.marks: Marks = {}
        self.offsets_end = 0
        """Length of the log of committed positions."""
        self._offsets: dict[Transaction, int] = {}
        """Where the positions of those begin in that log that it doesn't know to be over."""
        self._over: dict[str, Marks] = {}
        """By producer: what its newest transaction held that the log knows to be over."""
        self._mistaken: dict[str, Marks] = {}
        """Of those, what is taken for pending all the same."""
        self.untold: list[Transaction] = []
        """Those that nobody was told of, in the order of their decisions."""

    @property
    def open(self) -> list[Transaction]:
        """Those that nobody has ended yet."""
        return list(self._open.values())

    @property
    def offsets_stable(self) -> int:
        """Last stable offset of the log of committed positions."""
        return min(self._offsets.values(), default=self.offsets_end)

    def start(self, producer: str) -> int:
        """Begin a session of a producer: whoever had its id is fenced, what it left is aborted."""
        epoch = self._epochs[producer] = self._epochs.get(producer, -1) + 1
        if producer in self._open:
            self._decide(producer, commit=False)
        self.complete(producer)
        return epoch

    def check(self, producer: str, epoch: int) -> None:
        """See that no newer session has begun.

        Raises:
            FencedError: one has.

        """
        if self._epochs[producer] != epoch:
            raise FencedError(producer)

    def append(
        self, producer: str, epoch: int, log: Log,
        record: tuple[bytes | None, bytes | None, Headers | None],
    ) -> Transaction:  # fmt: skip
        """Append a record to the producer's transaction, which begins with its first.

        Raises:
            FencedError: a newer session has begun.

        """
        transaction = self._current(producer, epoch)
        log.append(self.now_ms, *record, transaction)
        return transaction

    def add_offsets(self, producer: str, epoch: int, marks: Marks) -> None:
        """Have the transaction commit positions of the group.

        Raises:
            FencedError: a newer session has begun.

        """
        transaction = self._current(producer, epoch)
        transaction.marks |= marks
        transaction.join(None)
        self._offsets.setdefault(transaction, self.offsets_end)
        self.offsets_end += 1

    def end(self, producer: str, epoch: int, *, commit: bool) -> None:
        """Decide the producer's transaction, if it has one.

        Raises:
            FencedError: a newer session has begun.

        """
        self.check(producer, epoch)
        if producer in self._open:
            self._decide(producer, commit=commit)

    def pending(self, place: tuple[str, int]) -> bool:
        """Whether a transaction that isn't over holds a position of the group."""
        return any(place in marks for marks in self._mistaken.values()) or any(
            place in transaction.marks and None in transaction.unwritten
            for transaction in (*self._open.values(), *self.decided)
        )

    def mistake(self) -> None:
        """Take positions of every producer's newest transaction for pending, though it is over.

        As a group coordinator does that was loaded twice. A producer's next one ends that.
        """
        self._mistaken = dict(self._over)

    def write_marker(self, transaction: Transaction, at: int) -> None:
        """Write one of the markers that a decided transaction still lacks."""
        log = transaction.unwritten.pop(at)
        if log is not None:
            log.mark(transaction, self.now_ms)
        else:
            self._mark_offsets(transaction)
        if not transaction.unwritten:
            self.decided.remove(transaction)
            self._tell()

    def _mark_offsets(self, transaction: Transaction) -> None:
        self.offsets_end += 1
        self._offsets.pop(transaction)
        self._over[transaction.producer] = transaction.marks
        self._mistaken.pop(transaction.producer, None)
        if transaction.committed:
            self.marks |= transaction.marks

    def expire(self) -> list[Transaction]:
        """Abort what has been open for too long, and fence whoever opened it."""
        late = [t for t in self._open.values() if self.now_ms - t.began_ms > self.timeout_ms]
        for transaction in late:
            self._epochs[transaction.producer] += 1
            self._decide(transaction.producer, commit=False)
        return late

    def complete(self, producer: str) -> None:
        """Write every marker that the producer's former transaction lacks."""
        for transaction in [item for item in self.decided if item.producer == producer]:
            while transaction.unwritten:
                self.write_marker(transaction, 0)

    def _current(self, producer: str, epoch: int) -> Transaction:
        self.check(producer, epoch)
        found = self._open.get(producer)
        if found is None:
            self.complete(producer)
            found = self._open[producer] = Transaction(producer, self.now_ms)
        return found

    def _decide(self, producer: str, *, commit: bool) -> None:
        transaction = self._open.pop(producer)
        transaction.committed = commit
        self.untold.append(transaction)
        if transaction.unwritten:
            self.decided.append(transaction)

    def _tell(self) -> None:
        """Tell of what is over, in the order in which it was decided."""
        while self.untold and not self.untold[0].unwritten:
            self._finished(self.untold.pop(0))
