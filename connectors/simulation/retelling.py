"""What was said of a shipment, changed here and there: the words in which faults are told.

Must never decide what goes wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from connectors.simulation.statement import Statement
from connectors.simulation.world import Happening, Shipment
from pipeline.governance.reasons import Reason

Said = list[Statement]
Fate = tuple[str, Reason]
"""How a claim ends: its last disposition or change, and the reason of that."""


class Mark(NamedTuple):
    """What the name means that a statement carries, and how such statements end."""

    words: str
    meets: frozenset[Fate]


def true(shipment: Shipment, event_type: str) -> Happening:
    """What truly happened; every shipment of a world is released, leaves and arrives."""
    found = shipment.truth(event_type)
    assert found is not None  # noqa: S101  see above
    return found


def of(said: Said, platform: str, event_type: str) -> Said:
    """What a platform said of a milestone."""
    return [
        item
        for item in said
        if item.platform == platform
        and item.about is not None
        and item.about.event_type == event_type
    ]


def change(
    said: Said, platform: str, event_type: str, otherwise: Callable[[Statement], Statement]
) -> Said:
    """The same, but what a platform said of a milestone is said otherwise."""
    meant = {id(item) for item in of(said, platform, event_type)}
    return [otherwise(item) if id(item) in meant else item for item in said]


def without(said: Said, platform: str, event_type: str) -> Said:
    """The same without what a platform said of a milestone."""
    meant = {id(item) for item in of(said, platform, event_type)}
    return [item for item in said if id(item) not in meant]


def shifted(item: Statement, by_ms: int) -> Statement:
    """The same statement, of another time."""
    return item.but(occurred=item.event["occurred"] + by_ms)
