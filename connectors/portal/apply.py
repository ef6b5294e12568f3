"""What governed records do to the portal's store. Applying one twice changes nothing.

Records in, rows out, in the caller's transaction. Must never know Kafka's clients or a clock.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    case,
    delete,
    func,
    select,
    tuple_,
    update,
)

from connectors.applied import upsert
from connectors.portal import tables
from pipeline.contract.codec import Record
from pipeline.governance.identity import Key, parse_key
from pipeline.governance.vocabulary import Action, Assurance, Classifier, EntityType

ID_KIND: Final = "ID"
LINK_KIND: Final = "LINK"
PART_KIND: Final = "PART"
"""Kinds of names that are no references of the record: its own id, those of linked ones, and those
of the shipments that it was split into.
"""

_ORDER_UNKNOWN: Final = -1
_VALUE_MAX: Final = 256


class Arrived(NamedTuple):
    """A decoded record and where it came from."""

    topic: str
    partition: int
    offset: int
    published_ms: int
    record: Record


@dataclass(slots=True)
class _Head:
    """What a batch says of one entity."""

    status: str = ""
    status_seq: int = _ORDER_UNKNOWN
    published: int = 0
    summary: bytes | None = None
    names: set[tuple[str, str, str]] = field(default_factory=set)
    splits: bool = False
    """Whether it says what the shipment is split into."""
    changes: bool = False
    """Whether it changes or takes back something that may have said so."""


def recognised(record: Record) -> bool:
    """Whether this version understands what a revision does, so that it may be shown as fact."""
    known: bool = (
        record["action"] != Action.UNRECOGNISED
        and record["assurance"] != Assurance.UNRECOGNISED
        and record["classifier"] != Classifier.UNRECOGNISED
    )
    return known


def apply(
    connection: Connection,
    milestones: Sequence[Arrived],
    statuses: Sequence[Arrived],
    applied_at_ms: int,
) -> int:
    """Apply a batch; the caller's transaction makes it one with the positions.

    Args:
        connection: in a transaction.
        milestones: approved records, each partition in order.
        statuses: entity-status records, each partition in order.
        applied_at_ms: the portal's own clock, ms UTC.

    Returns:
        Number of the newest change, 0 if the batch was empty.

    """
    heads: dict[Key, _Head] = {}
    if milestones:
        _write_revisions(connection, milestones, applied_at_ms)
        for arrived in milestones:
            _add_milestone(heads, arrived)
    for arrived in statuses:
        _add_status(heads, arrived)
    if not heads:
        return 0
    _write_names(connection, heads)
    _write_parts(connection, heads)
    return _write_entities(connection, heads)


def tokens(text: str) -> set[str]:
    """Forms under which a name is looked for: letters and digits in upper case, with and
    without leading zeros.
    """
    plain = "".join(letter for letter in text.upper() if letter.isalnum())[:_VALUE_MAX]
    return {form for form in (plain, plain.lstrip("0")) if form}


def source_token(text: str) -> str:
    """The form under which a source's event id is looked for: as a whole."""
    return max(tokens(text), key=len, default="")


def split_into(records: Iterable[Record]) -> list[Key]:
    """The shipments into which one is split, by the newest plan that stands and says so.

    Args:
        records: every revision of its milestones, in any order.

    """
    newest: dict[str, Record] = {}
    for record in records:
        known = newest.get(record["milestone_id"])
        if known is None or record["revision"] > known["revision"]:
            newest[record["milestone_id"]] = record
    stands = [
        record
        for record in newest.values()
        if record["shipments"] and recognised(record) and record["action"] != Action.RETRACT
    ]
    found = []
    for text in max(stands, key=lambda item: item["entity_seq"], default={}).get("shipments", ()):
        with contextlib.suppress(ValueError):  # a key of a form that this version doesn't know
            found.append(parse_key(text))
    return found


def _write_revisions(
    connection: Connection, milestones: Sequence[Arrived], applied_at_ms: int
) -> None:
    table = tables.revision
    rows = [_revision_row(arrived, applied_at_ms) for arrived in milestones]
    connection.execute(upsert(connection.dialect, table).on_conflict_do_nothing(), rows)
    newest: dict[str, dict[str, Any]] = {}
    for row in rows:
        known = newest.get(row["milestone_id"])
        if known is None or row["revision"] > known["revision"]:
            newest[row["milestone_id"]] = row
    table = tables.milestone
    names = [column.name for column in table.columns]
    current = upsert(connection.dialect, table)
    current = current.on_conflict_do_update(
        index_elements=[table.c.milestone_id],
        set_={name: current.excluded[name] for name in names if name != "milestone_id"},
        where=current.excluded.revision > table.c.revision,
    )
    connection.execute(current, [{name: row[name] for name in names} for row in newest.values()])


def _revision_row(arrived: Arrived, applied_at_ms: int) -> dict[str, Any]:
    record = arrived.record
    return {
        "milestone_id": record["milestone_id"],
        "revision": record["revision"],
        "tenant": record["tenant"],
        "entity_type": record["entity_type"],
        "entity_id": record["entity_id"],
        "entity_seq": record["entity_seq"],
        "event_type": record["event_type"],
        "classifier": record["classifier"],
        "action": record["action"],
        "assurance": record["assurance"],
        "occurred": record["occurred"],
        "published": arrived.published_ms,
        "applied_at": applied_at_ms,
        "topic": arrived.topic,
        "partition": arrived.partition,
        "offset": arrived.offset,
        "body": orjson.dumps(record),
        "source": source_token(record["source_event_id"]),
    }


