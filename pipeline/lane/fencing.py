"""How a worker begins to write: whoever had its slot is fenced, what that one left open is aborted.

That takes its time, and happens on a thread of its own while the lane looks at its topics and joins
its group. Must never
write a record.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from confluent_kafka import KafkaException, Producer

from . import clients
from .config import LaneConfig

FIRST_S, LONGEST_S = 0.1, 10.0
"""Seconds that a first client has, and later ones at most. One that must wait until a former
transaction is aborted asks again after half a second; a fresh one asks at once."""


def in_background(call: Callable[[], Producer]) -> Future[Producer]:
    """Call on a thread of its own; how it ended."""
    ending: Future[Producer] = Future()

    def run() -> None:
        try:
            ending.set_result(call())
        except BaseException as error:  # noqa: BLE001  whoever waits for it gets it
            ending.set_exception(error)

    threading.Thread(target=run, name="lane-fencing", daemon=True).start()
    return ending


def fence(config: LaneConfig, on_error: clients.OnError, on_lost: clients.OnDelivery) -> Producer:
    """Make the producer of this slot, the only one that can write from now on.

    However long it takes until the cluster is there.

    Raises:
        KafkaException: the cluster does not have it.

    """
    limit_s = FIRST_S
    while True:
        producer = Producer(clients.writer(config, on_error, on_lost))
        try:
            producer.init_transactions(limit_s)
        except KafkaException as raised:
            if not raised.args[0].retriable():
                raise
            limit_s = min(2 * limit_s, LONGEST_S)
        else:
            return producer
