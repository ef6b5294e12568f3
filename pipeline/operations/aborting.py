"""Ending a transaction that stays open on a partition, where that can't tear anything.

Only what was never decided, or decided to be aborted, is ended. A decided commit, or one of which
nothing is known any more, is left alone: an abort would make half of it visible. Must never guess.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from confluent_kafka import KafkaException

from pipeline.kafka import clients
from pipeline.operations import markers, transactions
from pipeline.operations.handshake import HandshakeError
from pipeline.operations.markers import Owner
from pipeline.operations.transactions import Decision, Decisions
from pipeline.settings import Settings

CALL_S: Final = 30.0
_ABORTED: Final = frozenset({"PrepareAbort", "CompleteAbort"})
_UNDECIDED: Final = "Ongoing"


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
    stuck = transactions.stuck(settings, bootstrap, patience_s, wait)
    decisions: Decisions = {}
    if stuck:
        decisions = transactions.last_decisions(settings, bootstrap)
    found: list[Hanging] = []
    for one in stuck:
        known = decisions.get((one.topic, one.number), {})
        owners: list[Owner | None] = [*_owners(settings, bootstrap, one.topic, one.number)]
        for owner in owners or [None]:
            name, state = _last(known, owner)
            offset = one.stable if owner is None else owner.offset
            found.append(Hanging(one.topic, one.number, offset, owner, name, state))
    return found


def abort(settings: Settings, bootstrap: str, one: Hanging) -> None:
    """End a transaction.

    Raises:
        NotAbortedError: its commit may have been decided, or it can't be ended.

    """
    if not one.safe or one.owner is None:
        known = f"its coordinator last wrote {one.state}" if one.state else "nothing is known of it"
        raise NotAbortedError(f"{known}: {transactions.advice([one.state] if one.state else [])}")
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


def _last(known: dict[str, Decision], owner: Owner | None) -> tuple[str, str]:
    """Transactional id and state of an open transaction; empty where the log is about another."""
    for name, last in known.items():
        if owner is not None and (last.producer_id, last.epoch) == owner[:2]:
            return name, last.state
    return "", ""


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
