"""How far a sink has read, and up to which time that makes its store complete.

A partition is complete up to the append time of the newest record applied, or up to the moment at
which its end was asked for once that end has been applied. Pure: offsets and times in, offsets and
times out.
"""

from __future__ import annotations

from dataclasses import dataclass

from connectors.applied import Claim


@dataclass(slots=True)
class Progress:
    """One assigned partition."""

    claim: Claim
    position: int = -1
    """Offset after the last one read or known to hold nothing for us."""
    read_to_ms: int = 0
    told_ms: int = 0
    """What the store was last told of `read_to_ms`."""
    end: int | None = None
    _asked: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        self.position = self.claim.next_offset

    @property
    def behind(self) -> int:
        """Offsets between what was read and the end that was last seen."""
        return 0 if self.end is None else max(0, self.end - max(0, self.position))

    @property
    def news(self) -> bool:
        """Whether the store should be told."""
        return self.position > self.claim.next_offset or self.read_to_ms > self.told_ms

    def record(self, offset: int, appended_ms: int) -> None:
        """A record was read."""
        self._move(offset + 1)
        self.read_to_ms = max(self.read_to_ms, appended_ms)

    def reached_end(self, offset: int) -> None:
        """There is nothing to read before this offset: what lies there are commit markers."""
        self._move(offset)

    def asked_end(self, at_ms: int, end: int) -> None:
        """The end was asked for at this time and lay there."""
        self.end = end
        if self._asked is None:  # an older question is answered first
            self._asked = (at_ms, end)
        self._answer()

    def told(self, claim: Claim) -> None:
        """The store has committed what this knows."""
        self.claim = claim
        self.told_ms = self.read_to_ms

    def _move(self, position: int) -> None:
        self.position = max(self.position, position)
        self._answer()

    def _answer(self) -> None:
        if self._asked is not None and self.position >= self._asked[1]:
            self.read_to_ms = max(self.read_to_ms, self._asked[0])
            self._asked = None
