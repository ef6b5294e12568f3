"""Answers to questions about shipments and orders: what the portal's API and pages have in common.

Everything comes from the store, as views. Must never know a route.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import Request

from connectors.portal import fresh, story, views
from connectors.portal.store import AmbiguousError, Head, Store
from connectors.portal.times import milliseconds
from connectors.portal.wording import Wording, languages_of
from pipeline.governance.identity import Key
from pipeline.governance.vocabulary import Domain
from pipeline.settings import Settings
from pipeline.web.app import Health
from pipeline.web.problems import Problem, bad_value


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Desk:
    """Answers questions about entities: what API and pages have in common.

    Args:
        store: what is known.
        wording: asked at each use, so that a new bundle shows at once.
        settings: what counts as stale.
        clock_ms: the portal's own clock, ms UTC.

    """

    def __init__(
        self,
        store: Store,
        wording: Callable[[], Wording],
        settings: Settings,
        clock_ms: Callable[[], int] = _now_ms,
    ) -> None:
        self.store = store
        self.clock_ms = clock_ms
        self._wording = wording
        self._stale_ms = settings.portal_stale_ms
        self._tenant = settings.portal_tenant
        self._staff = settings.portal_staff

    def language(self, request: Request, asked: str | None) -> str:
        """Language of labels for a request."""
        wanted = [asked.split("-")[0].lower()] if asked else []
        wanted += languages_of(request.headers.get("accept-language", ""))
        return self._wording().language(self._tenant, wanted)

    def freshness(self) -> views.Freshness:
        """How fresh answers are now."""
        return fresh.freshness(self.store.freshness(), self.clock_ms(), self._stale_ms)

    def health(self) -> Health:
        """How the portal is."""
        return fresh.health(self.store.freshness(), self.clock_ms(), self._stale_ms)

    def head(self, entity_type: str, entity_id: str, tenant: str | None) -> Head:
        """Find an entity.

        Raises:
            Problem: there is none, or several tenants have one.

        """
        try:
            found = self.store.find(entity_type, entity_id, tenant)
        except AmbiguousError as error:
            raise Problem(
                409,
                "ambiguous-tenant",
                "Several tenants have one",
                f"There is a {entity_type} {entity_id} {error}: add ?tenant= and one of them.",
                extra={"field": "tenant", "tenants": error.tenants},
            ) from None
        if found is None:
            raise Problem(
                404,
                "unknown-entity",
                f"No such {entity_type}",
                f"There is no {entity_type} {entity_id} here: search for any of its references, "
                "or come back once its first milestone is approved.",
                extra={"field": "id"},
            )
        return found

    def entity(self, head: Head, language: str) -> views.Entity:
        """The whole story of an entity."""
        revisions = self.store.revisions(head.key)
        around = [*story.links_of(head), *story.parts_of(head, revisions)]
        related = story.Related(self.store.heads(around), self.store.parents(head.key))
        return story.tell(head, revisions, related, self.freshness(), self._manner(language))

    def milestones(
        self, head: Head, as_of_ms: int | None, known_at_ms: int | None, language: str
    ) -> list[views.Milestone]:
        """Milestones that had occurred by one time, as they were known at another."""
        revisions = self.store.revisions(head.key, known_at_ms)
        manner = self._manner(language)
        told = story.milestones(revisions, story.home_zone(head, manner.wording), manner)
        if as_of_ms is None:
            return told
        return [item for item in told if milliseconds(item.current.occurred.at) <= as_of_ms]

    def search(self, text: str, limit: int, tenant: str | None, language: str) -> list[views.Found]:
        """Entities that have a name beginning with the text.

        Raises:
            Problem: the text holds nothing to search for.

        """
        if not any(letter.isalnum() for letter in text):
            raise bad_value("q", "holds no letter or digit", "give the beginning of a reference")
        return [
            views.Found(
                tenant=hit.head.key.tenant,
                type=hit.head.key.type,
                id=hit.head.key.id,
                status=hit.head.status,
                status_label=self.status_label(hit.head.key, hit.head.status, language),
                matched=views.Name(kind=hit.kind, scope="", value=hit.value),
                href=story.address(hit.head.key) or "",
            )
            for hit in self.store.search(text, limit, tenant)
        ]

    def change(self, key: Key, status: str, language: str) -> views.Change:
        """Data of a change."""
        return views.Change(
            tenant=key.tenant,
            type=key.type,
            id=key.id,
            status=status,
            status_label=self.status_label(key, status, language),
            href=story.address(key) or "",
        )

    def destination(self, head: Head) -> views.Place | None:
        """Where a shipment goes."""
        return story.destination(head, self._wording())

    def domain(self, event_type: str) -> Domain | None:
        """Part of the business that an event type belongs to, if the bundle knows it."""
        kind = self._wording().kind(event_type)
        return None if kind is None else kind.domain

    def status_label(self, key: Key, status: str, language: str) -> str:
        """What a customer calls a status."""
        return self._wording().status(status, key, language) if status else ""

    def _manner(self, language: str) -> story.Manner:
        return story.Manner(self._wording(), language, self._staff)
