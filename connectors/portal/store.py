"""What the portal can read from its store.

Plain values out; every read is one short transaction. Must never write, and never know HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Engine, Row, and_, case, func, or_, select, tuple_

from connectors.portal import tables
from connectors.portal.apply import ID_KIND, LINK_KIND, PART_KIND, source_token, tokens
from pipeline.contract.codec import Record
from pipeline.contract.names import APPROVED
from pipeline.governance.identity import Key
from pipeline.governance.vocabulary import EntityType

SHOWN: Final = (EntityType.SHIPMENT.value, EntityType.ORDER.value)
"""Entity types that have a page."""

EVENT_KIND: Final = "EVENT"
"""Kind of name of what was found by an event id: a source's, or a milestone's."""
SEARCHED_MAX: Final = 500
"""Names that one search looks at."""


_MILESTONE: Final = re.compile(
    r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?::\d+)?", re.IGNORECASE
)


class AmbiguousError(LookupError):
    """Several tenants have an entity of that id."""

    def __init__(self, tenants: list[str]) -> None:
        super().__init__(f"of {', '.join(tenants)}")
        self.tenants = tenants


class Head(NamedTuple):
    """An entity as a whole."""

    key: Key
    status: str
    published_ms: int
    change: int
    summary: Record | None
    """Newest entity-status record, without its milestones."""


class Revision(NamedTuple):
    """One revision of a milestone."""

    record: Record
    published_ms: int
    applied_ms: int


class Hit(NamedTuple):
    """An entity that a search found."""

    head: Head
    kind: str
    """Kind of the name that matched."""
    value: str
    """That name, as it is written."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """Up to when the store is known to be complete."""

    verified_ms: int | None
    """Newest time up to which everything approved is in the store, ms UTC; None: not known."""
    state: str
    detail: str
    since_ms: int
    heard_ms: int
    behind: int
    unreadable: int


class Store:
    """Reads of the store.

    Args:
        engine: from `tables.open_reader`.
        tenant: the only tenant that is shown; None: all.

    """

    def __init__(self, engine: Engine, tenant: str | None = None) -> None:
        self._engine = engine
        self._tenant = tenant

    def find(self, entity_type: str, entity_id: str, tenant: str | None) -> Head | None:
        """An entity by its id, also when it is spelled a little differently.

        Raises:
            AmbiguousError: several tenants have one, and none was named.

        """
        table, names = tables.entity, tables.reference
        exact = and_(table.c.entity_type == entity_type, table.c.entity_id == entity_id)
        spelled = select(names.c.entity_id).where(
            names.c.token.in_(sorted(tokens(entity_id))),
            names.c.kind == ID_KIND,
            names.c.entity_type == entity_type,
            names.c.tenant == table.c.tenant,
        )
        similar = and_(table.c.entity_type == entity_type, table.c.entity_id.in_(spelled))
        with self._engine.connect() as connection:
            for condition in (exact, similar):
                query = select(table).where(condition, *self._of(table.c.tenant, tenant))
                rows = connection.execute(query.order_by(table.c.tenant).limit(20)).all()
                tenants = sorted({row.tenant for row in rows})
                if len(tenants) > 1:
                    raise AmbiguousError(tenants)
                if rows:
                    return _head(rows[0])
        return None

    def revisions(self, key: Key, known_at_ms: int | None = None) -> list[Revision]:
        """Every revision of an entity's milestones, in the order of its story.

        Args:
            key: the entity.
            known_at_ms: only what was published until then, ms UTC.

        """
        table = tables.revision
        query = select(table.c.body, table.c.published, table.c.applied_at).where(
            table.c.tenant == key.tenant,
            table.c.entity_type == key.type,
            table.c.entity_id == key.id,
        )
        if known_at_ms is not None:
            query = query.where(table.c.published <= known_at_ms)
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(table.c.entity_seq)).all()
        return [Revision(orjson.loads(row.body), row.published, row.applied_at) for row in rows]

    def heads(self, keys: Iterable[Key]) -> dict[Key, Head]:
        """Those of these entities that the store has."""
        table = tables.entity
        wanted = [tuple(key) for key in keys if self._tenant in (None, key.tenant)]
        columns = tuple_(table.c.tenant, table.c.entity_type, table.c.entity_id)
        with self._engine.connect() as connection:
            rows = connection.execute(select(table).where(columns.in_(wanted[:200]))).all()
        return {head.key: head for head in map(_head, rows)}

    def recent(self, limit: int, tenant: str | None = None) -> list[Head]:
        """Shipments with the newest news."""
        table = tables.entity
        query = (
            select(table)
            .where(table.c.entity_type == EntityType.SHIPMENT, *self._of(table.c.tenant, tenant))
            .order_by(table.c.published.desc())
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [_head(row) for row in connection.execute(query)]

    def search(self, text: str, limit: int, tenant: str | None = None) -> list[Hit]:
        """Orders and shipments that have a name beginning with the text, or an event of that id.

        Case, blanks, punctuation and leading zeros don't count. Whole names come before
        beginnings, an entity's own id before other names, and then the newest first. An event's
        id has to be whole.
        """
        wanted = sorted(tokens(text))
        if not wanted:
            return []
        names, table = tables.reference, tables.entity
        ranges = [
            and_(names.c.token >= form, names.c.token < form + "\U0010ffff") for form in wanted
        ]
        rank = case(
            (and_(names.c.token.in_(wanted), names.c.kind == ID_KIND), 0),
            (names.c.token.in_(wanted), 1),
            (names.c.kind == ID_KIND, 2),
            (names.c.kind.not_in([LINK_KIND, PART_KIND]), 3),
            else_=4,
        )
        found = (
            select(names, rank.label("rank"))
            .where(
                or_(*ranges),
                names.c.entity_type.in_(SHOWN),
                *self._of(names.c.tenant, tenant),
            )
            .order_by(names.c.token)
            .limit(SEARCHED_MAX)
            .subquery()
        )
        same = and_(
            table.c.tenant == found.c.tenant,
            table.c.entity_type == found.c.entity_type,
            table.c.entity_id == found.c.entity_id,
        )
        query = (
            select(table, found.c.kind, found.c.value)
            .join_from(found, table, same)
            .order_by(found.c.rank, table.c.published.desc(), table.c.entity_id, found.c.value)
        )
        hits: dict[Key, Hit] = {}
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                head = _head(row)
                hits.setdefault(head.key, Hit(head, row.kind, row.value))
        for head in self._with_event(text.strip(), limit, tenant):
            hits.setdefault(head.key, Hit(head, EVENT_KIND, text.strip()))
        return list(hits.values())[:limit]

    def parents(self, key: Key) -> list[Head]:
        """Shipments that were split into this one among others."""
        names, table = tables.reference, tables.entity
        found = select(names.c.entity_id).where(
            names.c.token.in_(sorted(tokens(key.id))),
            names.c.kind == PART_KIND,
            names.c.value == key.id,
            names.c.tenant == key.tenant,
            names.c.entity_type == key.type,
        )
        query = select(table).where(
            table.c.tenant == key.tenant,
            table.c.entity_type == key.type,
            table.c.entity_id.in_(found),
        )
        with self._engine.connect() as connection:
            return [_head(row) for row in connection.execute(query.order_by(table.c.entity_id))]

    def _with_event(self, text: str, limit: int, tenant: str | None) -> list[Head]:
        """Entities that a source's event or a milestone of that id is about."""
        told, table = tables.revision, tables.entity
        milestone = _MILESTONE.fullmatch(text)
        by = told.c.source == source_token(text)
        if milestone is not None:
            by = or_(by, told.c.milestone_id == milestone[1].lower())
        same = and_(
            table.c.tenant == told.c.tenant,
            table.c.entity_type == told.c.entity_type,
            table.c.entity_id == told.c.entity_id,
        )
        query = (
            select(table)
            .distinct()
            .join_from(told, table, same)
            .where(by, table.c.entity_type.in_(SHOWN), *self._of(table.c.tenant, tenant))
            .order_by(table.c.published.desc())
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [_head(row) for row in connection.execute(query)]

    def changed_after(
        self, change: int, limit: int, tenant: str | None = None
    ) -> list[tuple[int, Key, str]]:
        """Entities that changed after a change number: number, entity and its status."""
        table = tables.entity
        query = (
            select(table)
            .where(
                table.c.change > change,
                table.c.entity_type.in_(SHOWN),
                *self._of(table.c.tenant, tenant),
            )
            .order_by(table.c.change)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [
                (row.change, Key(row.tenant, row.entity_type, row.entity_id), row.status)
                for row in connection.execute(query)
            ]

    def newest_change(self) -> int:
        """Number of the newest change."""
        with self._engine.connect() as connection:
            return int(connection.execute(select(tables.store.c.changes)).scalar_one())

    def bundle_version(self) -> str | None:
        """Version of the policy bundle that was published last; None: none was."""
        with self._engine.connect() as connection:
            return connection.execute(select(tables.bundle.c.version)).scalar()

    def bundle_document(self) -> bytes:
        """That bundle as it was published; empty: none was."""
        with self._engine.connect() as connection:
            return connection.execute(select(tables.bundle.c.document)).scalar() or b""

    def freshness(self) -> Freshness:
        """How far the store is known to be complete, and how its sink is."""
        reading, sink = tables.reading, tables.sink
        approved = reading.c.topic == APPROVED
        with self._engine.connect() as connection:
            read_to = connection.execute(
                select(func.min(reading.c.read_to)).where(approved)
            ).scalar_one()
            behind = connection.execute(select(func.sum(reading.c.behind))).scalar_one()
            state = connection.execute(select(sink)).first()
            unreadable = connection.execute(
                select(func.count()).select_from(tables.unreadable)
            ).scalar_one()
        told: tuple[str, str, int, int] = (
            ("absent", "", 0, 0)
            if state is None
            else (state.state, state.detail, state.since, state.heard)
        )
        return Freshness(read_to or None, *told, int(behind or 0), int(unreadable))

    def _of(self, column: ColumnElement[str], tenant: str | None) -> Sequence[ColumnElement[bool]]:
        wanted = {name for name in (self._tenant, tenant) if name is not None}
        return [column == name for name in sorted(wanted)]


def _head(row: Row[Any]) -> Head:
    return Head(
        Key(row.tenant, row.entity_type, row.entity_id),
        row.status,
        row.published,
        row.change,
        None if row.summary is None else orjson.loads(row.summary),
    )
