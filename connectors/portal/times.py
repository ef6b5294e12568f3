"""Times for people: UTC, and what it was on the clocks of the place.

Must never ask what time it is.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from connectors.portal.views import Moment

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc(ms: int) -> datetime:
    """A time in ms as a datetime."""
    return _EPOCH + timedelta(milliseconds=ms)


def milliseconds(moment: datetime) -> int:
    """An aware datetime in ms UTC."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def moment(ms: int, zone: str | None, offset_minutes: int | None, precision: str) -> Moment:
    """A time at a place: by its zone, else by the offset that the source gave, else in UTC."""
    at = utc(ms)
    known = None if zone is None else _zone(zone)
    clocks: tzinfo = UTC
    if known is not None:
        clocks = known
    elif offset_minutes is not None:
        clocks = timezone(timedelta(minutes=offset_minutes))
    return Moment(
        at=at,
        local=at.astimezone(clocks),
        zone=None if known is None else zone,
        precision=precision,
    )


@cache
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return None
