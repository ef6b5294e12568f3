"""Telling a worker that has ceased to read from one that has nothing to read.

Pure bookkeeping: which inputs have not moved, and how often in a row another consumer found records
there that this worker could have had. What counts is seen by looking, never by a clock alone: a
process that was stopped, an outage or somebody's open transaction make no look find anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .config import LaneError

LOOKS = 4
"""Looks in a row that find the same, spread over the limit, before the process is left."""

OUTSIDE_S = 20.0
"""Limit of joining a group that waits for nobody: a request to join that was lost on a half-open
connection is waited for by librdkafka as long as a rebalance may take."""

Place = tuple[str, int]
"""Topic and partition number."""


class Unread(NamedTuple):
    """A committed record at or behind a position, read by another consumer."""

    position: int
    first: int
    end: int

    def __str__(self) -> str:
        """In words, for the diagnosis."""
        return (
            f"position {self.position}, a record at {self.first}, end {self.end},"
            f" lag {self.end - self.position}"
        )


class Stalls:
    """What the looks have found so far. One look is on its way at most."""

    def __init__(self, limit_s: float, now: float) -> None:
        self._limit_s = limit_s
        self._outside_s = min(limit_s, OUTSIDE_S)
        self._every_s = limit_s / (LOOKS - 1)
        self._next = now
        self._looking = False
        self._seen: dict[Place, int] = {}
        """Positions when the newest look began."""
        self._unread: dict[Place, int] = {}
        """Looks in a row that found something unread at the same position."""
        self._outside = 0
        """Looks in a row that found the group settled without this worker."""

    def due(self, now: float) -> bool:
        """Tell whether to look again."""
        return not self._looking and now >= self._next

    def begin(self, now: float, positions: Mapping[Place, int]) -> dict[Place, int]:
        """Begin a look at what is being fetched; what stands still there, to be asked about."""
        self._next = now + self._every_s
        still = {place: at for place, at in positions.items() if self._seen.get(place) == at}
        self._seen = dict(positions)
        self._unread = {place: count for place, count in self._unread.items() if place in still}
        self._looking = bool(still)
        return still

    def begin_outside(self, now: float) -> None:
        """Begin a look at the group, which this worker is no member of."""
        self._next = now + self._outside_s / (LOOKS - 1)
        self._looking = True

    def put_off(self, places: Iterable[Place]) -> None:
        """Forget about inputs that wait for the end of a deferral."""
        for place in places:
            self._seen.pop(place, None)
            self._unread.pop(place, None)

    def forget(self) -> None:
        """Begin anew, with another assignment, or none."""
        self._next = 0.0
        self._seen.clear()
        self._unread.clear()
        self._outside = 0

    def found(self, positions: Mapping[Place, int], unread: Mapping[Place, Unread]) -> None:
        """End a look, given where the inputs that are being fetched stand by now.

        Raises:
            LaneError: the last looks all found the same; names what was not read.

        """
        self._looking = False
        self._unread = {
            place: self._unread.get(place, 0) + 1
            for place, found in unread.items()
            if self._seen.get(place) == positions.get(place) == found.position
        }
        stalled = sorted(place for place, count in self._unread.items() if count >= LOOKS)
        if stalled:
            told = "; ".join(f"{topic}[{number}]: {unread[topic, number]}"
                             for topic, number in stalled)  # fmt: skip
            raise LaneError(
                f"watchdog: nothing was read for {self._limit_s:.0f} s though another consumer"
                f" reads there: {told}"
            )

    def found_outside(self, *, joining: bool, settled: bool) -> None:
        """End a look at the group.

        Raises:
            LaneError: the last looks all found it settled while this worker meant to be joining.

        """
        self._looking = False
        self._outside = self._outside + 1 if joining and settled else 0
        if self._outside >= LOOKS:
            raise LaneError(
                f"watchdog: joining for {self._outside_s:.0f} s, though the group waits for nobody"
            )
