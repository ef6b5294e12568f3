"""How much of a partner's document is read before reading stops.

A limit is the one thing about a document that raises: past it there is nothing sound to report on.
Must never know a format.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one document may hold."""

    bytes_max: int = 16_777_216
    segments_max: int = 500_000
    elements_max: int = 500
    """Elements of one segment."""
    characters_max: int = 32_768
    """Characters of one segment."""


class LimitExceededError(ValueError):
    """A document is larger than it may be; the message names the limit and the position."""

    def __init__(self, limit: str, maximum: int, position: str) -> None:
        super().__init__(
            f"The document has more than {maximum:,} {limit} ({position}): have the partner send "
            "it in parts, or have the limit raised"
        )
        self.limit = limit
        self.maximum = maximum
        self.position = position
