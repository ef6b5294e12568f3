"""An arena on three brokers with three replicas, of which two must be in sync: one may go."""

from __future__ import annotations

from functools import partial
from unittest.mock import patch

from arena import Arena
from confluent_kafka.admin import AdminClient
from governed_stack import until
from proxied_broker import IMPATIENT
from running import Governor

from pipeline.kafka import topics
from pipeline.local.broker import REPLICAS, Broker
from pipeline.local.stack import LocalStack

SYNC_S = 180.0
READY_S = 180.0
"""A broker starts beside two others and all of an arena: how long is for no test to judge."""


class OneOfThree(Broker):
    """As `milepost up --brokers 3` runs it, with an arena's short times."""

    def __init__(self, *given, **named) -> None:
        super().__init__(*given, **named)
        self._ready_within_s = READY_S

    def _properties(self) -> str:
        return super()._properties() + "".join(f"{name}={to}\n" for name, to in IMPATIENT.items())


class ThreeBrokers(Arena):
    """Governors reach the brokers themselves: what a network does is for the arena of one."""

    def __init__(self, seed: int, rate: float = 100.0) -> None:
        with (
            patch("governed_stack.topics.plan", partial(topics.plan, replication=REPLICAS)),
            patch("governed_stack.LocalStack", partial(LocalStack, brokers=REPLICAS)),
            patch(
                "arena.ProxiedBroker", lambda _ports, *given, **named: OneOfThree(*given, **named)
            ),
        ):
            super().__init__(seed, rate)

    def governor(self, slot: str) -> Governor:
        """A worker slot; not started."""
        governor = super().governor(slot)
        governor.env["MILEPOST_BOOTSTRAP_SERVERS"] = self.bootstrap
        return governor

    def known(self):
        """What a broker says of brokers and topics now."""
        return AdminClient({"bootstrap.servers": self.bootstrap}).list_topics(timeout=20)

    def in_sync(self) -> None:
        """Wait until every replica of every partition is in sync: the next broker may go."""

        def all_there() -> bool:
            topics = self.known().topics.values()
            return all(len(p.isrs) == REPLICAS for t in topics for p in t.partitions.values())

        until(all_there, SYNC_S, "all replicas in sync")

    def heal(self) -> None:
        """Put everything back to how it should be."""
        super().heal()
        self.in_sync()
