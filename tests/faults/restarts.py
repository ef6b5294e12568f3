"""Starts that must not freeze: two workers of a new group at once, and one after the other anew."""

from __future__ import annotations

import itertools
from random import Random

from arena import SLOTS, Arena
from process_faults import Act

_groups = itertools.count(1)


def cold_start(kind: str) -> Act:
    """Two workers of a group that nobody has seen start at the same moment."""

    def act(arena: Arena, _roll: Random) -> None:
        arena.stop_governors()
        arena.group = f"milepost-cold-{next(_groups)}"
        for slot in SLOTS:
            _start(arena, slot, kind)
        for slot in SLOTS:
            arena.governors[slot].govern()
        arena.decided()

    return act


def rolling(kind: str) -> Act:
    """Each worker is ended in order and started again, and the next one when it governs."""

    def act(arena: Arena, _roll: Random) -> None:
        for slot in SLOTS:
            arena.governors[slot].stop()
            _start(arena, slot, kind)
            arena.governors[slot].govern()
            arena.more(10)

    return act


def _start(arena: Arena, slot: str, kind: str) -> None:
    arena.governors[slot].start(arena.spoiled("membership.py", kind))
