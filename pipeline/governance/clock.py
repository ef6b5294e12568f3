"""The partition's clock: up to which time its inputs have been read.

Time is data here. An input that can't be read (paused, unreachable) holds back what depends on it,
and nothing else. Must never know the time of day.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

NONE: Mapping[str, int] = {}


class Clock(NamedTuple):
    """Append times up to which inputs have been read, ms UTC."""

    all: int
    """Of every input."""
    ahead: Mapping[str, int] = NONE
    """Of the inputs that have been read further than that."""
    complete: Mapping[str, int] = NONE
    """By platform: up to when its source says that it has told everything."""

    @property
    def newest(self) -> int:
        """Of the input that has been read furthest."""
        return max(self.ahead.values(), default=self.all)

    def of(self, inputs: frozenset[str]) -> int:
        """Of all of these inputs."""
        if not self.ahead:
            return self.all
        return min((self.ahead.get(name, self.all) for name in inputs), default=self.all)

    def at(self, moment: int) -> Clock:
        """The clock as it was when no input had been read beyond a moment."""
        if not self.ahead:
            return self._replace(all=min(self.all, moment))
        everything = min(self.all, moment)
        ahead = {
            name: min(time, moment) for name, time in self.ahead.items() if moment > everything
        }
        return Clock(everything, ahead, self.complete)

    def towards(self, goal: Clock, moment: int) -> Clock:
        """The clock on its way to a later one, with no input beyond a moment unless it was."""
        names = {*self.ahead, *goal.ahead}
        known = {
            name: max(self.ahead.get(name, self.all), min(goal.ahead.get(name, goal.all), moment))
            for name in names
        }
        everything = max(self.all, min(goal.all, moment))
        ahead = {name: at for name, at in known.items() if at > everything}
        return goal._replace(all=everything, ahead=ahead)

    def moved(self, read: Mapping[str, int], inputs: frozenset[str]) -> Clock:
        """The clock after inputs have been read further.

        Args:
            read: append times up to which some of them have been read.
            inputs: all there are; one that is not among them holds nothing back.

        """
        known = {name: max(self.ahead.get(name, self.all), read.get(name, 0)) for name in inputs}
        everything = max(self.all, min(known.values(), default=self.all))
        ahead = {name: at for name, at in known.items() if at > everything}
        return Clock(everything, ahead, self.complete)
