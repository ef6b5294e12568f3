"""The books of the simulated ERP: what it booked, under which key, and how often.

A SQLite file that survives a kill at any moment. Must never know HTTP or Milepost's outbox.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    create_engine,
    distinct,
    event,
    func,
    insert,
    select,
)
from sqlalchemy.dialects.sqlite import insert as upsert

_METADATA: Final = MetaData()
_ROWS_MAX = 1_000

_POSTINGS: Final = Table(
    "postings",
    _METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("key", String(255), nullable=False, index=True),
    Column("digest", String(32), nullable=False),
    Column("posting", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("reference", String(255)),
    Column("entity", Text, nullable=False),
    Column("effect", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("repeats_key", Boolean, nullable=False),
    Column("repeats_effect", Boolean, nullable=False),
    Column("out_of_order", Boolean, nullable=False),
    Column("body", Text, nullable=False),
    Column("booked_ms", BigInteger, nullable=False),
    Index("postings_effect", "effect", "number"),
    Index("postings_entity", "entity", "number"),
)
_COUNTERS: Final = Table(
    "counters",
    _METADATA,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)


class Counted(StrEnum):
    """What is counted besides postings."""

    REQUESTS = "requests"
    REPLAYS = "replays"  # answered from memory: the key was known
    REFUSALS = "refusals"


class RefusedError(Exception):
    """A posting that makes no sense in these books; the message is for its sender."""


class Booked(NamedTuple):
    """A posting in the books."""

    document: str
    key: str
    replayed: bool


class ErpBooks:
    """The books in one file; used by one thread.

    Args:
        path: the file; made if it is missing.

    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = create_engine(f"sqlite:///{path}")

        @event.listens_for(self._engine, "connect")
        def _connect(connection: Any, _record: Any) -> None:
            # Survives a kill of the process, which is what is simulated; not of the machine
            for pragma in ("busy_timeout=10000", "journal_mode=WAL", "synchronous=NORMAL"):
                connection.execute(f"PRAGMA {pragma}").fetchall()

        with self._engine.begin() as connection:
            _METADATA.create_all(connection)

    def close(self) -> None:
        """Give the file back."""
        self._engine.dispose()

    def book(self, key: str, body: bytes, content: Mapping[str, Any], *, honours: bool) -> Booked:
        """Book a posting.

        Args:
            key: its idempotency key.
            body: the request as it came.
            content: the body's members.
            honours: a known key books nothing and gives the first document again.

        Raises:
            RefusedError: the key came with another body, or what it refers to is not there.

        """
        digest = hashlib.blake2b(body, digest_size=16).hexdigest()
        try:
            with self._engine.begin() as connection:
                before = connection.execute(_by_key(key)).first()
                if before is not None and honours:
                    return _replay(connection, before, digest)
                row: dict[str, Any] = {"key": key, "digest": digest, "body": body.decode()}
                row["repeats_key"] = before is not None
                return _enter(connection, row, content)
        except RefusedError:
            self.count(Counted.REFUSALS)
            raise

    def find(self, key: str) -> dict[str, Any] | None:
        """The first posting under a key."""
        with self._engine.begin() as connection:
            row = connection.execute(_by_key(key)).first()
        return None if row is None else _shown(row)

    def postings(
        self, *, entity: str | None = None, after: int = 0, limit: int = _ROWS_MAX
    ) -> list[dict[str, Any]]:
        """Postings in the order they were booked.

        Args:
            entity: only of this one, `tenant/type/id`.
            after: only with greater numbers.
            limit: how many at most.

        """
        query = select(_POSTINGS).where(_POSTINGS.c.number > after)
        if entity is not None:
            query = query.where(_POSTINGS.c.entity == entity)
        query = query.order_by(_POSTINGS.c.number).limit(min(limit, _ROWS_MAX))
        with self._engine.begin() as connection:
            return [_shown(row) for row in connection.execute(query)]

    def summary(self) -> dict[str, Any]:
        """Counts: postings, keys, requests, and everything that should not be."""
        columns = _POSTINGS.c
        with self._engine.begin() as connection:
            totals = connection.execute(
                select(
                    func.count(),
                    func.count(distinct(columns.key)),
                    func.count().filter(columns.repeats_key),
                    func.count().filter(columns.repeats_effect),
                    func.count().filter(columns.out_of_order),
                )
            ).one()
            by_posting = connection.execute(
                select(columns.posting, columns.kind, func.count()).group_by(
                    columns.posting, columns.kind
                )
            ).all()
            counters = connection.execute(select(_COUNTERS.c.name, _COUNTERS.c.value)).all()
        booked: dict[str, dict[str, int]] = {}
        for posting, kind, number in by_posting:
            booked.setdefault(posting, {})[kind] = number
        return {
            "postings": totals[0],
            "keys": totals[1],
            "double_postings": totals[2],
            "double_effects": totals[3],
            "out_of_order": totals[4],
            **{name.value: 0 for name in Counted},
            **{row.name: row.value for row in counters},
            "booked": booked,
        }

    def count(self, what: Counted) -> None:
        """Add one."""
        with self._engine.begin() as connection:
            _count(connection, what)


