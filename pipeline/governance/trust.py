"""Which platforms are held back: suspended by a person, or braked because most of it is bad.

What a platform that is held back says is kept and waits. Must never judge a claim.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline.governance.policy import Brake, Policy
from pipeline.governance.reasons import Reason


@dataclass
class Trust:
    """Of one partition; changed in place."""

    held_back: dict[str, str] = field(default_factory=dict)
    """Reason by platform: suspended, or braked."""
    counts: dict[str, list[int]] = field(default_factory=dict)
    """By platform: dead letters in a row, records of this window, dead letters of this window."""

    def count(self, brake: Brake, platform: str, *, bad: bool) -> bool:
        """Count a record.

        Args:
            brake: when it is too much.
            platform: whose record it is.
            bad: whether it ended in the dead letter.

        Returns:
            Whether the platform is held back from here on.

        """
        counts = self.counts.get(platform)
        if counts is None:
            if not bad:
                return False
            counts = self.counts[platform] = [0, 0, 0]
        counts[0] = counts[0] + 1 if bad else 0
        counts[1] += 1
        counts[2] += bad
        full = counts[1] >= brake.window
        too_much = counts[0] >= brake.run or (full and counts[2] > brake.ratio * counts[1])
        if full:
            counts[1:] = [0, 0]
            if not counts[0]:
                del self.counts[platform]
        if not too_much or platform in self.held_back:
            return False
        self.hold_back(platform, Reason.PLATFORM_BRAKED)
        return True

    def hold_back(self, platform: str, reason: Reason) -> None:
        """From here on the platform's claims are held."""
        self.held_back[platform] = reason.value
        self.counts.pop(platform, None)

    def release(self, platform: str) -> bool:
        """From here on they are judged; whether they were held."""
        self.counts.pop(platform, None)
        return self.held_back.pop(platform, None) is not None

    def paused(self, policy: Policy) -> frozenset[str]:
        """Inputs that are not to be read: every platform that writes there is braked."""
        braked = {n for n, why in self.held_back.items() if why == Reason.PLATFORM_BRAKED}
        if not braked:
            return frozenset()
        writers: dict[str, set[str]] = {}
        for platform in policy.platforms.values():
            for topic in platform.topics:
                writers.setdefault(topic, set()).add(platform.name)
        return frozenset(topic for topic, names in writers.items() if names <= braked)

    def dump(self) -> dict[str, Any]:
        """As plain values."""
        return {"held_back": self.held_back, "counts": self.counts}

    @classmethod
    def load(cls, plain: dict[str, Any]) -> Trust:
        """What `dump` gave."""
        return cls(plain.get("held_back", {}), plain.get("counts", {}))
