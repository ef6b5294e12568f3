"""Parties and places of a transport set: N1 loops, and which one a status happened at.

Roles come from the party's code alone. Must never look at a status code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from connectors.formats.reading import Record, stop
from connectors.formats.x12.tokens import Segment

ROLES: Final = {
    "OT": "ORIGIN",
    "SH": "ORIGIN",
    "SF": "ORIGIN",
    "DT": "DESTINATION",
    "CN": "DESTINATION",
    "ST": "DESTINATION",
}
"""Stop role by entity identifier (N101): origin terminal, shipper, ship from; destination terminal,
consignee, ship to. Who pays or is called has none."""

_TERMINALS: Final = ("OT", "DT")
_COMPANY_CODES: Final = ("2",)
"""Code qualifiers (N103) that name a company wherever it is: a SCAC."""


@dataclass(slots=True)
class Place:
    """One N1 loop."""

    party: str
    name: str = ""
    code: str = ""
    city: str = ""
    subdivision: str = ""
    country: str = ""

    @property
    def role(self) -> str | None:
        """Its stop role, if it has one."""
        return ROLES.get(self.party)

    def as_stop(self, country: str | None) -> Record:
        """The place as a stop."""
        code = self.code
        if not code and not self.city and self.party in _TERMINALS:
            # A terminal that is only named is named by its code
            code = self.name
        return stop(
            role=self.role,
            location=code or None,
            name=self.name or None,
            city=self.city or None,
            subdivision=self.subdivision or None,
            country=self.country or country,
        )


def take(places: list[Place], segment: Segment) -> None:
    """Add what an N1 or N4 segment says; other segments say nothing about a place."""
    elements = [*segment.elements(), *[""] * 7]
    if segment.name == "N1":
        code = elements[4] if elements[3] not in _COMPANY_CODES else ""
        places.append(Place(elements[1], elements[2], code))
    elif segment.name == "N4" and places:
        place = places[-1]
        place.city, place.subdivision, place.country = elements[1], elements[2], elements[4]
        place.code = place.code or elements[6]


def stop_at(places: Iterable[Place], city: str, subdivision: str, country: str | None) -> Record:
    """The stop in a town that a status names, with the role of the parties there if they agree."""
    there = [
        place
        for place in places
        if place.role is not None
        and _same(place.city, city)
        and (not subdivision or not place.subdivision or _same(place.subdivision, subdivision))
    ]
    found = stop(city=city, subdivision=subdivision or None, country=country)
    if len({place.role for place in there}) == 1:
        known = there[0].as_stop(country)
        found["role"] = known["role"]
        if len(there) == 1:
            found["location"], found["name"] = known["location"], known["name"]
            found["subdivision"] = found["subdivision"] or known["subdivision"]
    return found


def only_stop(places: Iterable[Place], country: str | None) -> tuple[Record | None, int]:
    """The one place with a role, and how many there are."""
    candidates = [place for place in places if place.role is not None]
    stops = [place.as_stop(country) for place in candidates]
    distinct = [found for index, found in enumerate(stops) if found not in stops[:index]]
    return (distinct[0] if len(distinct) == 1 else None), len(distinct)


def _same(a: str, b: str) -> bool:
    return bool(a) and a.casefold() == b.casefold()
