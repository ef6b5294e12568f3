"""The traffic of a seeded world: every statement of every platform, in the order it is sent.

Same seed, same present: same statements. Must never touch Kafka or read a clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from connectors.simulation.faults import FAULTS, afflict
from connectors.simulation.faults import MARKS as STORY_MARKS
from connectors.simulation.hard_cases import HARD_CASES, HARD_MARKS
from connectors.simulation.noise import NOISES, disturb
from connectors.simulation.platforms import voices
from connectors.simulation.retelling import Mark
from connectors.simulation.statement import Statement
from connectors.simulation.world import Shipment, World, dice, present, shipments

EVENTS: Final = 20_000
"""Statements of the demo."""
MARKS: Final[Mapping[str, Mark]] = {**STORY_MARKS, **HARD_MARKS, **NOISES}
"""What each fault is and how the statements end that it touched, by the name they carry."""


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


def compose(
    seed: int,
    now_ms: int,
    *,
    events: int = EVENTS,
    run_s: float = 25.0,
    handover_ms: int | None = None,
) -> Traffic:
    """Let a world happen and its platforms talk.

    Args:
        seed: decides everything but the present.
        now_ms: present, ms UTC.
        events: shipments are added until so many statements are reached.
        run_s: everything is sent within so many seconds, but for what is held back.
        handover_ms: from when on Europe's shipments are tendered in North America's TMS, as the
            policy in force has it; None: never.

    """
    now_ms = present(now_ms)
    told: list[Shipment] = []
    said: list[Statement] = []
    for shipment in shipments(seed, now_ms, handover_ms):
        if len(said) >= events:
            break
        told.append(shipment)
        said.extend(_spoken(seed, shipment, now_ms))
    world = World(seed, now_ms, tuple(told), handover_ms)
    return Traffic(world, tuple(_scheduled(said, run_s)))


def _spoken(seed: int, shipment: Shipment, now_ms: int) -> list[Statement]:
    roll = dice(seed, "faults", shipment.ordinal)
    faults = (*FAULTS.values(), *HARD_CASES.values())
    said = afflict(shipment, voices(seed, shipment), roll, faults)
    return disturb(shipment, said, dice(seed, "noise", shipment.ordinal), now_ms)


def _scheduled(said: list[Statement], run_s: float) -> Iterator[Sending]:
    """Place each statement in the run: in the world's order, at an even rate, then held back."""
    ordered = sorted(said, key=lambda item: item.sent_ms)
    step_s = run_s / max(1, len(ordered))
    placed = [(rank * step_s + item.delay_s, item) for rank, item in enumerate(ordered)]
    placed.sort(key=lambda pair: pair[0])
    for sequence, (at_s, item) in enumerate(placed):
        yield Sending(sequence, at_s, item)
