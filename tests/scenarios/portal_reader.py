"""What the portal shows of a run: its own intake, store and answers, without Kafka and HTTP."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from unittest.mock import Mock

from sink_feed import TopicDecoders, entity_of, incoming

from connectors.portal import tables
from connectors.portal.desk import Desk
from connectors.portal.intake import PortalIntake
from connectors.portal.store import SHOWN, Store
from connectors.portal.times import milliseconds
from connectors.portal.wording import Wording
from connectors.portal.writer import StoreWriter
from pipeline.contract import names
from pipeline.contract.bundle import load_bundle
from pipeline.settings import load
from pipeline.telemetry.metrics import Metrics

CLUSTER = SimpleNamespace(
    cluster_id="scenarios",
    topics={name: SimpleNamespace(partitions=[0]) for name in PortalIntake.topics},
)
MARKED = ("late", "after_cancel")


@functools.cache
def wording():
    return Wording(load_bundle())


def pages(folder, published):
    """Every page of a run, by what files call its entity; and promises that it breaks."""
    approved, stories = published.approved, published.stories
    feeds = [
        [incoming(names.APPROVED, approved), incoming(names.ENTITY_STATUS, stories)],
        [incoming(names.ENTITY_STATUS, stories), incoming(names.APPROVED, approved)],
    ]
    again = [
        incoming(names.APPROVED, approved, len(approved)),
        incoming(names.ENTITY_STATUS, stories, len(stories)),
    ]
    found = []
    # The two topics are followed side by side: either may be ahead of the other
    for number, feed in enumerate(feeds):
        portal = Portal(folder / f"portal-{number}.sqlite")
        for batch in (*feed, *again):
            portal.follow(batch)
        found.append(portal.pages({entity_of(record) for record in published.stories}))
        portal.close()
    if found[0] != found[1]:
        return found[0], ["portal: what it shows depends on which of its topics is ahead"]
    return found[0], []


class Portal:
    """A portal over a store in a file."""

    def __init__(self, path):
        url = f"sqlite:///{path}"
        self._engine = tables.open_writer(url)
        self._writer = StoreWriter(self._engine, url, lambda: 0)
        self.desk = Desk(Store(self._engine), wording, load({}))

    def follow(self, records):
        """Read one batch of a topic, as a fresh worker does."""
        intake = PortalIntake(Mock(), self._writer, TopicDecoders(), lambda: 0, Metrics())
        intake.prepare(CLUSTER)
        intake.claim(sorted({record.at for record in records}))
        intake.take(records)

    def pages(self, entities):
        shown = [name.split(" ", 1) for name in sorted(entities)]
        return {
            f"{kind} {name}": page_of(self.desk.entity(self.desk.head(kind, name, "acme"), "en"))
            for kind, name in shown
            if kind in SHOWN
        }

    def close(self):
        self._engine.dispose()


def page_of(entity):
    """A page as scenario files tell it."""
    return {
        "status": entity.status.label,
        "provisional": entity.status.provisional,
        "cancelled": None if entity.cancelled is None else entity.cancelled.label,
        "after_cancel": entity.after_cancel,
        "incomplete": entity.incomplete,
        "split_into": [link.id for link in entity.split_into],
        "part_of": [link.id for link in entity.part_of],
        "linked": [f"{link.id} {link.status_label}".strip() for link in entity.linked],
        "timeline": [
            *(entry_of(item, earlier=True) for item in entity.earlier),
            *map(entry_of, entity.milestones),
        ],
        "expected": [entry_of(item) for item in entity.expected],
    }


def entry_of(item, *, earlier=False):
    """A line of the timeline: what it says, what marks it, what it was before."""
    now, before = item.current, item.previous[0] if item.previous else None
    back = item.taken_back
    told = before if back is not None and before is not None else now
    place = told.place
    return {
        "label": item.label,
        "mark": item.state,
        "earlier": earlier,
        "location": None if place is None else place.location,
        "occurred": milliseconds(told.occurred.at),
        "by": told.by.role_label,
        "person": told.by.person,
        "taken_back_by": None if back is None or back.by is None else back.by.role_label,
        "why": None if back is None else back.reason,
        "split_into": item.split_into,
        "was": None if before is None else before.by.role_label,
        "previous_occurred": None if before is None else milliseconds(before.occurred.at),
        "repaired": now.repaired,
        "versions": len(item.previous) + 1,
        "also": sorted(set(item.flags) & set(MARKED) | ({"late"} if item.late else set())),
        "quantity": item.quantity,
        "previous_quantity": None if before is None else before.quantity,
        "money": item.amount,
        "document": item.document,
    }
