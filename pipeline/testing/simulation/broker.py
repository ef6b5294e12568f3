"""The simulated broker: its logs, its transactions, its one consumer group.

Must never decide when anything happens.
"""

from __future__ import annotations

from pipeline.testing.simulation.coordinator import Coordinator
from pipeline.testing.simulation.group import Group
from pipeline.testing.simulation.log import Entry, Headers, Log, Transaction

Place = tuple[str, int]


class Broker:
    """Everything that survives its clients.

    Args:
        partitions: of every topic.
        transaction_timeout_ms: after which an open transaction is aborted.

    """

    def __init__(self, partitions: int, transaction_timeout_ms: int) -> None:
        self.partitions = partitions
        self.logs: dict[Place, Log] = {}
        self.finished: list[Transaction] = []
        """Transactions of which nobody has taken notice yet."""
        self.transactions = Coordinator(transaction_timeout_ms, self.finished.append)
        self.group = Group(partitions)

    def log(self, topic: str, partition: int) -> Log:
        """A partition of a topic."""
        place = topic, partition
        found = self.logs.get(place)
        if found is None:
            found = self.logs[place] = Log(topic, partition)
        return found

    def append(
        self,
        topic: str,
        partition: int,
        record: tuple[bytes | None, bytes | None, Headers | None],
        transaction: Transaction | None = None,
    ) -> Entry:
        """Append a record that needs nobody's permission."""
        now_ms = self.transactions.now_ms
        return self.log(topic, partition).append(now_ms, *record, transaction)
