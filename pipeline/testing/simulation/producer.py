"""Simulated producers, as far as the lane calls them: one that writes in transactions, one plain.

A record waits in the client until the client is asked to have it written, or a part of what waits
happens to be: what a process that is killed leaves behind is any prefix of it. Must never know what
a record means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from pipeline.testing.simulation.coordinator import FencedError
from pipeline.testing.simulation.group import RejectedError
from pipeline.testing.simulation.log import Headers
from pipeline.testing.simulation.process import Process

_TIMED_OUT = KafkaError._TIMED_OUT  # noqa: SLF001  its public name
_LOST = KafkaError._MSG_TIMED_OUT  # noqa: SLF001
Waiting = tuple[str, int, bytes | None, bytes | None, Headers | None]
OnDelivery = Callable[[KafkaError | None, Any], None]


class SimulatedProducer:
    """A plain producer of one process."""

    def __init__(self, process: Process, config: Mapping[str, Any]) -> None:
        self.process = process
        self.config = config
        self.waiting: list[Waiting] = []
        self._reports: list[OnDelivery | None] = []
        process.producers.append(self)

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int,
        callback: OnDelivery | None = None,
        on_delivery: OnDelivery | None = None,
        timestamp: int = 0,
        headers: Headers | None = None,
    ) -> None:
        """Have a record written soon."""
        del callback, timestamp
        self.waiting.append((topic, partition, key, value, headers))
        self._reports.append(on_delivery)

    def poll(self, _timeout: float) -> int:
        """Have some of what waits written, and tell whoever wants to know."""
        if self.waiting and self.process.rnd.random() < 0.8:
            self.write(len(self.waiting))
        return 0

    def flush(self, _timeout: float) -> int:
        """Have everything written."""
        self.write(len(self.waiting))
        return 0

    def close(self) -> None:
        """Be gone."""

    def write(self, count: int) -> None:
        """Write so many of those that wait."""
        going, self.waiting = self.waiting[:count], self.waiting[count:]
        reports, self._reports = self._reports[:count], self._reports[count:]
        for (topic, partition, key, value, headers), report in zip(going, reports, strict=True):
            lost = self.process.strikes("lost tick")
            if not lost:
                self.process.broker.append(topic, partition, (key, value, headers))
            if report is not None and not self.process.dead:
                report(KafkaError(_LOST) if lost else None, None)


class SimulatedWriter(SimulatedProducer):
    """A transactional producer of one process."""

    def __init__(self, process: Process, config: Mapping[str, Any]) -> None:
        super().__init__(process, config)
        self._name: str = config["transactional.id"]
        self._epoch = -1
        self._spoiled = False
        """Whether a record of this transaction was lost."""

    def init_transactions(self, _timeout: float) -> None:
        """Fence whoever had this id before."""
        self.process.pause("init_transactions")
        self._epoch = self.process.broker.transactions.start(self._name)

    def begin_transaction(self) -> None:
        """Begin; nothing is written yet."""
        self.process.reach("before produce")
        self._spoiled = False

    def poll(self, _timeout: float) -> int:
        """Have some of what waits written."""
        return 0

    def write(self, count: int) -> None:
        """Write so many of those that wait, unless a newer producer has fenced this one."""
        going, self.waiting = self.waiting[:count], self.waiting[count:]
        self._reports = []
        broker = self.process.broker
        for topic, partition, key, value, headers in going:
            log, record = broker.log(topic, partition), (key, value, headers)
            transaction = broker.transactions.append(self._name, self._epoch, log, record)
            transaction.author = self.process.name, self.process.restores.copy()

    def send_offsets_to_transaction(
        self, offsets: list[TopicPartition], group: tuple[str, int], _timeout: float
    ) -> None:
        """Have the transaction commit these positions of the group.

        Raises:
            KafkaException: as the broker, or a fault, has it.

        """
        self.process.reach("after produce")
        self.process.pause("send_offsets")
        marks = {(each.topic, each.partition): each.metadata or "" for each in offsets}
        broker = self.process.broker

        def send() -> None:
            broker.group.check(*group)
            broker.transactions.add_offsets(self._name, self._epoch, marks)

        self._ask("offsets", send)
        self.process.reach("after offsets")

    def commit_transaction(self, _timeout: float) -> None:
        """Commit.

        Raises:
            KafkaException: as the broker, or a fault, has it.

        """
        self.process.pause("commit")
        self.process.reach("before commit")
        transactions = self.process.broker.transactions
        self._ask("commit", lambda: transactions.end(self._name, self._epoch, commit=True))
        if self.process.rnd.random() < 0.4:
            transactions.complete(self._name)
        self.process.reach("after commit")

    def abort_transaction(self, _timeout: float) -> None:
        """Abort.

        Raises:
            KafkaException: a newer producer has fenced this one.

        """
        self.waiting, self._reports = [], []
        self.process.pause("abort")
        end = self.process.broker.transactions.end
        self._attempt(lambda: end(self._name, self._epoch, commit=False))

    def _ask(self, what: str, call: Callable[[], None]) -> None:
        """Make a call that a fault may strike; before a commit everything is written.

        Before offsets are added a part of it is: the client does not wait for its records then.
        """
        if self.waiting and self.process.strikes("lost record"):
            self._spoiled = True
            self.waiting.pop()
            self.config["on_delivery"](KafkaError(_LOST), _Nothing())
        ready = len(self.waiting)
        if what == "offsets":
            ready = self.process.rnd.randrange(ready + 1)
        self._attempt(lambda: self.write(ready))
        if self._spoiled:
            raise KafkaException(KafkaError(_LOST, "record lost", txn_requires_abort=True))
        if self.process.strikes(f"{what} refused"):
            raise KafkaException(KafkaError(KafkaError.UNKNOWN, "fault", txn_requires_abort=True))
        if self.process.strikes(f"{what} again"):
            raise KafkaException(
                KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS, "fault", retriable=True)
            )
        if self.process.strikes(f"{what} unheard"):
            raise KafkaException(KafkaError(_TIMED_OUT, "fault", retriable=True))
        self._attempt(call)
        if self.process.strikes(f"{what} unanswered"):
            raise KafkaException(KafkaError(_TIMED_OUT, "fault", retriable=True))

    def _attempt(self, call: Callable[[], None]) -> None:
        try:
            call()
        except FencedError:
            error = KafkaError(KafkaError.INVALID_PRODUCER_EPOCH, "fenced", fatal=True)
            raise KafkaException(error) from None
        except RejectedError as error:
            told = KafkaError(KafkaError.UNKNOWN_MEMBER_ID, str(error), txn_requires_abort=True)
            raise KafkaException(told) from None


class _Nothing:
    """A message that is not told more closely."""

    def topic(self) -> str:
        return "?"

    def partition(self) -> int:
        return 0
