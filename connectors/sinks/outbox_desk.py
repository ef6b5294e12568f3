"""The ERP outbox for people: what it holds and why, and what a person may do about it.

Every answer is plain JSON values. Must never send a posting itself: the courier of the running sink
picks up what is decided here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, Select, func, select

from connectors.applied import upsert
from connectors.sinks import booking
from connectors.sinks.engines import reading_only
from connectors.sinks.entries import BLOCKING, Book, Entry, State
from connectors.sinks.outbox import Outbox
from connectors.sinks.outbox_tables import ENDPOINTS, ENTRIES, SINK, START
from connectors.sinks.postings import PostingRules, utc_text

LIST_MAX: Final = 1_000
_OPEN = (State.WAITING, State.PENDING, State.SENDING, State.PARKED)


class UnknownEntryError(LookupError):
    """No entry has that id or key; the message says how to find one."""


def now_ms() -> int:
    """The time, ms UTC."""
    return time.time_ns() // 1_000_000


def summary(engine: Engine, clock_ms: Callable[[], int] = now_ms) -> dict[str, Any]:
    """How the sink is: counts by state, what is oldest, what waits for a person, the endpoints."""
    columns, now = ENTRIES.c, clock_ms()
    with reading_only(engine).begin() as connection:
        by_state = select(columns.state, func.count()).group_by(columns.state)
        counts: dict[str, int] = {row[0]: row[1] for row in connection.execute(by_state)}
        oldest = connection.execute(
            select(func.min(columns.created_ms)).where(
                columns.state.in_([State.PENDING.value, State.SENDING.value])
            )
        ).scalar()
        reasons = connection.execute(
            select(columns.state, columns.reason, func.count())
            .where(columns.state.in_([State.PARKED.value, State.WAITING.value]))
            .group_by(columns.state, columns.reason)
        ).all()
        endpoints = connection.execute(select(ENDPOINTS).order_by(ENDPOINTS.c.name)).all()
        start = connection.execute(select(START)).first()
        follows = connection.execute(select(SINK)).first()
        parked = [_shown(connection, row, now) for row in connection.execute(_parked(20))]
        behind = connection.execute(_blocked_count()).scalar_one()
    return {
        "states": {state.value: counts.get(state.value, 0) for state in State},
        "oldest_pending_ms": None if oldest is None else now - oldest,
        "behind_parked": behind,
        "parked": {row.reason: row[2] for row in _of(reasons, State.PARKED)},
        "waiting": {row.reason: row[2] for row in _of(reasons, State.WAITING)},
        "for_a_person": parked,
        "endpoints": [_endpoint(row, now) for row in endpoints],
        "reading": None if follows is None else _reading(follows, now),
        "books_from": None if start is None else utc_text(start.cut_over_ms),
    }


def entries(
    engine: Engine,
    *,
    state: State | None = None,
    entity: str | None = None,
    limit: int = 100,
    clock_ms: Callable[[], int] = now_ms,
) -> list[dict[str, Any]]:
    """Entries of the outbox, the oldest first; without a state all that are still open.

    Args:
        engine: the outbox's database.
        state: only in this state.
        entity: only of this entity, `tenant/type/id`; then closed ones too.
        limit: how many at most.
        clock_ms: the time, ms UTC.

    """
    query = select(ENTRIES).order_by(ENTRIES.c.id).limit(min(limit, LIST_MAX))
    if entity is not None:
        query = query.where(ENTRIES.c.entity == entity)
    if state is not None:
        query = query.where(ENTRIES.c.state == state.value)
    elif entity is None:
        query = query.where(ENTRIES.c.state.in_([item.value for item in _OPEN]))
    with reading_only(engine).begin() as connection:
        now = clock_ms()
        return [_shown(connection, row, now) for row in connection.execute(query).all()]


def release(
    engine: Engine, rules: PostingRules, which: int | str, clock_ms: Callable[[], int] = now_ms
) -> dict[str, Any]:
    """Have an entry booked that waits or is parked: after its cause is put right, or all the same.

    Args:
        engine: the outbox's database.
        rules: the posting rules.
        which: the entry's id or key.
        clock_ms: the time, ms UTC.

    Raises:
        UnknownEntryError: there is no such entry.
        DecisionError: it is neither waiting nor parked, or is no posting.

    """

    def act(book: Book, entry: Entry) -> None:
        booking.release(book, entry)
        entry.failures = 0

    return _decide(engine, Outbox(rules, clock_ms), which, act)


def release_all(
    engine: Engine, rules: PostingRules, reason: str, clock_ms: Callable[[], int] = now_ms
) -> int:
    """Release every parked posting with this reason; returns how many."""
    query = select(ENTRIES.c.id).where(
        ENTRIES.c.state == State.PARKED.value, ENTRIES.c.reason == reason
    )
    with reading_only(engine).begin() as connection:
        found = connection.execute(query.order_by(ENTRIES.c.id)).scalars().all()
    for number in found:
        release(engine, rules, number, clock_ms)
    return len(found)


def withdraw(
    engine: Engine,
    rules: PostingRules,
    which: int | str,
    why: str,
    *,
    booked: bool,
    clock_ms: Callable[[], int] = now_ms,
) -> dict[str, Any]:
    """Take an entry that waits or is parked out of the way of those behind it.

    Args:
        engine: the outbox's database.
        rules: the posting rules.
        which: the entry's id or key.
        why: kept with it.
        booked: the ERP has it by other means; False: it is not to be booked.
        clock_ms: the time, ms UTC.

    Raises:
        UnknownEntryError: there is no such entry.
        DecisionError: it is neither waiting nor parked.

    """

    def act(book: Book, entry: Entry) -> None:
        booking.withdraw(book, entry, rules, why, booked=booked)

    return _decide(engine, Outbox(rules, clock_ms), which, act)


def pause(
    engine: Engine,
    endpoint: str,
    until_ms: int,
    why: str,
    clock_ms: Callable[[], int] = now_ms,
) -> None:
    """Send an endpoint nothing until a time, e.g. for maintenance; a time gone by resumes it."""
    values = {"paused_until_ms": until_ms, "paused_words": why, "changed_ms": clock_ms()}
    with engine.begin() as connection:
        new = upsert(connection.dialect, ENDPOINTS).values(
            name=endpoint, closed_until_ms=0, words="", **values
        )
        connection.execute(new.on_conflict_do_update(index_elements=["name"], set_=values))


def _decide(
    engine: Engine, outbox: Outbox, which: int | str, act: Callable[[Book, Entry], None]
) -> dict[str, Any]:
    by = ENTRIES.c.id == which if isinstance(which, int) else ENTRIES.c.key == which
    with engine.begin() as connection:
        row = connection.execute(select(ENTRIES).where(by)).first()
        if row is None:
            raise UnknownEntryError(
                f"The ERP outbox has no entry {which}: list them with `milepost erp entries`"
            )
        book = outbox.books(connection, {row.entity: row.partition})[row.entity]
        act(book, next(entry for entry in book.entries if entry.id == row.id))
        outbox.save(connection, [book])
        changed = connection.execute(select(ENTRIES).where(by)).one()
        return _shown(connection, changed, outbox.clock_ms())


def _parked(limit: int) -> Select[Any]:
    parked = ENTRIES.c.state == State.PARKED.value
    return select(ENTRIES).where(parked).order_by(ENTRIES.c.id).limit(limit)


def _blocked_count() -> Select[Any]:
    """How many entries wait behind a parked one."""
    before = ENTRIES.alias("before")
    blocked = (
        select(before.c.id)
        .where(
            before.c.entity == ENTRIES.c.entity,
            before.c.turn < ENTRIES.c.turn,
            before.c.state == State.PARKED.value,
        )
        .exists()
    )
    waiting = ENTRIES.c.state == State.PENDING.value
    return select(func.count()).select_from(ENTRIES).where(waiting, blocked)


def _of(rows: Any, state: State) -> list[Any]:
    return [row for row in rows if row.state == state.value]


def _shown(connection: Connection, row: Row[Any], now: int) -> dict[str, Any]:
    return {
        "id": row.id,
        "key": row.key,
        "entity": row.entity,
        "posting": row.posting,
        "kind": row.kind,
        "reference": row.reference,
        "state": row.state,
        "reason": row.reason,
        "words": row.words,
        "behind": _behind(connection, row),
        "attempts": row.attempts,
        "maybe_booked": row.maybe_booked,
        "document": row.document,
        "age_ms": now - row.created_ms,
        "since": utc_text(row.changed_ms),
        "next_attempt": utc_text(row.next_attempt_ms) if row.state == State.PENDING else None,
    }


def _behind(connection: Connection, row: Row[Any]) -> str:
    """What keeps an entry from its turn, in words."""
    if row.state != State.PENDING:
        return ""
    columns = ENTRIES.c
    first = connection.execute(
        select(columns.id, columns.posting, columns.state, columns.words)
        .where(
            columns.entity == row.entity,
            columns.turn < row.turn,
            columns.state.in_(BLOCKING),
        )
        .order_by(columns.turn)
        .limit(1)
    ).first()
    if first is None:
        return ""
    words = f"waits behind entry {first.id} ({first.posting}, {first.state})"
    return f"{words}: {first.words}" if first.words else words


def _endpoint(row: Row[Any], now: int) -> dict[str, Any]:
    if row.paused_until_ms > now:
        state, words, until = "paused", row.paused_words, row.paused_until_ms
    elif row.words:
        state, words, until = "closed", row.words, row.closed_until_ms
    else:
        state, words, until = "open", "", 0
    return {
        "name": row.name,
        "state": state,
        "words": words,
        "next_attempt": utc_text(until) if until else None,
    }


def _reading(row: Row[Any], now: int) -> dict[str, Any]:
    return {
        "state": row.state,
        "detail": row.detail,
        "since": utc_text(row.since_ms),
        "heard_ms_ago": now - row.heard_ms,
    }