def _replay(connection: Connection, before: Row[Any], digest: str) -> Booked:
    """Answer as the first time."""
    if before.digest != digest:
        raise RefusedError(f"key {before.key} was used for another posting")
    _count(connection, Counted.REPLAYS)
    return Booked(_document(before.number), before.key, replayed=True)


def _enter(connection: Connection, row: dict[str, Any], content: Mapping[str, Any]) -> Booked:
    """Book what is not known yet, or what is known and booked all the same."""
    entity = "/".join(str(content[name]) for name in ("tenant", "entity_type", "entity_id"))
    effect = f"{content['milestone_id'] or entity}:{content['posting']}"
    query = select(_POSTINGS).where(_POSTINGS.c.effect == effect).order_by(_POSTINGS.c.number)
    rows = connection.execute(query).all()
    kind, reference = content["kind"], content["reference"]
    if kind != "ORIGINAL":
        _check_reference(rows, reference)
    values = {
        **row,
        "posting": content["posting"],
        "kind": kind,
        "reference": reference,
        "entity": entity,
        "effect": effect,
        "revision": content["revision"],
        "repeats_effect": kind == "ORIGINAL" and _is_live(rows),
        "out_of_order": any(before.revision > content["revision"] for before in rows),
        "booked_ms": time.time_ns() // 1_000_000,
    }
    new = insert(_POSTINGS).values(**values).returning(_POSTINGS.c.number)
    return Booked(_document(connection.execute(new).scalar_one()), row["key"], replayed=False)


def _count(connection: Connection, what: Counted) -> None:
    new = upsert(_COUNTERS).values(name=what.value, value=1)
    added = new.on_conflict_do_update(
        index_elements=["name"], set_={"value": _COUNTERS.c.value + 1}
    )
    connection.execute(added)


def _by_key(key: str) -> Any:
    return select(_POSTINGS).where(_POSTINGS.c.key == key).order_by(_POSTINGS.c.number).limit(1)


def _is_live(rows: Sequence[Row[Any]]) -> bool:
    return bool(rows) and rows[-1].kind != "REVERSAL"


def _check_reference(rows: Sequence[Row[Any]], reference: str | None) -> None:
    original = next((row for row in reversed(rows) if row.kind == "ORIGINAL"), None)
    if original is None or original.key != reference:
        raise RefusedError(f"there is no posting under {reference} to adjust or reverse")
    if not _is_live(rows):
        raise RefusedError(f"the posting under {reference} is reversed already")


def _shown(row: Row[Any]) -> dict[str, Any]:
    return {
        "number": row.number,
        "document": _document(row.number),
        "key": row.key,
        "posting": row.posting,
        "kind": row.kind,
        "reference": row.reference,
        "entity": row.entity,
        "revision": row.revision,
        "body": orjson.loads(row.body),
        "booked_ms": row.booked_ms,
    }


def _document(number: int) -> str:
    return f"49{number:08d}"
