"""How the lane's Kafka clients are configured, in one place.

Every client gets the application's `client` settings (addresses, SASL, TLS) beneath its own.
Must never know what is read or written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, Message

from .config import LaneConfig

OnError = Callable[[KafkaError], None]
OnDelivery = Callable[[KafkaError | None, Message], None]


GATHERED_BYTES = 200_000
"""What a broker need not gather any longer to answer: a backlog is read at full speed."""


ANSWER_MS = 10_000
"""How long a reader waits for an answer on a connection that may be half open. librdkafka's default
is a minute; so long a worker would read nothing, or learn nothing of who leads what it reads."""
ANSWER_BYTES = 8_000_000
"""Largest answer to a fetch: so much arrives in that time over a slow line, too."""


def describe(error: KafkaError) -> str:
    """Say what happened, with the remedy where one is known."""
    if "fenced" in error.str().lower():
        return f"{error} (another worker runs in this group and slot: give each a slot of its own)"
    return str(error)


def _every(config: LaneConfig) -> dict[str, Any]:
    # librdkafka's default waits up to 10 s between two tries to reach a broker that was away
    return {"reconnect.backoff.max.ms": 1_000, **config.client}


def _reader(config: LaneConfig) -> dict[str, Any]:
    return {
        "socket.timeout.ms": ANSWER_MS,
        "fetch.max.bytes": ANSWER_BYTES,
        **_every(config),
    }


def member(config: LaneConfig, on_error: OnError) -> dict[str, Any]:
    """Consumer that belongs to the group and reads every input."""
    own: dict[str, Any] = {
        "group.id": config.group,
        "client.id": config.member,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "partition.assignment.strategy": "range",
        "session.timeout.ms": config.session_ms,
        "heartbeat.interval.ms": config.heartbeat_ms,
        # Also how long a rebalance waits for a member that is gone after a broker's restart
        "max.poll.interval.ms": max(120_000, config.session_ms),
        "allow.auto.create.topics": False,
        # librdkafka's defaults wait a second before fetching on; a fast consumer starves
        "queued.min.messages": 30_000,
        "fetch.queue.backoff.ms": 10,
        # A few batches ahead, whatever the number of partitions
        "queued.max.messages.kbytes": 16_384,
        "fetch.message.max.bytes": 262_144,
        # Whoever asks again for every record that comes costs the broker more than all else
        "fetch.wait.max.ms": max(1, round(config.linger_s * 1_000)),
        "fetch.min.bytes": GATHERED_BYTES,
        "error_cb": on_error,
    }
    if config.static_membership:
        own["group.instance.id"] = config.member
    return {**_reader(config), **own}


def changelog_reader(config: LaneConfig, on_error: OnError) -> dict[str, Any]:
    """Consumer outside the group that reads committed state back."""
    return {
        **_reader(config),
        "group.id": f"{config.member}-restore",
        "client.id": f"{config.member}-restore",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        # By default it would wait a second whenever 64 MB or 100,000 records lie ready
        "fetch.queue.backoff.ms": 10,
        "fetch.wait.max.ms": 50,
        "error_cb": on_error,
    }


def probe(config: LaneConfig, on_error: OnError) -> dict[str, Any]:
    """Consumer outside the group that reads a committed record, to see whether one can be read."""
    return {
        **changelog_reader(config, on_error),
        "group.id": f"{config.member}-probe",
        "client.id": f"{config.member}-probe",
        "fetch.message.max.bytes": 65_536,
        "queued.max.messages.kbytes": 1_024,
    }


def observer(config: LaneConfig, on_error: OnError) -> dict[str, Any]:
    """Consumer that never reads: it asks where logs start and end, open transactions included."""
    return {
        **_reader(config),
        "group.id": f"{config.member}-lookup",
        "client.id": f"{config.member}-lookup",
        "enable.auto.commit": False,
        "isolation.level": "read_uncommitted",
        "allow.auto.create.topics": False,
        "error_cb": on_error,
    }


def offsets_reader(config: LaneConfig, on_error: OnError) -> dict[str, Any]:
    """Consumer that asks for the group's offsets once they are stable, and never joins it."""
    return {
        **observer(config, on_error),
        "group.id": config.group,
        "client.id": f"{config.member}-offsets",
        "isolation.level": "read_committed",
    }


def writer(config: LaneConfig, on_error: OnError, on_lost: OnDelivery) -> dict[str, Any]:
    """Transactional producer of outputs, changelog and offsets; only losses are reported."""
    return {
        **_every(config),
        "transactional.id": config.member,
        "client.id": config.member,
        "transaction.timeout.ms": config.transaction_timeout_ms,
        "linger.ms": 5,
        # A transaction often begins before the broker is done with the last one; asked again only
        # after the default of 100 ms, one in a hundred records comes 50 ms later
        "retry.backoff.ms": 5,
        "batch.num.messages": 100_000,
        "batch.size": 1_000_000,
        "queue.buffering.max.messages": 1_000_000,
        "message.max.bytes": config.output_bytes_max,
        "delivery.report.only.error": True,
        "on_delivery": on_lost,
        "error_cb": on_error,
    }


def ticker(config: LaneConfig, on_error: OnError) -> dict[str, Any]:
    """Plain producer of ticks: they must not wait for a transaction."""
    return {
        **_every(config),
        "client.id": f"{config.member}-ticks",
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": 0,
        "message.timeout.ms": 10_000,
        "error_cb": on_error,
    }
