"""What a simulation ends with when something is not as promised.

Must never be caught on the way.
"""

from __future__ import annotations


class ViolationError(Exception):
    """An invariant does not hold.

    Args:
        invariant: its name, as `audit.INVARIANTS` lists it.
        found: what was found, and where.

    """

    def __init__(self, invariant: str, found: str) -> None:
        super().__init__(f"{invariant}: {found}")
        self.invariant = invariant
        self.found = found
