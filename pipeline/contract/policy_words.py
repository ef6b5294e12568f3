"""Values of a policy bundle in words: spans, times, lists, and where a rule applies.

Must never know which values differ or whether they are right.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final

NAMED_MAX: Final = 3
"""Names that a sentence lists; of more it says how many there are."""
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def span(duration: timedelta) -> str:
    """A duration for people: 4 h, 30 min, 90 s, 1 h 30 min is 90 min."""
    seconds = int(duration.total_seconds())
    for unit, size in _UNITS:
        if seconds and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def span_ms(milliseconds: int) -> str:
    """A duration in ms for people."""
    return span(timedelta(milliseconds=milliseconds))


def day(milliseconds: int) -> str:
    """A time, ms UTC, for people: only its date where it is midnight."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.strftime("%Y-%m-%d" if milliseconds % 86_400_000 == 0 else "%Y-%m-%d %H:%MZ")


def listed(names: Iterable[str]) -> str:
    """Names in a sentence: a, b and c."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def counted(names: Sequence[str], noun: str) -> str:
    """A few names as they are, of many how many there are."""
    return listed(names) if len(names) <= NAMED_MAX else f"{len(names)} {noun}"


def places(where: Collection[tuple[str, str]], regions: Collection[str]) -> str:
    """Tenants and regions in words: of acme in NA, of acme everywhere.

    Args:
        where: pairs of tenant and region.
        regions: all there are.

    """
    by_tenant: dict[str, list[str]] = {}
    for tenant, region in sorted(where):
        by_tenant.setdefault(tenant, []).append(region)
    alike: dict[tuple[str, ...], list[str]] = {}
    for tenant, found in by_tenant.items():
        alike.setdefault(tuple(found), []).append(tenant)
    parts = []
    for found_in, tenants in alike.items():
        area = "everywhere" if set(regions) <= set(found_in) else f"in {listed(found_in)}"
        parts.append(f"of {listed(tenants)} {area}")
    return " and ".join(parts)


def value(given: Any) -> str:
    """Any value of a bundle in words."""
    match given:
        case None | "" | [] | {} | ():
            return "nothing"
        case bool():
            return "yes" if given else "no"
        case timedelta():
            return span(given)
        case datetime():
            return day(int(given.timestamp() * 1000))
        case Enum():
            return str(given.value)
        case Mapping():
            return "; ".join(f"{key} {value(inner)}" for key, inner in given.items())
        case list() | tuple() | set() | frozenset():
            return ", ".join(value(item) for item in given)
        case _:
            return str(given)