def _head_of(heads: dict[Key, _Head], arrived: Arrived) -> _Head:
    record = arrived.record
    key = Key(record["tenant"], record["entity_type"], record["entity_id"])
    head = heads.get(key)
    if head is None:
        head = heads[key] = _Head()
        head.names = set(_names(ID_KIND, key.id))
    head.published = max(head.published, arrived.published_ms)
    return head


def _add_milestone(heads: dict[Key, _Head], arrived: Arrived) -> None:
    record = arrived.record
    head = _head_of(heads, arrived)
    if record["entity_seq"] > head.status_seq and recognised(record):
        head.status, head.status_seq = record["status_after"], record["entity_seq"]
    head.names |= _reference_names(record["references"], record["correlations"])
    head.splits |= bool(record["shipments"])
    head.changes |= record["action"] in {Action.RETRACT, Action.CORRECT}


def _add_status(heads: dict[Key, _Head], arrived: Arrived) -> None:
    record = arrived.record
    head = _head_of(heads, arrived)
    if record["entity_seq"] >= head.status_seq:
        head.status, head.status_seq = record["status"], record["entity_seq"]
    # One partition holds all of a key's records in order: the last one is the newest
    head.summary = orjson.dumps({**record, "milestones": []})
    linked = [link["key"] for link in record["linked"]]
    head.names |= _reference_names(record["references"], linked)


def _reference_names(
    references: Iterable[dict[str, str]], keys: Iterable[str]
) -> set[tuple[str, str, str]]:
    found: set[tuple[str, str, str]] = set()
    for reference in references:
        found.update(_names(reference["kind"], reference["value"]))
    for text in keys:
        try:
            found.update(_names(LINK_KIND, parse_key(text).id))
        except ValueError:
            continue  # a key of a form that this version doesn't know names nothing here
    return found


def _names(kind: str, value: str) -> Iterable[tuple[str, str, str]]:
    return ((token, kind, value[:_VALUE_MAX]) for token in tokens(value))


def _write_names(connection: Connection, heads: dict[Key, _Head]) -> None:
    """An entity-status record lists all names of its entity; an approved one may add some."""
    table = tables.reference
    told_anew = [tuple(key) for key, head in heads.items() if head.summary is not None]
    key_columns = tuple_(table.c.tenant, table.c.entity_type, table.c.entity_id)
    for start in range(0, len(told_anew), 200):  # SQLite limits the variables of a statement
        some = key_columns.in_(told_anew[start : start + 200])
        connection.execute(delete(table).where(some, table.c.kind != PART_KIND))
    rows = [_name_row(key, name) for key, head in heads.items() for name in head.names]
    if rows:  # a name without letter or digit has no form that is looked for
        connection.execute(upsert(connection.dialect, table).on_conflict_do_nothing(), rows)


def _name_row(key: Key, name: tuple[str, str, str]) -> dict[str, Any]:
    token, kind, value = name
    row = orjson.dumps((*key, *name))
    return {
        "digest": hashlib.blake2b(row, digest_size=16).digest(),
        "token": token,
        "tenant": key.tenant,
        "entity_type": key.type,
        "entity_id": key.id,
        "kind": kind,
        "value": value,
    }


def _write_parts(connection: Connection, heads: dict[Key, _Head]) -> None:
    """Name shipments by what they are split into, as their revisions have it by now."""
    table, told = tables.reference, tables.revision
    for key, head in heads.items():
        if key.type != EntityType.SHIPMENT or not (head.splits or head.changes):
            continue
        named = select(table.c.value).where(*_of(table, key), table.c.kind == PART_KIND).limit(1)
        if not head.splits and connection.execute(named).first() is None:
            continue
        bodies = connection.execute(select(told.c.body).where(*_of(told, key))).scalars()
        parts = split_into(orjson.loads(body) for body in bodies)
        connection.execute(delete(table).where(*_of(table, key), table.c.kind == PART_KIND))
        rows = [_name_row(key, name) for part in parts for name in _names(PART_KIND, part.id)]
        if rows:
            connection.execute(upsert(connection.dialect, table).on_conflict_do_nothing(), rows)


def _of(table: Table, key: Key) -> list[ColumnElement[bool]]:
    return [
        table.c.tenant == key.tenant,
        table.c.entity_type == key.type,
        table.c.entity_id == key.id,
    ]


def _write_entities(connection: Connection, heads: dict[Key, _Head]) -> int:
    newest = connection.execute(
        update(tables.store)
        .values(changes=tables.store.c.changes + len(heads))
        .returning(tables.store.c.changes)
    ).scalar_one()
    table = tables.entity
    new = upsert(connection.dialect, table)
    newer = new.excluded.status_seq >= table.c.status_seq
    new = new.on_conflict_do_update(
        index_elements=[table.c.tenant, table.c.entity_type, table.c.entity_id],
        set_={
            "status": case((newer, new.excluded.status), else_=table.c.status),
            "status_seq": case((newer, new.excluded.status_seq), else_=table.c.status_seq),
            "published": case(
                (new.excluded.published > table.c.published, new.excluded.published),
                else_=table.c.published,
            ),
            "change": new.excluded.change,
            "summary": func.coalesce(new.excluded.summary, table.c.summary),
        },
    )
    rows = [
        {
            "tenant": key.tenant,
            "entity_type": key.type,
            "entity_id": key.id,
            "status": head.status,
            "status_seq": head.status_seq,
            "published": head.published,
            "change": newest - index,
            "summary": head.summary,
        }
        for index, (key, head) in enumerate(heads.items())
    ]
    connection.execute(new, rows)
    return int(newest)
