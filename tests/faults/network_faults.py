"""Faults of the network between workers and broker. Each returns once it has happened."""

from __future__ import annotations

from random import Random

from arena import Arena, lasts
from process_faults import SESSION_S
from tcp_proxy import Way

CALL_LIMIT_S = 5.0
"""Of one transactional call, with the arena's transaction time-out."""
OUTSIDE_S = 60.0


def cut(arena: Arena, roll: Random) -> None:
    """Every connection is reset, a few times in a row."""
    for _ in range(roll.randint(1, 4)):
        arena.proxy.cut()
        lasts(roll.uniform(0.0, 0.5))


def half_open(arena: Arena, roll: Random) -> None:
    """Nothing arrives on today's connections any more, and nobody is told.

    Until everybody has noticed, and is a member again or has left.
    """
    lasts(roll.uniform(0.0, 0.3))
    arena.proxy.half_open()
    lasts(SESSION_S + 1)
    arena.all_members(OUTSIDE_S)


def delay(arena: Arena, roll: Random) -> None:
    """Every frame takes longer, both ways."""
    arena.proxy.delay(roll.choice((0.02, 0.1, 0.4)))
    lasts(roll.uniform(1.0, 3.0))


def stall(arena: Arena, roll: Random) -> None:
    """Nothing passes in one direction for a while; nothing is lost."""
    arena.proxy.stall(roll.choice(list(Way)))
    lasts(roll.uniform(0.5, 3.0))


def stall_long(arena: Arena, roll: Random) -> None:
    """Nothing passes in one direction for longer than a transactional call may take."""
    arena.proxy.stall(roll.choice(list(Way)))
    lasts(CALL_LIMIT_S + roll.uniform(1.0, 6.0))


def delay_ends(arena: Arena, roll: Random) -> None:
    """The answer to the end of a transaction comes late: what became of it is not known so long."""
    _held_back(arena, roll.uniform(0.5, CALL_LIMIT_S - 2))


def delay_ends_long(arena: Arena, roll: Random) -> None:
    """The answer to the end of a transaction comes when nobody waits for it any more."""
    _held_back(arena, CALL_LIMIT_S + roll.uniform(0.5, 3.0))


def _held_back(arena: Arena, seconds: float) -> None:
    before = arena.proxy.delayed_ends
    arena.proxy.delay_ends(seconds)
    arena.witness.until(
        lambda: arena.proxy.delayed_ends > before, 30, "the answer to the end of a transaction"
    )
    lasts(seconds)
