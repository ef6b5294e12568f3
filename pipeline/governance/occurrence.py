"""Which occurrence a claim speaks of: the place it means, the stop's role, the discriminator.

Stop lists change. A claim is read by the list that was in force when it happened, whenever either
arrives; what that list doesn't know is looked for in earlier lists, then in later ones. Must never
know who owns anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

from pipeline.governance.claims import RawEvent, Stop
from pipeline.governance.entity import Entity, Plan, PlannedStop
from pipeline.governance.policy import EventType, Platform, Policy, Site
from pipeline.governance.vocabulary import Cardinality

_MINUTE_MS: Final = 60_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NO_STOP: Final[Stop] = {
    "number": None,
    "role": None,
    "location": None,
    "name": None,
    "city": None,
    "subdivision": None,
    "country": None,
}


class Place:
    """Where a claim says it happened, as far as that is known."""

    __slots__ = ("canonical", "role", "site")

    def __init__(
        self,
        canonical: str | None,
        site: Site | None,
        role: str | None,
    ) -> None:
        self.canonical = canonical
        self.site = site
        self.role = role


NOWHERE: Final = Place(None, None, None)


def place_of(
    policy: Policy,
    platform: Platform,
    entity: Entity,
    body: RawEvent,
    roles: frozenset[str] = frozenset(),
) -> Place:
    """Resolve a claim's place by the site table and the shipment's stop lists.

    A stop number only helps to find the place. A list's second visit to a place is `PLACE#2`.

    Args:
        policy: the bundle in force.
        platform: who speaks.
        entity: with its stop lists.
        body: the claim.
        roles: of stops that are meant where a place is visited more than once.

    """
    stop = body["stop"]
    if stop is None:
        return NOWHERE
    tenant = entity.name.tenant
    site = policy.site_of(platform, tenant, stop)
    for plan in _searched(entity, body["occurred"]):
        found = _match(plan.stops, stop, site, roles)
        if found is not None:
            site = site or policy.site(tenant, site_of(found.place))
            return Place(found.place, site, stop["role"] or found.stop["role"])
    return Place(None if site is None else site.id, site, stop["role"])


def site_of(place: str) -> str:
    """A place without the number of its visit."""
    return place.partition("#")[0]


def _searched(entity: Entity, occurred: int) -> Iterable[Plan]:
    """The stop list in force, then the earlier ones, then the later ones."""
    plans = entity.plans
    if len(plans) < 2:
        return plans
    now = _in_force(plans, occurred)
    return [*reversed(plans[: now + 1]), *plans[now + 1 :]]


def _in_force(plans: Sequence[Plan], occurred: int) -> int:
    minute = occurred // _MINUTE_MS
    before = [index for index, plan in enumerate(plans) if plan.occurred // _MINUTE_MS <= minute]
    return before[-1] if before else 0


def _match(
    planned: Sequence[PlannedStop], stop: Stop, site: Site | None, roles: frozenset[str]
) -> PlannedStop | None:
    """The stop of the list that is meant."""
    if site is not None:
        here = [item for item in planned if site_of(item.place) == site.id]
        return _visit(here, stop, roles)
    if stop["number"] is not None:
        for item in planned:
            if item.stop["number"] == stop["number"]:
                return item
    for name in ("location", "city"):
        said = _folded(stop, name)
        here = [item for item in planned if _folded(item.stop, name) == said] if said else []
        if here:
            return _visit(here, stop, roles)
    return None


def _visit(here: Sequence[PlannedStop], stop: Stop, roles: frozenset[str]) -> PlannedStop | None:
    """Which of the visits to one place is meant: by number or role, else the first that fits."""
    if len(here) < 2:
        return here[0] if here else None
    named = (item for item in here if _agrees(item.stop, stop))
    fitting = (item for item in here if item.stop["role"] in roles)
    return next(named, None) or next(fitting, None) or here[0]


def revisits(entity: Entity) -> bool:
    """Whether a stop list has a place more than once."""
    return any("#" in item.place for plan in entity.plans for item in plan.stops)


def _folded(stop: Stop, name: str) -> str:
    text = stop["location"] if name == "location" else stop["city"]
    return (text or "").strip().upper()


def _agrees(planned: Stop, stop: Stop) -> bool:
    if stop["number"] is not None:
        return planned["number"] == stop["number"]
    return stop["role"] is not None and planned["role"] == stop["role"]


def only_stop(entity: Entity, roles: frozenset[str], occurred: int) -> PlannedStop | None:
    """The only stop with one of these roles in the list in force, if there is just one."""
    if not entity.plans:
        return None
    plan = entity.plans[_in_force(entity.plans, occurred)]
    fitting = [item for item in plan.stops if item.stop["role"] in roles]
    return fitting[0] if len(fitting) == 1 else None


def discriminator(kind: EventType, body: RawEvent, place: Place) -> str | None:
    """What tells this occurrence of an event type from others of the entity.

    Returns:
        None: it can't be told yet, the stop is not known. A missing document or leg is an empty
        text for the caller to refuse.

    """
    cardinality = kind.cardinality
    if cardinality is Cardinality.ONCE:
        return ""
    if cardinality is Cardinality.STOP:
        return place.canonical
    if cardinality is Cardinality.DOCUMENT:
        return body["document"] or ""
    if cardinality is Cardinality.STREAM:
        return (place.canonical or "") if kind.by_stop else ""
    if cardinality is Cardinality.LEG:
        return body["leg"] or ""
    if place.canonical is None:
        return None
    return f"{place.canonical}@{body['attempt'] or _local_date(body, place.site)}"


def _local_date(body: RawEvent, site: Site | None) -> str:
    """Date at the stop: by the site's zone, else by the source's own offset, else UTC."""
    moment = _EPOCH + timedelta(milliseconds=body["occurred"])
    if site is not None and site.zone:
        moment = moment.astimezone(_zone(site.zone))
    else:
        moment += timedelta(minutes=body["occurred_offset_minutes"] or 0)
    return moment.date().isoformat()


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def written(kind: EventType, body: RawEvent, *, by_role: bool) -> str:
    """How a platform names the occurrence, as far as another stop list could read it otherwise.

    That depends on the minute too, since a claim is read by the list in force. Estimates are not
    kept apart by it: there are many, and only the newest counts. Plans are kept apart by what they
    tell: one that is silent takes nothing away.


    Args:
        kind: what the claim is about.
        body: the claim.
        by_role: whether the dialect asked for the stop's role.

    """
    if kind.sets_plan:
        told = ("stops" if body["stops"] else "", "orders" if body["orders"] else "")
        return " ".join([*told, "place"] if body["stop"] is not None else told)
    if not by_role and not kind.by_stop:
        return ""
    stop = body["stop"]
    parts: list[object] = []
    if stop is not None:
        parts += [stop["number"], stop["role"], stop["location"], stop["city"]]
        parts += [stop["subdivision"], stop["country"]]
    if by_role:
        parts += [body["native_status"], body["native_reason"], body["native_qualifier"]]
    if kind.cardinality is not Cardinality.STREAM:
        parts.append(body["occurred"] // _MINUTE_MS)
    return "/".join("" if part is None else str(part) for part in parts)


def plan_stops(
    policy: Policy, platform: Platform, tenant: str, stops: list[Stop]
) -> tuple[PlannedStop, ...]:
    """A tender's stop list, every place resolved, repeated visits numbered from the second."""
    planned: list[PlannedStop] = []
    visits: dict[str, int] = {}
    for position, stop in enumerate(stops, 1):
        site = policy.site_of(platform, tenant, stop)
        named = (stop["location"] or stop["city"] or stop["name"] or f"?{position}").strip()
        text = site.id if site is not None else named.replace("#", "")
        visits[text] = visits.get(text, 0) + 1
        place = text if visits[text] == 1 else f"{text}#{visits[text]}"
        numbered: Stop = {**stop, "number": stop["number"] or position}
        planned.append(PlannedStop(numbered, place))
    return tuple(planned)
