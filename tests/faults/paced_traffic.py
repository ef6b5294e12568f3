"""Paced, seeded traffic: world after world of the simulation, every id in it unique."""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from random import Random

from connectors.simulation.address import Addresses, encode
from connectors.simulation.traffic import compose
from connectors.simulation.world import SEEDS
from pipeline.kafka import clients

RECENT_MAX = 20_000
FLUSH_S = 180
PARTITIONS = 4


class PacedTraffic(threading.Thread):
    """The platforms' producers, until told to stop.

    Args:
        governed: the stack; knows bundle, schema ids and addresses.
        seed: of the first world; each further one has the next.
        rate: statements a second.
        events: statements of one world.

    """

    def __init__(self, governed, seed: int, rate: float, events: int = 500) -> None:
        super().__init__(name="traffic", daemon=True)
        self.acked: dict[tuple[str, int], list[int]] = defaultdict(list)
        """Offsets that Kafka has acknowledged, by topic and partition."""
        self.recent: deque[clients.Outgoing] = deque(maxlen=RECENT_MAX)
        """What was sent last."""
        self.failures: list[str] = []
        self.sent = 0
        self.worlds = 0
        self._governed = governed
        self._seed, self._rate, self._events = seed, rate, events
        self._now_ms = int(time.time() * 1_000)
        self._at_once = 0
        self._window = 0
        self._roll = Random(seed)
        self._halt = threading.Event()
        self._producer = clients.producer(
            governed.settings,
            governed.bootstrap,
            # A broker that is away for a while is no failure of a platform
            **{
                "delivery.timeout.ms": 300_000,
                "reconnect.backoff.max.ms": 500,
                "compression.type": "none",  # stock Faust can't read all others
            },
        )

    def at_once(self, count: int) -> None:
        """Send so many of the next statements without a pause."""
        self._at_once += count

    def shuffle(self, window: int) -> None:
        """Send so many of the next statements at once, in any order."""
        self._window = window

    def run(self) -> None:
        began, paced = time.monotonic(), 0
        for record in self._in_order(self._records()):
            if self._halt.is_set():
                break
            if self._at_once:
                self._at_once -= 1
            else:
                paced += 1
                ahead = began + paced / self._rate - time.monotonic()
                if ahead > 0:
                    self._halt.wait(ahead)
            self.send(record)
        left = self._producer.flush(FLUSH_S)
        if left:
            self.failures.append(f"{left} records were not acknowledged in {FLUSH_S} s")

    def send(self, record: clients.Outgoing) -> None:
        """Hand one record to the producer; from any thread."""
        while True:
            try:
                self._producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    record.partition,
                    on_delivery=self._delivered,
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                break
        self._producer.poll(0)
        self.recent.append(record)
        self.sent += 1

    def stop(self) -> None:
        """Stop; what was sent is acknowledged when this returns."""
        self._halt.set()
        if self.is_alive():
            self.join(FLUSH_S + 10)

    def _in_order(self, records: Iterator[clients.Outgoing]) -> Iterator[clients.Outgoing]:
        """The records as they come, but for windows that are to be shuffled."""
        for record in records:
            yield record
            if self._window:
                window, self._window = list(itertools.islice(records, self._window)), 0
                self._roll.shuffle(window)
                self._at_once += len(window)
                yield from window

    def _delivered(self, error, message) -> None:
        if error is not None:
            self.failures.append(f"{message.topic()}: {error}")
        else:
            self.acked[message.topic(), message.partition()].append(message.offset())

    def _records(self) -> Iterator[clients.Outgoing]:
        addresses = Addresses(self._governed.bundle)
        while True:
            world = (self._seed + self.worlds) % SEEDS
            self.worlds += 1
            for sending in compose(world, self._now_ms, events=self._events).sendings:
                statement = sending.statement
                topic = addresses.topic(statement)
                yield clients.Outgoing(
                    topic,
                    encode(statement, self._governed.raw_id(topic)),
                    addresses.key(statement),
                    (),
                    addresses.partition(statement, PARTITIONS),
                )
