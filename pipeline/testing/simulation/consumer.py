"""Simulated consumers, as far as the lane calls them: confluent-kafka's names and behaviour.

They fetch what is committed, in any order between logs, in prefixes of any length; they tell ends
and lost positions as librdkafka does. Must never know what a record means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from pipeline.lane.restore import OFFSETS
from pipeline.testing.simulation.group import Member
from pipeline.testing.simulation.log import Entry, Headers
from pipeline.testing.simulation.process import Process

_EOF = KafkaError._PARTITION_EOF  # noqa: SLF001  its public name
_RESET = KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001
_EARLIEST = -2
Callback = Callable[[Any, list[TopicPartition]], None]


class Message(NamedTuple):
    """A record, or what is to be told of a log."""

    place: tuple[str, int]
    entry: Entry | None
    told: KafkaError | None = None
    at: int = 0

    def error(self) -> KafkaError | None:
        """What it is, if it is no record."""
        return self.told

    def topic(self) -> str:
        """Of the log."""
        return self.place[0]

    def partition(self) -> int:
        """Of the log."""
        return self.place[1]

    def offset(self) -> int:
        """Of the record; of an end, the position."""
        return self.at if self.entry is None else self.entry.offset

    def timestamp(self) -> tuple[int, int]:
        """Append time."""
        return TIMESTAMP_LOG_APPEND_TIME, 0 if self.entry is None else self.entry.timestamp_ms

    def key(self) -> bytes | None:
        """Key of the record."""
        return None if self.entry is None else self.entry.key

    def value(self) -> bytes | None:
        """Value of the record."""
        return None if self.entry is None else self.entry.value

    def headers(self) -> Headers | None:
        """Headers of the record, if it has some."""
        return None if self.entry is None else self.entry.headers or None


class SimulatedConsumer:
    """A consumer of one process, without a group."""

    def __init__(self, process: Process, config: Mapping[str, Any]) -> None:
        self.process = process
        self.config = config
        self.positions: dict[tuple[str, int], int] = {}
        self._told: dict[tuple[str, int], int] = {}
        """Position at which a log's end was told last."""

    def assign(self, given: Sequence[TopicPartition]) -> None:
        """Read exactly these, each from its offset."""
        self.positions = {(each.topic, each.partition): each.offset for each in given}
        self._told = {}

    def unassign(self) -> None:
        """Read nothing."""
        self.assign([])

    def consume(self, count: int, _timeout: float) -> list[Any]:
        """Take what lies ready."""
        self.process.pause("consume")
        return self._fetch(count)

    def offsets_for_times(self, asked: list[TopicPartition], timeout: float) -> list[Any]:
        """Where logs start or end; of the positions' log, also how far it can be read."""
        del timeout
        self.process.pause("offsets")
        self.process.reach("during restore")
        found = []
        transactions = self.process.broker.transactions
        for each in asked:
            if each.topic == OFFSETS:
                committed = self.config["isolation.level"] == "read_committed"
                end = transactions.offsets_stable if committed else transactions.offsets_end
                found.append(TopicPartition(each.topic, each.partition, end))
                continue
            log = self.process.broker.log(each.topic, each.partition)
            offset = log.start if each.offset == _EARLIEST else log.end
            found.append(TopicPartition(each.topic, each.partition, offset))
        return found

    def list_topics(self, topic: str, timeout: float) -> SimpleNamespace:
        """The positions' log is asked for, which has one partition here."""
        del timeout
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions={0: None})})

    def committed(self, asked: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        """Ask for the group's positions, which a transaction may still hold.

        Raises:
            KafkaException: one does.

        """
        del timeout
        self.process.pause("committed")
        transactions = self.process.broker.transactions
        if any(transactions.pending((each.topic, each.partition)) for each in asked):
            raise KafkaException(KafkaError(KafkaError.UNSTABLE_OFFSET_COMMIT))
        marks = transactions.marks
        return [
            TopicPartition(*place, each.offset, marks.get(place, ""))
            for each in asked
            for place in [(each.topic, each.partition)]
        ]

    def close(self) -> None:
        """Be gone."""
        self.unassign()

    def _fetch(self, count: int) -> list[Any]:
        """Prefixes of what can be read, log by log, in an order of the simulation's own."""
        rnd, broker = self.process.rnd, self.process.broker
        found: list[Message] = []
        logs = [(broker.log(*place), place, at) for place, at in self.positions.items()]
        news = [
            item for item in logs if item[2] != item[0].stable or self._told.get(item[1]) != item[2]
        ]
        rnd.shuffle(news)
        for log, place, at in news:
            if not log.start <= at <= log.end:
                found.append(Message(place, None, KafkaError(_RESET), at))
                continue
            if at < log.stable and len(found) < count:
                room = count - len(found)
                most = room if rnd.random() < 0.6 else rnd.randrange(room + 1)
                entries, now_at = log.read(at, most)
                found += [Message(place, entry) for entry in entries]
            else:
                now_at = at
            self.positions[place] = now_at
            if now_at == log.stable and self._told.get(place) != now_at and rnd.random() < 0.8:
                self._told[place] = now_at
                found.append(Message(place, None, KafkaError(_EOF), now_at))
        return found


class SimulatedMember(SimulatedConsumer):
    """A static member of the lane's group."""

    def __init__(self, process: Process, config: Mapping[str, Any]) -> None:
        super().__init__(process, config)
        self._member: Member | None = None
        self._topic = ""
        self._assigned: Callback | None = None
        self._revoked: Callback | None = None
        self._leaving = False

    def subscribe(
        self, topics: list[str], on_assign: Callback, on_revoke: Callback, on_lost: Callback
    ) -> None:
        """Join the group."""
        del on_lost  # the lane gives the same function for both
        self._topic, self._assigned, self._revoked = topics[0], on_assign, on_revoke
        self._join()

    def unsubscribe(self) -> None:
        """Leave the group; done once the revocation was served."""
        self._leaving = True

    def consume(self, count: int, timeout: float) -> list[Any]:
        """Serve the group, then take what lies ready."""
        self.process.pause("consume" if timeout else "")
        self.process.idle = False
        fatal = self._serve()
        if fatal is not None:
            return [fatal]
        found = self._fetch(count)
        self.process.idle = not found
        return found

    def poll(self, _timeout: float) -> Message | None:
        """Serve the group."""
        self.process.pause("poll")
        return self._serve()

    def consumer_group_metadata(self) -> tuple[str, int]:
        """Member and generation, as this side knows them."""
        member = self._member
        return ("", -1) if member is None else (member.name, member.generation)

    def memberid(self) -> str:
        """Name in the group; empty: not in it."""
        return "" if self._member is None else self._member.name

    def _join(self) -> None:
        self._member = self.process.broker.group.join(self.config["group.instance.id"])

    def _serve(self) -> Message | None:
        """Call the lane back about what the group has told so far.

        Returns:
            A fatal error, if another process has taken this member's place.

        """
        group, member = self.process.broker.group, self._member
        if member is None or self.process.rnd.random() < self.process.deafness:
            return None
        if member.fenced:
            fenced = KafkaError(KafkaError.FENCED_INSTANCE_ID, "Static consumer fenced", fatal=True)
            return Message((self._topic, 0), None, fenced)
        if self._leaving:
            self._call(self._revoked, member)
            self._member = None
            group.remove(member)
        elif member.name not in group.members:
            self._call(self._revoked, member)
            self._join()
        elif not member.told:
            member.told = True
            self._call(self._assigned, member)
        elif group.preparing and not member.joined:
            self._call(self._revoked, member)
            group.rejoin(member)
        return None

    def _call(self, callback: Callback | None, member: Member) -> None:
        numbers = sorted(member.owns)
        if callback is not None:
            callback(self, [TopicPartition(self._topic, number) for number in numbers])
