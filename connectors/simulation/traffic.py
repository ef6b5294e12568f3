"""The traffic of a seeded world: every statement of every platform, in the order it is sent.

Same seed, same present: same statements. Must never touch Kafka or read a clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

from connectors.simulation.faults import ACCOMPLICES, FAULTS, Fate, afflict
from connectors.simulation.noise import NOISES, disturb
from connectors.simulation.platforms import voices
from connectors.simulation.statement import Statement
from connectors.simulation.world import Shipment, World, dice, present, shipments

EVENTS: Final = 20_000
"""Statements of the demo."""


class Sending(NamedTuple):
    """A statement and its place in the run."""

    sequence: int
    """From 0, in the order of sending."""
    at_s: float
    """Seconds after the run began."""
    statement: Statement


class Traffic(NamedTuple):
    """Everything that is sent in one run, and the world that it speaks of."""

    world: World
    sendings: tuple[Sending, ...]

    def faults(self) -> Counter[str]:
        """How many statements each fault touched; the empty name counts those that none did."""
        return Counter(item.statement.fault for item in self.sendings)


def expected(fault: str) -> frozenset[Fate]:
    """How the statements end that a fault or a noise marks."""
    if fault in FAULTS:
        return FAULTS[fault].meets
    return NOISES[fault] if fault in NOISES else ACCOMPLICES[fault]


def compose(seed: int, now_ms: int, *, events: int = EVENTS, run_s: float = 25.0) -> Traffic:
    """Let a world happen and its platforms talk.

    Args:
        seed: decides everything but the present.
        now_ms: present, ms UTC.
        events: shipments are added until so many statements are reached.
        run_s: the world's days are sent within so many seconds, before any holding back.

    """
    now_ms = present(now_ms)
    told: list[Shipment] = []
    said: list[Statement] = []
    for shipment in shipments(seed, now_ms):
        if len(said) >= events:
            break
        told.append(shipment)
        said.extend(_spoken(seed, shipment, now_ms))
    world = World(seed, now_ms, tuple(told))
    return Traffic(world, tuple(_scheduled(said, run_s)))


def _spoken(seed: int, shipment: Shipment, now_ms: int) -> list[Statement]:
    roll = dice(seed, "faults", shipment.ordinal)
    said = afflict(shipment, voices(seed, shipment), roll)
    return disturb(shipment, said, dice(seed, "noise", shipment.ordinal), now_ms)


def _scheduled(said: list[Statement], run_s: float) -> Iterator[Sending]:
    """Place each statement in the run: days of the world become seconds, in proportion."""
    if not said:
        return
    first = min(item.sent_ms for item in said)
    span = max(item.sent_ms for item in said) - first or 1
    placed = [((item.sent_ms - first) / span * run_s + item.delay_s, item) for item in said]
    placed.sort(key=lambda pair: pair[0])
    for sequence, (at_s, item) in enumerate(placed):
        yield Sending(sequence, at_s, item)
