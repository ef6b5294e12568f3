"""X12 time zone codes (element 623): what each one says, and which zone a time is to be read in.

Must never know where a stop is: its zone is handed in.
"""

from __future__ import annotations

from datetime import timedelta, timezone, tzinfo
from typing import Final, NamedTuple

from connectors.formats.codes import Code
from connectors.formats.local_time import Wall, standard_minutes, zone

LOCAL: Final = "LT"

_FIXED_HOURS: Final = {
    "UT": 0, "GM": 0, "UTC": 0, "GMT": 0, "Z": 0,
    "NS": -3.5, "ND": -2.5, "TS": -4, "TD": -3, "AST": -4, "ADT": -3,
    "ES": -5, "ED": -4, "EST": -5, "EDT": -4,
    "CS": -6, "CD": -5, "CST": -6, "CDT": -5,
    "MS": -7, "MD": -6, "MST": -7, "MDT": -6,
    "PS": -8, "PD": -7, "PST": -8, "PDT": -7,
    "AS": -9, "AD": -8, "HS": -10, "HD": -9, "HST": -10,
    # By the standard P stands for + and M for -
    **{f"{hours:02}": hours for hours in range(1, 13)},
    **{f"{25 - hours}": -hours for hours in range(1, 13)},
    "25": -2.5, "26": -3.5, "27": 5.5, "28": 9.5, "29": 10.5,
}  # fmt: skip
_FAMILIES: Final = {
    "ET": "America/New_York",
    "CT": "America/Chicago",
    "MT": "America/Denver",
    "PT": "America/Los_Angeles",
    "AT": "America/Anchorage",
    "HT": "Pacific/Honolulu",
    "NT": "America/St_Johns",
    "TT": "America/Halifax",
}
"""Codes that say neither standard nor daylight time, and a zone that changes as they mean it."""


class Choice(NamedTuple):
    """The zone that a time is to be read in, and what is to be said about the choice."""

    zone: tzinfo | None
    code: Code | None = None
    detail: str = ""


def choose(code: str, wall: Wall, stop_zone: str | None, partner_zone: str | None) -> Choice:
    """The zone of a time: as the event states it, else the stop's, else the partner's.

    Args:
        code: element 623, or a longer abbreviation in its place; empty is local time.
        wall: the time that it is for.
        stop_zone: IANA zone of the place where it happened, if known.
        partner_zone: IANA zone to fall back on.

    """
    code = code.upper()
    at_stop = zone(stop_zone) if stop_zone else None
    if code in ("", LOCAL):
        if at_stop is not None:
            return Choice(at_stop)
        fallback = zone(partner_zone) if partner_zone else None
        if fallback is None:
            return Choice(None, Code.ZONE_UNRESOLVED)
        return Choice(fallback, Code.ZONE_ASSUMED, str(partner_zone))
    if code in _FIXED_HOURS:
        return Choice(timezone(timedelta(hours=_FIXED_HOURS[code])))
    family = zone(_FAMILIES[code]) if code in _FAMILIES else None
    if family is None:
        return Choice(None, Code.ZONE_CODE_UNKNOWN, code)
    if at_stop is not None and _same_family(wall, at_stop, family):
        # Phoenix is on Mountain time too, without its summer time
        return Choice(at_stop)
    return Choice(family)


def _same_family(wall: Wall, a: tzinfo, b: tzinfo) -> bool:
    standard = standard_minutes(wall, a)
    return standard is not None and standard == standard_minutes(wall, b)
