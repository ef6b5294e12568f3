"""Reading the state of an assignment back, in the one order that is safe.

First the committed offsets, once they are stable: a predecessor's transaction is then decided. Only
then the changelog's end, open transactions included. Then committed records up to that end.

A group coordinator that a broker loads twice while it starts takes what its log has decided for
pending for ever (seen with Kafka 4.2.1, whose own log then says *Ignored load completion …
because context is in ACTIVE state*). So where offsets do not become stable, the log of offsets is
asked: a transaction that held some when the assignment came is over once that log is stable up to
where it ended some time after that.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from . import clients
from .config import LaneConfig
from .leaving import Watchdog
from .lookup import LATEST, offsets, readable
from .model import Observer
from .stalls import Place

log = logging.getLogger(__name__)

Changelog = dict[int, dict[bytes, bytes]]

OFFSETS = "__consumer_offsets"

WAIT_S = 60.0
"""What the watchdog allows for each round of waiting for the cluster."""


class Restorer:
    """Reads back the changelog of the partitions that were just assigned.

    `interrupted` serves the group's callbacks and tells whether the assignment is another one by
    now; every wait asks it, and gives up if so.
    """

    def __init__(
        self,
        config: LaneConfig,
        consumer: Consumer,
        watchdog: Watchdog,
        observer: Observer,
        on_error: clients.OnError,
    ) -> None:
        self._config = config
        self._consumer = consumer
        self._watchdog = watchdog
        self._observer = observer
        self._on_error = on_error
        self._look_s = config.stall_limit_s / 4
        self._call_s = min(5.0, self._look_s)
        self.records = 0
        """Changelog records that the newest restore read."""
        self.marks: dict[int, str] = {}
        """Of the commit that the newest restore found to be a partition's newest."""

    def read(
        self,
        partitions: frozenset[int],
        topics: Collection[str],
        known: Mapping[int, str],
        interrupted: Callable[[], bool],
    ) -> Changelog | None:
        """Read the state of these partition numbers; None if interrupted.

        One whose newest commit bears the mark that is `known` of it is left out: nobody has
        committed anything for it since.

        Raises:
            KafkaException: an error that waiting can't mend.

        """
        self.records = 0
        if not self._wait_stable(partitions, topics, interrupted):
            return None
        self.marks = self._marks(partitions)
        wanted = frozenset(
            number
            for number in partitions
            if number not in known or known[number] != self.marks.get(number)
        )
        ends = self._ends(wanted, interrupted) if wanted else {}
        if ends is None:
            return None
        return self._read_up_to(ends, interrupted)

    def _marks(self, partitions: frozenset[int]) -> dict[int, str]:
        """Ask which commits were the newest; what can't be told is left out, and read back."""
        control = self._config.control_topic
        asked = [TopicPartition(control, number) for number in sorted(partitions)]
        try:
            found = self._consumer.committed(asked, timeout=self._call_s)
        except KafkaException as error:
            log.warning("marks of the newest commits: %s", error)
            return {}
        return {
            each.partition: each.metadata
            for each in found
            if each.error is None and each.metadata is not None
        }

    def _wait_stable(
        self, partitions: frozenset[int], topics: Collection[str], interrupted: Callable[[], bool]
    ) -> bool:
        """Wait until no transaction of a predecessor is pending on the offsets.

        As long as the cluster says that one is: a fresh process would be told the same.
        """
        asked = [TopicPartition(topic, number) for topic in topics for number in partitions]
        self._watchdog.step("stable offsets")
        began, said = time.monotonic(), 0.0
        look_at = began + self._look_s
        ends: dict[Place, int] = {}
        while (error := self._unstable(asked)) is not None:
            if interrupted():
                return False
            waited = time.monotonic() - began
            if waited > self._config.transaction_timeout_ms / 1000 + 5 and waited > said + 5:
                said = waited
                log.error(
                    "offsets of partitions %s stay unstable for %.0f s (%s): a transaction there "
                    "is undecided longer than it may be; find out whether it was decided before "
                    "anything is aborted by hand",
                    sorted(partitions), waited, error,
                )  # fmt: skip
                self._observer.unstable(partitions, waited)
            if time.monotonic() > look_at:
                if self._look_at_offsets(asked, ends):
                    return True
                ends = self._log_of_offsets(clients.observer(self._config, self._on_error))
                look_at = time.monotonic() + self._look_s
        return True

    def _unstable(self, asked: list[TopicPartition]) -> KafkaError | None:
        """Ask for the offsets; what keeps them from being known, if something does."""
        return _uncommitted(self._consumer, asked, self._call_s)

    def _look_at_offsets(self, asked: list[TopicPartition], ends: Mapping[Place, int]) -> bool:
        """Tell an outage or a pending transaction from a client that is no longer answered.

        Args:
            asked: the offsets that are waited for.
            ends: where their log ended at the look before; empty: there was none, or no answer.

        Returns:
            Whether their log says that nothing is pending, whatever the coordinator answers.

        """
        reader = clients.offsets_reader(self._config, self._on_error)
        client = Consumer(reader)
        try:
            error = _uncommitted(client, asked, self._call_s)
        finally:
            client.close()
        if error is None:
            log.error("the group's offsets are stable, and this consumer is not told so")
            return False  # and the watchdog ends this process
        log.warning("waiting for stable offsets: %s", error)
        self._watchdog.step("stable offsets")
        stable = self._log_of_offsets(reader) if ends else {}
        if not stable or any(stable.get(place, 0) < end for place, end in ends.items()):
            return False
        log.error("by their log no transaction holds the group's offsets, whatever its coordinator "
                  "says (a defect of its broker, until that restarts): going on")  # fmt: skip
        return True

    def _log_of_offsets(self, reader: dict[str, Any]) -> dict[Place, int]:
        """Ask how far the log of all groups' offsets can be read; empty: it can't be told."""
        client = Consumer(reader)
        try:
            numbers = client.list_topics(OFFSETS, timeout=self._call_s).topics[OFFSETS].partitions
            return offsets(client, [OFFSETS], numbers, LATEST) if numbers else {}
        except KafkaException as error:
            log.warning("the log of committed offsets: %s", error)
            return {}
        finally:
            client.close()

    def _ends(
        self, partitions: frozenset[int], interrupted: Callable[[], bool]
    ) -> dict[int, int] | None:
        """Ask where the changelog ends, with a fresh client."""
        while True:
            self._watchdog.step("changelog end", WAIT_S)
            client = Consumer(clients.observer(self._config, self._on_error))
            try:
                found = offsets(client, [self._config.changelog_topic], partitions, LATEST)
                return {number: end for (_, number), end in found.items()}
            except KafkaException as error:
                log.warning("changelog end: %s", error)
            finally:
                client.close()
            if interrupted():
                return None

    def _read_up_to(
        self, ends: dict[int, int], interrupted: Callable[[], bool]
    ) -> Changelog | None:
        """Read committed records until each partition is at its end or past it."""
        state: Changelog = {number: {} for number in ends}
        todo = {number: 0 for number, end in ends.items() if end > 0}
        if not todo:
            return state
        self._watchdog.step("changelog")
        client = Consumer(clients.changelog_reader(self._config, self._on_error))
        try:
            # offset 0, not "beginning": that one asks the broker first, half a second
            client.assign([TopicPartition(self._config.changelog_topic, at, 0) for at in todo])
            look_at = time.monotonic() + self._look_s
            while todo:
                if self._fold(client, state, ends, todo):
                    self._watchdog.step("changelog")
                    look_at = time.monotonic() + self._look_s
                elif time.monotonic() > look_at:
                    self._look(todo)
                    look_at = time.monotonic() + self._look_s
                if interrupted():
                    return None
        finally:
            client.close()
        return state

    def _look(self, todo: dict[int, int]) -> None:
        """Tell an outage or somebody's open transaction from a reader that has ceased to read."""
        changelog = self._config.changelog_topic
        try:
            found = readable(
                self._config,
                self._on_error,
                {(changelog, number): at for number, at in todo.items()},
            )
        except KafkaException as error:
            log.warning("waiting for the changelog: %s", error)
        else:
            if found:
                log.error("nothing comes from the changelog, where another consumer reads: next "
                          "offsets by partition %s", todo)  # fmt: skip
                return  # and the watchdog ends this process
            log.warning("waiting for an open transaction in the changelog: next offsets by "
                        "partition %s", todo)  # fmt: skip
        self._watchdog.step("changelog")

    def _fold(
        self, client: Consumer, state: Changelog, ends: dict[int, int], todo: dict[int, int]
    ) -> bool:
        """Apply what one call brings; partitions that are complete leave `todo`.

        Returns:
            Whether any of them moved.

        """
        messages = client.consume(20_000, 0.05)
        before = sum(todo.values()), len(todo)
        for message in messages:
            error, number, offset = message.error(), message.partition(), message.offset()
            if number is None or offset is None:
                raise KafkaException(error)
            if error is None:
                self.records += 1
                key, value = message.key() or b"", message.value()
                if value is None:
                    state[number].pop(key, None)
                else:
                    state[number][key] = value
                offset += 1
            elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  its public name
                if error.fatal() or not error.retriable():
                    raise KafkaException(error)
                continue
            if offset >= ends[number]:
                todo.pop(number, None)
            elif number in todo:
                todo[number] = max(todo[number], offset)
        return before != (sum(todo.values()), len(todo))


def _uncommitted(
    consumer: Consumer, asked: list[TopicPartition], limit_s: float
) -> KafkaError | None:
    """Ask for committed offsets; the first error, if there is one."""
    try:
        found = consumer.committed(asked, timeout=limit_s)
    except KafkaException as error:
        why: KafkaError = error.args[0]
        return why
    return next((each.error for each in found if each.error is not None), None)
