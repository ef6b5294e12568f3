"""The portal's pages for a customer: search, and the story of a shipment or an order.

Drawn on the server from the API's own views; they work without a script, which only keeps them
live. Must never show what the API would not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from itertools import groupby
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import urlencode

from fastapi import FastAPI, Query, Request, Response
from starlette.responses import RedirectResponse

from connectors.portal import fresh, story, views
from connectors.portal.desk import Desk
from connectors.portal.times import utc
from connectors.portal.wording import readable
from pipeline.governance.identity import Key
from pipeline.governance.vocabulary import Assurance, Domain
from pipeline.web.pages import Site
from pipeline.web.problems import Problem

RECENT: Final = 12
FOUND: Final = 30
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)

_OFFSET: Final = re.compile(r"(?:UTC)?([+-])(\d\d):?(\d\d)?")


class Entry(NamedTuple):
    """One line of the timeline: a milestone, or the want of one."""

    milestone: views.Milestone | None
    gap: views.Gap | None


class Day(NamedTuple):
    """What happened on a day, on the clocks of the places."""

    title: str
    entries: list[Entry]


class Former(NamedTuple):
    """What a milestone was before its newest revision, as far as that differs."""

    values: list[str]
    by: str
    """Who said so; empty: the same."""
    provisional: bool


def mount(app: FastAPI, desk: Desk) -> None:
    """Add the pages to the portal."""
    site = Site(
        "connectors.portal",
        {
            "clock": clock,
            "zone": zone_name,
            "day": day,
            "short": short,
            "town": town,
            "readable": readable,
            "former": former,
            "happened": happened,
            "published": published,
        },
    )
    site.mount(app)

    def draw(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
        lang = request.query_params.get("lang")
        return site.page(
            template,
            status=status,
            freshness=values.pop("freshness", None) or desk.freshness(),
            language=desk.language(request, lang),
            **({"q": "", "stream": ""} | values),
        )

    def error_page(request: Request, problem: Problem) -> Response | None:
        if request.url.path.startswith(("/api", "/static")):
            return None
        known = fresh.STORE_AWAY if problem.kind == fresh.AWAY else None
        return draw(
            request, "problem.html", status=problem.status, problem=problem, freshness=known
        )

    app.state.error_page = error_page

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)  # HEAD: monitors
    def home(request: Request, lang: str | None = None) -> Response:
        language = desk.language(request, lang)
        recent = [
            {
                "key": head.key,
                "href": story.address(head.key, ""),
                "status": desk.status_label(head.key, head.status, language),
                "at": utc(head.published_ms),
                "to": town(desk.destination(head)),
            }
            for head in desk.store.recent(RECENT)
        ]
        return draw(request, "home.html", recent=recent, stream="/api/stream?type=shipment")

    @app.get("/search", include_in_schema=False)
    def search(
        request: Request,
        q: Annotated[str, Query(max_length=200)] = "",
        lang: str | None = None,
    ) -> Response:
        text = q.strip()
        if not any(letter.isalnum() for letter in text):
            return RedirectResponse("/", 303)
        found = desk.search(text, FOUND, None, desk.language(request, lang))
        if len(found) == 1:
            only = Key(found[0].tenant, found[0].type, found[0].id)
            return RedirectResponse(story.address(only, "") or "/", 303)
        return draw(request, "search.html", q=text, found=found)

    for entity_type, plural in story.PLURALS.items():
        _story_page(app, desk, draw, entity_type, plural)


def _story_page(app: FastAPI, desk: Desk, draw: Any, entity_type: str, plural: str) -> None:
    @app.get(f"/{plural}/{{entity_id:path}}", include_in_schema=False, name=f"{entity_type}_page")
    def page(
        request: Request, entity_id: str, tenant: str | None = None, lang: str | None = None
    ) -> Response:
        head = desk.head(entity_type, entity_id, tenant)
        entity = desk.entity(head, desk.language(request, lang))
        shown = [item for item in entity.milestones if not _is_finance(desk, item)]
        stream = {"type": head.key.type, "id": head.key.id, "tenant": head.key.tenant}
        answer: Response = draw(
            request,
            "story.html",
            entity=entity,
            days=days(shown, entity.missing),
            billing=[item for item in entity.milestones if _is_finance(desk, item)],
            freshness=entity.freshness,
            now=utc(desk.clock_ms()),
            stream=f"/api/stream?{urlencode(stream)}",
        )
        return answer


def days(milestones: Iterable[views.Milestone], missing: Iterable[views.Gap]) -> list[Day]:
    """The timeline, the newest first; a gap stands below what came without it."""
    newest = sorted(milestones, key=lambda item: (happened(item).at, item.entity_seq), reverse=True)
    gaps: dict[str, list[views.Gap]] = {}
    for gap in missing:
        gaps.setdefault(gap.before, []).append(gap)
    found = []
    for on, group in groupby(newest, key=lambda item: happened(item).local.date()):
        entries = []
        for item in group:
            entries.append(Entry(item, None))
            entries += [Entry(None, gap) for gap in gaps.get(item.milestone_id, ())]
        found.append(Day(day(on), entries))
    return found


def happened(milestone: views.Milestone) -> views.Moment:
    """When it happened, or was said to have happened before that was taken back."""
    taken_back = milestone.state == "retracted" and milestone.previous
    return (milestone.previous[0] if taken_back else milestone.current).occurred


def published(version: views.Version) -> str:
    """When a revision was approved, on the clocks of the place."""
    local = version.published_at.astimezone(version.occurred.local.tzinfo)
    return short(version.occurred.model_copy(update={"local": local, "precision": "MINUTE"}))


def former(milestone: views.Milestone) -> Former:
    """What the revision before the newest said otherwise."""
    if not milestone.previous:
        return Former([], "", provisional=False)
    now, before = milestone.current, milestone.previous[0]
    values = []
    if now.occurred.local.date() != before.occurred.local.date():
        values.append(short(before.occurred))
    elif clock(now.occurred) != clock(before.occurred):
        values.append(clock(before.occurred))
    if town(before.place) not in ("", town(now.place)):
        values.append(town(before.place))
    values += [
        was
        for was, is_ in (
            (before.quantity, now.quantity),
            (before.amount, now.amount),
            (before.document, now.document),
        )
        if was is not None and was != is_
    ]
    other = now.by.platform != before.by.platform
    return Former(
        values,
        f"{before.by.role_label} · {before.by.platform}" if other else "",
        provisional=before.assurance == Assurance.PROVISIONAL,
    )


def clock(moment: views.Moment) -> str:
    """Time of day at the place, as exact as the source was."""
    if moment.precision == "DAY":
        return ""
    return f"{moment.local:%H:%M}"


def zone_name(moment: views.Moment) -> str:
    """Short name of the place's clocks: `CET`, or `UTC-6` where only the offset is known."""
    name = moment.local.tzname() or "UTC"
    found = _OFFSET.fullmatch(name)
    if found is None:
        return name
    sign, hours, minutes = found.groups()
    return f"UTC{sign}{int(hours)}" + (f":{minutes}" if minutes not in (None, "00") else "")


def day(on: date) -> str:
    """A day in full."""
    return f"{_DAYS[on.weekday()]}, {on.day} {_MONTHS[on.month - 1]} {on.year}"


def short(moment: views.Moment) -> str:
    """Day and time in short."""
    local = moment.local
    text = f"{_DAYS[local.weekday()][:3]} {local.day} {_MONTHS[local.month - 1][:3]}"
    return f"{text}, {clock(moment)}" if clock(moment) else text


def town(place: views.Place | None) -> str:
    """A place in short: its town, else whatever is known."""
    if place is None:
        return ""
    parts = [place.city, place.subdivision or place.country]
    found = ", ".join(part for part in parts if part) if place.city else ""
    return found or place.name or place.location or ""


def _is_finance(desk: Desk, milestone: views.Milestone) -> bool:
    return desk.domain(milestone.event_type) == Domain.FINANCE
