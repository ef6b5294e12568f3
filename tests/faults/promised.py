"""How often the long run is to let what happen, and how much of that a run has reached."""

from __future__ import annotations

from collections.abc import Mapping

from crash_points import ERP, GOVERNOR, PORTAL

POINTS = (
    *(f"governor dies {point.replace('_', ' ')}" for point in GOVERNOR),
    *(point.replace("_", " dies ", 1).replace("_", " ") for point in PORTAL + ERP),
)
ADDED = {
    "kills of a worker": (100, {"two governors killed at random": 2}),
    "workers stopped beyond their session": (20, {"governor stopped": 1}),
    "kills of the broker": (50, {"broker killed": 1}),
    "faults of the network": (100, {"connections": 1, "network": 1, "end of transaction": 1}),
    "joins and leaves": (100, {"member joins or leaves": 1}),
    "cold starts of two workers": (500, {"cold start": 1}),
    "rolling restarts": (100, {"rolling restart, static": 1, "rolling restart, dynamic": 1}),
}
"""How many, and what counts: faults by how their names begin, with how often each has it happen."""
EACH = {
    "each named crash point": (10, POINTS),
    "rolling restarts of three brokers": (1, ("rolling restart of all brokers",)),
    "kills of a leader or coordinator, each": (
        1,
        ("leader killed", "transaction coordinator killed", "group coordinator killed"),
    ),
}
"""How many, of each of these faults."""


def promised(times: Mapping[str, int]) -> list[tuple[str, int, int]]:
    """What was promised, how often, and how often it happened, given the times of each fault."""
    added = [
        (what, most, sum(_counted(name, kinds) * count for name, count in times.items()))
        for what, (most, kinds) in ADDED.items()
    ]
    each = [
        (what, most, min(times.get(name, 0) for name in faults))
        for what, (most, faults) in EACH.items()
    ]
    return added + each


def _counted(fault: str, kinds: Mapping[str, int]) -> int:
    return sum(count for begin, count in kinds.items() if fault.startswith(begin))
