"""Ending a transaction that stays open on a partition, where that can't tear anything.

Only what was never decided, or decided to be aborted, is ended. A decided commit, or one of which
nothing is known any more, is left alone: an abort would make half of it visible. Must never guess.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from confluent_kafka import KafkaException

from pipeline.kafka import clients
from pipeline.operations import markers, transactions
from pipeline.operations.handshake import HandshakeError
from pipeline.operations.markers import Owner
from pipeline.operations.transactions import Entry, Stuck
from pipeline.settings import Settings

CALL_S: Final = 30.0
_ABORTED: Final = frozenset({"PrepareAbort", "CompleteAbort"})
_COMMITTED: Final = "PrepareCommit"
_UNDECIDED: Final = "Ongoing"
_SKEW_MS: Final = 1_000


class NotAbortedError(Exception):
    """A transaction that is left alone, and why."""


class Hanging(NamedTuple):
    """A transaction that stays open on a partition, and what its coordinator wrote of it last."""

    topic: str
    partition: int
    offset: int
    """Where it begins."""
    owner: Owner | None
    """None: the leader doesn't say."""
    transactional_id: str
    """Empty: nobody knows."""
    state: str
    """Empty: nobody knows."""

    @property
    def safe(self) -> bool:
        """Whether it can be aborted without tearing it."""
        return self.owner is not None and self.state in {*_ABORTED, _UNDECIDED}


def hanging(
    settings: Settings, bootstrap: str, patience_s: float, wait: Callable[[float], None]
) -> list[Hanging]:
    """Transactions that are open now, and still are after `patience_s`.

    Raises:
        KafkaException: no broker answers.

    """
    fates = [
        fate
        for one in transactions.stuck(settings, bootstrap, patience_s, wait)
        for fate in _fates(settings, bootstrap, one)
    ]
    if fates:
        skew_ms = _skew_ms(settings, bootstrap)
        for written in transactions.entries(settings, bootstrap):
            for fate in fates:
                fate.note(written, skew_ms)
    return [fate.found() for fate in fates]


def abort(settings: Settings, bootstrap: str, one: Hanging) -> None:
    """End a transaction.

    Raises:
        NotAbortedError: its commit may have been decided, or it can't be ended.

    """
    if not one.safe or one.owner is None:
        known = f"its coordinator last wrote {one.state}" if one.state else "nothing is known of it"
        raise NotAbortedError(f"{known}: {transactions.advice(one.state)}")
    try:
        if one.state == _UNDECIDED:
            # The coordinator aborts what a former producer of that name left open
            named = {"transactional.id": one.transactional_id}
            clients.producer(settings, bootstrap, **named).init_transactions(CALL_S)
        else:
            leader = _leader(settings, bootstrap, one.topic, one.partition)
            markers.write_abort(leader, settings, one.topic, one.partition, one.owner)
    except (KafkaException, HandshakeError, OSError) as error:
        raise NotAbortedError(f"it could not be ended: {error}") from None


@dataclass(slots=True)
class _Fate:
    """What the coordinators' log says of a transaction that is open on a partition.

    A producer's transactions follow each other under one epoch, so a commit is this one's if it
    was decided after its first record. Once its coordinator gives a transaction up, by time-out or
    for a new producer of that name, it writes that under the next epoch.
    """

    place: Stuck
    owner: Owner | None
    begun_ms: int
    """When its first record was appended there; 0: nobody knows."""
    name: str = ""
    state: str = ""

    def note(self, written: Entry, skew_ms: int) -> None:
        """Take in the next entry of the log."""
        decision, owner = written.decision, self.owner
        if owner is None or decision.producer_id != owner.producer_id or self.state == _COMMITTED:
            return
        if (self.place.topic, self.place.number) not in written.partitions:
            return
        before = decision.state == _COMMITTED and decision.at_ms + skew_ms < self.begun_ms
        if decision.epoch == owner.epoch:
            self.name, self.state = written.transactional_id, "" if before else decision.state
        elif decision.epoch > owner.epoch and self.state == _UNDECIDED:
            self.state = "" if decision.state == _UNDECIDED else decision.state

    def found(self) -> Hanging:
        """What is known of it."""
        offset = self.place.stable if self.owner is None else self.owner.offset
        return Hanging(
            self.place.topic, self.place.number, offset, self.owner, self.name, self.state
        )


def _skew_ms(settings: Settings, bootstrap: str) -> int:
    """How far two brokers' clocks may be apart; one broker has one clock."""
    brokers = clients.metadata(clients.admin(settings, bootstrap), bootstrap).brokers
    return 0 if len(brokers) == 1 else _SKEW_MS


def _fates(settings: Settings, bootstrap: str, one: Stuck) -> list[_Fate]:
    owners = _owners(settings, bootstrap, one.topic, one.number)
    if not owners:
        return [_Fate(one, None, 0)]
    return [
        _Fate(
            one, owner, transactions.begun(settings, bootstrap, one.topic, one.number, owner.offset)
        )
        for owner in owners
    ]


def _owners(settings: Settings, bootstrap: str, topic: str, number: int) -> list[Owner]:
    try:
        return markers.owners(_leader(settings, bootstrap, topic, number), settings, topic, number)
    except (HandshakeError, OSError):
        return []


def _leader(settings: Settings, bootstrap: str, topic: str, number: int) -> tuple[str, int]:
    """Host and port of a partition's leader.

    Raises:
        HandshakeError: it has none.

    """
    found = clients.metadata(clients.admin(settings, bootstrap), bootstrap)
    part = found.topics[topic].partitions.get(number) if topic in found.topics else None
    broker = None if part is None else found.brokers.get(part.leader)
    if broker is None:
        raise HandshakeError(f"{topic}[{number}] has no leader")
    return str(broker.host), broker.port
