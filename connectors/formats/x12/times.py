"""X12 dates and times (elements 373, 337 and 623) to instants, with what is odd about them.

Must never guess: what can't be read is a finding.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from connectors.formats.codes import Code
from connectors.formats.local_time import Instant, Trouble, Wall, instant, zone
from connectors.formats.x12.zones import LOCAL, choose
from pipeline.governance.vocabulary import Precision

_TROUBLE: Final = {
    Trouble.IMPOSSIBLE: Code.TIME_IMPOSSIBLE,
    Trouble.GAP: Code.TIME_IN_GAP,
    Trouble.AMBIGUOUS: Code.TIME_AMBIGUOUS,
}
_CENTURY_TURN: Final = 70
"""Dates of six digits (before release 4010): years from here on are of the 1900s."""


class Oddity(NamedTuple):
    """A finding to be made, by the element (1 date, 2 time, 3 zone) that it is about."""

    code: Code
    part: int
    detail: str


class Moment(NamedTuple):
    """What date, time and zone elements come to; without an instant, an oddity says why."""

    instant: Instant | None
    precision: Precision
    oddities: tuple[Oddity, ...]


class _Read(NamedTuple):
    wall: Wall
    precision: Precision


def moment(
    date: str, time: str, code: str, stop_zone: str | None, partner_zone: str | None
) -> Moment:
    """Read an event's time.

    Args:
        date: CCYYMMDD or YYMMDD.
        time: HHMM, HHMMSS, HHMMSSD or HHMMSSDD; empty: the whole day.
        code: zone code; empty or LT is local time where it happened.
        stop_zone: IANA zone of that place, if known.
        partner_zone: IANA zone to fall back on.

    """
    if not date:
        return Moment(None, Precision.UNRECOGNISED, (Oddity(Code.DATE_MISSING, 1, ""),))
    read = _read(date, time)
    if read is None:
        shown = f"{date} {time}".strip()
        return Moment(None, Precision.UNRECOGNISED, (Oddity(Code.TIME_IMPOSSIBLE, 1, shown),))
    oddities = [] if time else [Oddity(Code.TIME_MISSING, 2, date)]
    choice = choose(code, read.wall, stop_zone, partner_zone)
    if choice.code is not None:
        oddities.append(Oddity(choice.code, 3, choice.detail))
    if choice.zone is None:
        return Moment(None, read.precision, tuple(oddities))
    found = instant(read.wall, choice.zone)
    if isinstance(found, Trouble):
        detail = f"{date} {time} {code or LOCAL} {choice.zone}"
        oddities.append(Oddity(_TROUBLE[found], 1, detail))
        return Moment(None, read.precision, tuple(oddities))
    local = zone(stop_zone) if stop_zone and code.upper() not in ("", LOCAL) else None
    if local is not None:
        there = instant(read.wall, local)
        if isinstance(there, Instant) and there.offset_minutes != found.offset_minutes:
            oddities.append(Oddity(Code.ZONE_CONTRADICTS_STOP, 3, f"{code}, {stop_zone}"))
    return Moment(found, read.precision, tuple(oddities))


def recorded(date: str, time: str, partner_zone: str | None) -> int | None:
    """When a document was written, ms UTC, its header read in the partner's zone, or None."""
    read = _read(date, time)
    where = zone(partner_zone) if partner_zone else None
    if read is None or where is None or not time:
        return None
    found = instant(read.wall, where)
    return found.utc_ms if isinstance(found, Instant) else None


def _read(date: str, time: str) -> _Read | None:
    """Digits to numbers; whether they name a day that exists is seen later."""
    digits = date + time
    if not (digits.isascii() and digits.isdigit()) or len(date) not in (6, 8):
        return None
    if len(date) == 6:
        date = ("19" if int(date[:2]) >= _CENTURY_TURN else "20") + date
    day = (int(date[:4]), int(date[4:6]), int(date[6:]))
    if not time:
        return _Read(Wall(*day), Precision.DAY)
    if len(time) not in (4, 6, 7, 8):
        return None
    clock = (int(time[:2]), int(time[2:4]))
    if len(time) == 4:
        return _Read(Wall(*day, *clock), Precision.MINUTE)
    seconds = int(time[4:6])
    if len(time) == 6:
        return _Read(Wall(*day, *clock, seconds), Precision.SECOND)
    fraction = int(time[6:].ljust(3, "0"))
    return _Read(Wall(*day, *clock, seconds, fraction), Precision.MILLISECOND)
