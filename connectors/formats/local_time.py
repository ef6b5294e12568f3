"""From what a wall clock showed somewhere to UTC, without a guess.

A time that a daylight-saving change skipped or gave twice is said to be so. Must never know how a
format writes dates.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ONE_MS: Final = timedelta(milliseconds=1)


class Trouble(StrEnum):
    """Why a wall-clock time is no instant."""

    IMPOSSIBLE = "impossible"
    GAP = "gap"
    AMBIGUOUS = "ambiguous"


class Wall(NamedTuple):
    """What a wall clock showed."""

    year: int
    month: int
    day: int
    hour: int = 0
    minute: int = 0
    second: int = 0
    millisecond: int = 0


class Instant(NamedTuple):
    """A point in time, and the offset from UTC that was in force."""

    utc_ms: int
    offset_minutes: int


@lru_cache(maxsize=1024)
def zone(name: str) -> tzinfo | None:
    """The IANA zone of this name; None: there is no such zone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def instant(wall: Wall, where: tzinfo) -> Instant | Trouble:
    """When a wall clock in a zone showed this."""
    try:
        first = datetime(*wall[:6], microsecond=wall.millisecond * 1000, tzinfo=where)
        second = first.replace(fold=1)
        utc = first.astimezone(UTC)
        if first.utcoffset() != second.utcoffset():
            back = utc.astimezone(where)
            same = back.replace(tzinfo=None, fold=0) == first.replace(tzinfo=None)
            return Trouble.AMBIGUOUS if same else Trouble.GAP
    except (ValueError, OverflowError):
        return Trouble.IMPOSSIBLE
    return Instant((utc - _EPOCH) // _ONE_MS, offset_minutes(first))


def offset_minutes(moment: datetime) -> int:
    """Offset from UTC in force, minutes."""
    return (moment.utcoffset() or timedelta()) // timedelta(minutes=1)


def standard_minutes(wall: Wall, where: tzinfo) -> int | None:
    """Offset of a zone without its summer time, minutes; None: the date does not exist."""
    try:
        noon = datetime(wall.year, wall.month, wall.day, 12, tzinfo=where)
        return offset_minutes(noon) - (noon.dst() or timedelta()) // timedelta(minutes=1)
    except (ValueError, OverflowError):
        return None
