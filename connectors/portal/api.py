"""The portal's read API.

Every answer comes from the portal's own store and says how fresh that is. Must never ask Kafka.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import StreamingResponse

from connectors.portal import story, views
from connectors.portal.desk import Desk
from connectors.portal.live import LISTENERS_MAX, Interest, Live
from connectors.portal.times import milliseconds
from pipeline.web.problems import MEDIA_TYPE, Problem, bad_value

DESCRIPTION: Final = """\
The governed story of shipments and orders, as this portal's own store has it.

* **What stands** is what the owner of a milestone said, or a deputy in its silence (`provisional`).
  Earlier revisions stay readable; nothing is overwritten.
* **Freshness** is part of every answer: `verified_at` is the newest time up to which everything
  approved is known to be in the store. While Kafka is away the portal keeps answering and says so.
* **Times** are UTC, RFC 3339, and besides on the clocks of the place.
* Errors are problem documents (RFC 9457).
"""

TAGS: Final = [
    {"name": "stories", "description": "Shipments and orders"},
    {"name": "search", "description": "From any reference to a shipment or an order"},
    {"name": "live", "description": "Changes as they happen"},
    {"name": "health", "description": "Whether the portal serves, and how fresh"},
]

Tenant = Annotated[
    str | None,
    Query(
        description="Only this tenant's; needed where two tenants have the same id", max_length=128
    ),
]
Language = Annotated[
    str | None,
    Query(alias="lang", description="Language of labels; default: Accept-Language", max_length=35),
]
EntityId = Annotated[
    str, Path(alias="id", description="Its id, in any usual spelling", max_length=256)
]
Moment = Annotated[
    str | None,
    Query(max_length=64, description="RFC 3339 with an offset", examples=["2026-11-04T10:05:00Z"]),
]
_PROBLEM: Final[dict[str, Any]] = {"content": {MEDIA_TYPE: {}}}
ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    404: {"description": "There is none", **_PROBLEM},
    409: {"description": "Several tenants have one: name the tenant", **_PROBLEM},
    422: {
        "description": "A value can't be used; `field` and `remedy` say which and why",
        **_PROBLEM,
    },
}
_SPACE_FOR_PLUS = re.compile(r"(T[0-9:.]+) ([0-9]{2}:?[0-9]{2})$")


def routes(desk: Desk, live: Live) -> APIRouter:
    """The API below `/api`."""
    api = APIRouter(prefix="/api", responses=ERRORS)
    for entity_type, plural in story.PLURALS.items():
        _story_routes(api, desk, entity_type, plural)

    @api.get("/search", tags=["search"], summary="Find shipments and orders by any reference")
    def search(
        request: Request,
        q: Annotated[
            str,
            Query(
                description="Beginning of an id or a reference: PRO, BOL, load, purchase order, "
                "container, parcel number, a linked order, a part of a split shipment; or the "
                "whole id of an event or a milestone. Case, blanks, punctuation and leading zeros "
                "don't count",
                min_length=1,
                max_length=200,
                examples=["SHP-1001"],
            ),
        ],
        limit: Annotated[int, Query(ge=1, le=50, description="Answers at most")] = 20,
        tenant: Tenant = None,
        lang: Language = None,
    ) -> views.Search:
        """Whole names come before beginnings, and then the newest first."""
        found = desk.search(q, limit, tenant, desk.language(request, lang))
        return views.Search(query=q, results=found, freshness=desk.freshness())

    _stream_route(api, desk, live)
    return api


def _story_routes(api: APIRouter, desk: Desk, entity_type: str, plural: str) -> None:
    # An id may hold a slash, so the longer address comes first
    @api.get(
        f"/{plural}/{{id:path}}/milestones",
        tags=["stories"],
        summary="Milestones as they stood at a time, as they were known at a time",
        name=f"get_{entity_type}_milestones",
    )
    def milestones(
        request: Request,
        entity_id: EntityId,
        as_of: Moment = None,
        known_at: Moment = None,
        tenant: Tenant = None,
        lang: Language = None,
    ) -> views.Milestones:
        """`as_of`: only what had occurred by then. `known_at`: only revisions published by then.

        Together they answer "what did we know at 10:05 of what had happened by 9:00?".
        Each milestone is as its newest revision known then left it; retracted ones say so.
        """
        then, known = _time("as_of", as_of), _time("known_at", known_at)
        head = desk.head(entity_type, entity_id, tenant)
        told = desk.milestones(
            head,
            None if then is None else milliseconds(then),
            None if known is None else milliseconds(known),
            desk.language(request, lang),
        )
        return views.Milestones(
            tenant=head.key.tenant,
            type=head.key.type,
            id=head.key.id,
            as_of=then,
            known_at=known,
            milestones=told,
            freshness=desk.freshness(),
        )

    @api.get(
        f"/{plural}/{{id:path}}",
        tags=["stories"],
        summary=f"The story of a{'n' if entity_type == 'order' else ''} {entity_type}",
        name=f"get_{entity_type}",
    )
    def entity(
        request: Request, entity_id: EntityId, tenant: Tenant = None, lang: Language = None
    ) -> views.Entity:
        """Status, milestones with what they were before, what is expected, stops and links."""
        return desk.entity(desk.head(entity_type, entity_id, tenant), desk.language(request, lang))


def _stream_route(api: APIRouter, desk: Desk, live: Live) -> None:
    @api.get(
        "/stream",
        tags=["live"],
        summary="Changes of shipments and orders, as server-sent events",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "`changed` (data: Change) and `freshness` (data: Freshness) events; "
                "reconnect with Last-Event-ID and nothing is missed",
                "content": {"text/event-stream": {}},
            },
            503: {"description": "Too many listeners", **_PROBLEM},
        },
    )
    async def stream(
        request: Request,
        tenant: Tenant = None,
        entity_type: Annotated[
            str | None, Query(alias="type", description="shipment or order", max_length=32)
        ] = None,
        entity_id: Annotated[
            str | None, Query(alias="id", description="Only this one", max_length=256)
        ] = None,
        lang: Language = None,
        last_event_id: Annotated[str | None, Header(description="Of the last event had")] = None,
    ) -> StreamingResponse:
        """An entity that changed several times meanwhile appears once, with its newest status."""
        if live.listeners >= LISTENERS_MAX:
            raise Problem(
                503,
                "too-many-listeners",
                "Too many listeners",
                "The portal has as many open streams as it can serve: try again in a minute.",
                headers={"retry-after": "60"},
            )
        language = desk.language(request, lang)
        events = live.listen(
            _number(last_event_id),
            Interest(tenant, entity_type, entity_id),
            lambda key, status: desk.change(key, status, language),
            desk.freshness,
        )
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(events, media_type="text/event-stream", headers=headers)


def _time(field: str, text: str | None) -> datetime | None:
    """A time that a caller gave, in UTC.

    Raises:
        Problem: it is no time, or has no offset.

    """
    if text is None:
        return None
    # An unescaped + arrives as a blank
    text = _SPACE_FOR_PLUS.sub(r"\1+\2", text.strip())
    remedy = "give RFC 3339 such as 2026-11-04T10:05:00Z or 2026-11-04T10:05:00%2B01:00"
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise bad_value(field, f"{text[:40]!r} is no time", remedy) from None
    if found.tzinfo is None:
        raise bad_value(field, f"{text[:40]!r} has no offset from UTC", remedy)
    return found.astimezone(UTC)


def _number(text: str | None) -> int | None:
    """A Last-Event-ID of ours; anything else counts as none."""
    return int(text) if text is not None and text.isdecimal() and len(text) < 19 else None
