"""The transactional producer: outputs, changelog and offsets of a batch, or nothing of it.

A transaction ends committed, aborted, or with the process: nothing else is ever reported.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from . import clients
from .config import LaneConfig, LaneError
from .fencing import fence, in_background
from .leaving import Watchdog, leave
from .model import Decided, Produced

log = logging.getLogger(__name__)

TRIES_MAX = 5
START_S = 50.0
HANG_S = 1.0
"""How far beyond its limit a call may be before it is taken for hanging."""
OFFSETS_S = 5.0
"""Limit of adding offsets at most. After a lost connection the call may never come back, whatever
limit it was given (librdkafka#5511); leaving then is cheap, nothing is decided yet."""


Position = tuple[str, int, int, str]
"""Topic, partition, next offset, and a mark that is stored beside it."""


class TransactionAbortedError(Exception):
    """The transaction is aborted and over; state and positions must be reloaded. Says why."""


class Writer:
    """Owns the transactional producer.

    From `begin` on every call is made on the lane's thread.
    """

    def __init__(self, config: LaneConfig, watchdog: Watchdog, on_error: clients.OnError) -> None:
        self._config = config
        self._watchdog = watchdog
        self._lost: str | None = None
        """What became of the first record of this transaction that could not be written."""
        self._begun = in_background(lambda: fence(config, on_error, self._on_lost))

    def begin(self) -> None:
        """Wait until nobody else can write from this slot.

        Raises:
            KafkaException: the cluster does not have it.
            LaneError: it does not say.

        """
        if not self._begun.done():
            self._watchdog.step("init_transactions", START_S + 10)
        try:
            self._producer = self._begun.result(START_S)
        except TimeoutError:
            raise LaneError(f"init_transactions: not done within {START_S:.0f} s") from None

    def write(self, decisions: Mapping[int, Decided]) -> tuple[int, int]:
        """Open a transaction and produce everything decided.

        Returns:
            How many records, changelog included, and their bytes of value.

        Raises:
            TransactionAbortedError: a record can't be produced.

        """
        self._watchdog.step("produce")
        self._lost = None
        self._producer.begin_transaction()
        count = size = 0
        for number, decided in decisions.items():
            outputs, written = self._produce(decided.outputs)
            count, size = count + outputs, size + written
            outputs, written = self._produce(
                (self._config.changelog_topic, number, key, value, None)
                for key, value in decided.changelog
            )
            count, size = count + outputs, size + written
        return count, size

    def commit(self, positions: Iterable[Position], group: Any) -> None:
        """Add positions for the group and commit.

        Raises:
            TransactionAbortedError: nothing of it happened.

        """
        offsets = [TopicPartition(*position) for position in positions]
        limit_s = self._config.call_limit_s
        brief_s = min(limit_s, OFFSETS_S)
        self._attempt(
            "offsets",
            brief_s,
            lambda: self._producer.send_offsets_to_transaction(offsets, group, brief_s),
        )
        self._attempt("commit", limit_s, lambda: self._producer.commit_transaction(limit_s))

    def close(self) -> None:
        """Drop the producer, if there is one; no transaction is open."""
        if self._begun.done() and self._begun.exception() is None:
            self._begun.result().close()

    def _on_lost(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and self._lost is None:
            self._lost = f"; first record lost: {message.topic()} {message.partition()}: {error}"

    def _produce(self, outputs: Iterable[Produced]) -> tuple[int, int]:
        produce: Any = self._producer.produce  # its stub knows no headers of bytes alone
        count = size = 0
        for topic, partition, key, value, headers in outputs:
            count += 1
            if value is not None:
                size += len(value)
            while True:
                try:
                    # by position: (topic, value, key, partition, callback, on_delivery, time, ...)
                    produce(topic, value, key, partition, None, None, 0, headers)
                    break
                except BufferError:
                    self._producer.poll(0.05)  # the watchdog ends an endless wait
                except KafkaException as error:
                    length = 0 if value is None else len(value)
                    why = f"record of {length} bytes for {topic} {partition}: {error}"
                    raise self._abort(why) from error
        return count, size

    def _attempt(self, what: str, limit_s: float, call: Callable[[], None]) -> None:
        """Make one transactional call; it is done, or the transaction aborted, or we are gone."""
        for attempt in range(1, TRIES_MAX + 1):
            # librdkafka's calls can hang beyond the limit they were given
            self._watchdog.step(what, limit_s + HANG_S)
            try:
                call()
            except KafkaException as raised:
                error = raised.args[0]
                why = f"{what}: {clients.describe(error)}{self._lost or ''}"
                # a time-out calls itself retriable; asking again has only ever lost time
                if error.fatal() or error.code() == KafkaError._TIMED_OUT:  # noqa: SLF001
                    leave(why)
                if error.txn_requires_abort():
                    raise self._abort(why) from raised
                if not error.retriable() or attempt == TRIES_MAX:
                    leave(why)
                log.warning("%s, once more", why)
                time.sleep(0.05 * attempt)
            else:
                return

    def _abort(self, why: str) -> TransactionAbortedError:
        """Abort the open transaction."""
        self._watchdog.step("abort", self._config.call_limit_s + HANG_S)
        log.warning("transaction aborted: %s", why)
        try:
            self._producer.abort_transaction(self._config.call_limit_s)
        except KafkaException as error:
            leave(f"abort_transaction after {why}: {error}")
        return TransactionAbortedError(why)
