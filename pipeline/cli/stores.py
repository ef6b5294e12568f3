"""Whether the portal and the ERP sink have caught up with the approved topic, seen from outside.

Must never change their stores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from sqlalchemy import Engine

from connectors.applied import Applied, TopicPartition
from connectors.portal import tables as portal_tables
from connectors.sinks import database as erp_database
from connectors.sinks import outbox_desk
from connectors.sinks.entries import State
from pipeline.contract.names import APPROVED
from pipeline.settings import Settings

_UNDER_WAY: Final = (State.PENDING.value, State.SENDING.value)


class Behind(NamedTuple):
    """How much is left to do."""

    records: int
    """Approved records not applied yet."""
    postings: int = 0
    """Postings on their way to the ERP."""
    booked: int = 0


class Stores:
    """The stores of the portal and of the ERP sink, looked at from outside."""

    def __init__(self, settings: Settings) -> None:
        self._portal = portal_tables.open_reader(portal_tables.database_url(settings))
        self._erp = erp_database.open_outbox(erp_database.database_url(settings))

    def close(self) -> None:
        """Let go of both."""
        self._portal.dispose()
        self._erp.dispose()

    def portal(self, approved_next: Mapping[int, int]) -> Behind:
        """How far the portal is behind these ends of the approved topic's partitions."""
        return Behind(_records(self._portal, portal_tables.applied, approved_next))

    def erp(self, approved_next: Mapping[int, int]) -> Behind:
        """How far the ERP is behind."""
        states = outbox_desk.summary(self._erp)["states"]
        records = _records(self._erp, erp_database.APPLIED, approved_next)
        return Behind(records, sum(states[name] for name in _UNDER_WAY), states[State.DONE.value])


def _records(engine: Engine, applied: Applied, approved_next: Mapping[int, int]) -> int:
    with engine.begin() as connection:
        positions = applied.positions(connection)
    behind = 0
    for number, end in approved_next.items():
        claim = positions.get(TopicPartition(APPROVED, number))
        behind += max(0, end - max(0, claim.next_offset if claim else 0))
    return behind
