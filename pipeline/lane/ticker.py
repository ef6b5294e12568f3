"""Writes ticks: records on the control topic whose append time moves a partition's clock.

A plain producer, so that a tick waits for no transaction. Called on the lane's thread only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from . import clients
from .config import LaneConfig
from .model import TICK_HEADER

log = logging.getLogger(__name__)


class Ticker:
    """Owns the producer of ticks and makes their tokens."""

    def __init__(
        self, config: LaneConfig, failed: Callable[[int, bytes], None], on_error: clients.OnError
    ) -> None:
        self._config = config
        self._failed = failed
        self._producer = Producer(clients.ticker(config, on_error))
        self._count = 0

    def write(self, partition: int) -> bytes | None:
        """Send a tick for a partition number; its token, or None if it can't be sent now."""
        self._count += 1
        token = f"{self._config.slot}:{self._count}".encode()
        key, value, headers = self._config.tick(partition)

        def delivered(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                log.warning("tick of partition %d was not written: %s", partition, error)
                self._failed(partition, token)

        try:
            self._producer.produce(
                self._config.control_topic,
                value,
                key,
                partition,
                on_delivery=delivered,
                headers=[*headers, (TICK_HEADER, token)],
            )
        except (BufferError, KafkaException) as error:
            log.warning("tick of partition %d can't be sent: %s", partition, error)
            return None
        return token

    def poll(self) -> None:
        """Serve delivery reports."""
        self._producer.poll(0)

    def close(self, limit_s: float) -> None:
        """Drop the producer; ticks that were not written yet have `limit_s` left."""
        self._producer.flush(limit_s)
        self._producer.close()
