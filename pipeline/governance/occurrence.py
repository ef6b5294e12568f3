"""Which occurrence a claim speaks of: the place it means, the stop's role, the discriminator.

Must never know who owns it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pipeline.governance.claims import RawEvent, Stop
from pipeline.governance.entity import Entity, PlannedStop
from pipeline.governance.policy import EventType, Platform, Policy, Site
from pipeline.governance.vocabulary import Cardinality

_DAY_MS = 86_400_000
_MINUTE_MS = 60_000
NO_STOP: Final[Stop] = {
    "number": None,
    "role": None,
    "location": None,
    "name": None,
    "city": None,
    "subdivision": None,
    "country": None,
}


class Place(NamedTuple):
    """Where a claim says it happened, as far as that is known."""

    canonical: str | None
    site: Site | None
    role: str | None


def place_of(policy: Policy, platform: Platform, entity: Entity | None, body: RawEvent) -> Place:
    """Resolve a claim's place by the site table and the shipment's stop list.

    A stop number only helps to find the place; a place that the stop list visits more than once
    gets `#k` for its k-th visit.
    """
    stop = body["stop"]
    site = policy.site_of(platform, stop)
    planned = [] if entity is None else entity.stops
    role = None if stop is None else stop["role"]
    if stop is None:
        return Place(None, None, None)
    match = _match(planned, stop, site)
    if match is not None:
        site = site or policy.sites.get(match.place.partition("#")[0])
        return Place(match.place, site, role or match.stop["role"])
    return Place(None if site is None else site.id, site, role)


def _match(planned: list[PlannedStop], stop: Stop, site: Site | None) -> PlannedStop | None:
    """The stop of the list that is meant."""
    if site is not None:
        here = [item for item in planned if item.place.partition("#")[0] == site.id]
        if len(here) > 1:
            closer = [item for item in here if _agrees(item.stop, stop)]
            return (closer or here)[0]
        return here[0] if here else None
    for item in planned:
        if stop["number"] is not None and item.stop["number"] == stop["number"]:
            return item
    if stop["location"]:
        for item in planned:
            if item.stop["location"] == stop["location"]:
                return item
    return None


def _agrees(planned: Stop, stop: Stop) -> bool:
    if stop["number"] is not None:
        return planned["number"] == stop["number"]
    return stop["role"] is not None and planned["role"] == stop["role"]


def only_stop(entity: Entity | None, roles: frozenset[str]) -> PlannedStop | None:
    """The single stop of the plan with one of these roles; None: there is none, or several."""
    if entity is None:
        return None
    fitting = [item for item in entity.stops if item.stop["role"] in roles]
    return fitting[0] if len(fitting) == 1 else None


def discriminator(kind: EventType, body: RawEvent, place: str | None) -> str | None:
    """What tells this occurrence of an event type from others of the entity.

    Returns:
        None: it can't be told yet, the stop is not known. A missing document is an empty text for
        the caller to refuse.

    """
    cardinality = kind.cardinality
    if cardinality is Cardinality.ONCE:
        return ""
    if cardinality is Cardinality.STOP:
        return place
    if cardinality is Cardinality.DOCUMENT:
        return body["document"] or ""
    if cardinality is Cardinality.STREAM:
        return place or ""
    if cardinality is Cardinality.LEG:
        return body["leg"] or ""
    if place is None:
        return None
    attempt = body["attempt"] or _local_date(body)
    return f"{place}@{attempt}"


def _local_date(body: RawEvent) -> str:
    """Days since the epoch at the stop, as the source's own offset tells."""
    local = body["occurred"] + (body["occurred_offset_minutes"] or 0) * _MINUTE_MS
    return f"day{local // _DAY_MS}"


def plan_stops(policy: Policy, platform: Platform, stops: list[Stop]) -> list[PlannedStop]:
    """The stop list of a tender with every place resolved, repeated visits numbered."""
    named = []
    for position, stop in enumerate(stops, 1):
        site = policy.site_of(platform, stop)
        text = site.id if site is not None else stop["location"] or stop["city"] or f"?{position}"
        named.append(text)
    planned: list[PlannedStop] = []
    visits: dict[str, int] = {}
    for position, (stop, text) in enumerate(zip(stops, named, strict=True), 1):
        visits[text] = visits.get(text, 0) + 1
        place = f"{text}#{visits[text]}" if named.count(text) > 1 else text
        numbered: Stop = {**stop, "number": stop["number"] or position}
        planned.append(PlannedStop(numbered, place))
    return planned
