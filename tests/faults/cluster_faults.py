"""Faults of a cluster of three: a broker goes, and the two that stay carry on without it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from arena import SLOTS, lasts
from confluent_kafka.admin import AdminClient
from fault_table import LEAVES, Fault
from governed_stack import PARTITIONS
from process_faults import Act, join_or_leave, kill_workers
from three_brokers import ThreeBrokers

from pipeline.contract import names
from pipeline.operations.transactions import LOG

RAW = "logistics.raw.tms-na.v1"


def rolling_restart(arena: ThreeBrokers, _roll: Random) -> None:
    """Each broker is ended in order and started again, the next one when all are in sync."""
    for broker in arena.stack.brokers:
        broker.stop()
        arena.more(20)
        broker.start()
        broker.wait_ready()
        arena.in_sync()


def killed(find: Callable[[ThreeBrokers, Random], int]) -> Act:
    """Kill -9 the broker that has a part to play; the others play it until it is back."""

    def act(arena: ThreeBrokers, roll: Random) -> None:
        lasts(roll.uniform(0.0, 1.0))
        number = find(arena, roll)
        arena.broker(number - 1).kill()
        arena.more(50)
        arena.decided()

    return act


def leader(arena: ThreeBrokers, roll: Random) -> int:
    """Leader of a partition that workers read or write."""
    topic = roll.choice((RAW, names.DECISIONS, names.APPROVED, names.CHANGELOG))
    return _leader(arena, topic, roll.randrange(PARTITIONS))


def transaction_coordinator(arena: ThreeBrokers, roll: Random) -> int:
    """Coordinator of a worker's transactions: leads the part of their log that its id hashes to."""
    number = abs(_java_hash(f"milepost-governor-{roll.choice(SLOTS)}"))
    return _leader(arena, LOG, number % len(arena.known().topics[LOG].partitions))


def group_coordinator(arena: ThreeBrokers, _roll: Random) -> int:
    """Coordinator of the workers' group."""
    admin = AdminClient({"bootstrap.servers": arena.bootstrap})
    return admin.describe_consumer_groups([arena.group])[arena.group].result(20).coordinator.id


def controller(arena: ThreeBrokers, _roll: Random) -> int:
    """Leads the cluster's own log."""
    admin = AdminClient({"bootstrap.servers": arena.bootstrap})
    return admin.describe_cluster().result(20).controller.id


def _leader(arena: ThreeBrokers, topic: str, number: int) -> int:
    return arena.known().topics[topic].partitions[number].leader


def _java_hash(text: str) -> int:
    value = 0
    for byte in text.encode():
        value = (31 * value + byte) & 0xFFFF_FFFF
    return value - (1 << 32) if value >= 1 << 31 else value


CLUSTER_FAULTS = [
    Fault("rolling restart of all brokers", 0, 10, rolling_restart, ends=LEAVES),
    Fault("leader killed", 0, 15, killed(leader), ends=LEAVES),
    Fault("transaction coordinator killed", 0, 15, killed(transaction_coordinator), ends=LEAVES),
    Fault("group coordinator killed", 0, 15, killed(group_coordinator), ends=LEAVES),
    Fault("controller killed", 0, 5, killed(controller), ends=LEAVES),
    Fault("two governors killed at random, of three brokers", 0, 5, kill_workers),
    Fault("member joins or leaves, of three brokers", 0, 5, join_or_leave),
]
"""All are for the long run."""
