"""Platforms that write: events in order, late, twice, astray, spoiled, in their own transactions.

Must never touch a worker.
"""

from __future__ import annotations

from typing import Final

from pipeline.contract import codec, names
from pipeline.governance.identity import partition_of
from pipeline.testing.driver import SCHEMA_IDS, key_of
from pipeline.testing.simulation.claims import Author, spoiled
from pipeline.testing.simulation.events import Event, Stage
from pipeline.testing.simulation.knowledge import LATE_ID, LATER, policies
from pipeline.testing.simulation.log import Transaction

_UNKNOWN_ID: Final = 999


class Platforms:
    """Those who write raw events.

    Args:
        stage: the simulation.
        claims: how many they will write.

    """

    def __init__(self, stage: Stage, claims: int) -> None:
        self.left = claims
        """Claims still to be written."""
        rnd = stage.rnd
        self._stage = stage
        self._author = Author(rnd, rnd.choice((2, 3, 5)))
        self._spoils = rnd.choice((0.0, 0.05, 0.2))
        self._mad = rnd.choice((*policies()[LATER].platforms, *[""] * 12))
        """A platform that writes hardly anything but garbage."""
        self._transactions: list[Transaction] = []
        """Those that are not ended yet."""
        self.events = [
            Event(5.0, self.write),
            Event(0.6, self.end),
        ]

    def write(self) -> None:
        """A platform writes an event."""
        if not self.left:
            return
        self.left -= 1
        stage, rnd = self._stage, self._stage.rnd
        policy = policies()[LATER]
        event = self._author.say(stage.now_ms)
        topic = min(policy.platforms[event["platform"]].topics)
        text = key_of(policy, event)
        key = text.encode()
        number = LATE_ID if rnd.random() < 0.03 else SCHEMA_IDS["raw-event"]
        value: bytes | None = codec.encode(event, codec.committed("raw-event"), number)
        partition = partition_of(key, stage.broker.partitions)
        if rnd.random() < 0.06:
            partition = rnd.randrange(stage.broker.partitions)
        if rnd.random() < (0.9 if event["platform"] == self._mad else self._spoils):
            value = spoiled(rnd, value or b"", (*SCHEMA_IDS.values(), _UNKNOWN_ID))
            key = rnd.choice((key, b"", b"acme", b"\xff/x/y"))
            topic = rnd.choice((*[topic] * 6, names.raw_topic("carriers"), names.REKEYED))
        transaction = None
        if rnd.random() < 0.05:
            transaction = Transaction("platform", stage.now_ms)
            self._transactions.append(transaction)
        stage.broker.append(topic, partition, (key, value, None), transaction)
        stage.say(event["platform"], f"{event['native_status']} {text} to {topic} {partition}")

    def end(self) -> None:
        """A platform commits or aborts its transaction."""
        if self._transactions:
            transaction = self._transactions.pop(0)
            transaction.committed = self._stage.rnd.random() < 0.7
            for log in transaction.unwritten:
                if log is not None:
                    log.mark(transaction, self._stage.now_ms)

    def calm(self) -> None:
        """Nothing is left half done."""
        while self._transactions:
            self.end()
