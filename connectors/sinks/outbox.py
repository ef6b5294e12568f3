"""The ERP sink's outbox in its database: entries, what stands of each entity, leases.

SQLAlchemy Core for SQLite and PostgreSQL. Every method works inside the caller's transaction, so
that offsets and entries commit together. Must never know HTTP, Kafka or the meaning of a milestone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import Row, bindparam, exists, func, insert, select, update
from sqlalchemy.engine import Connection

from connectors.applied import upsert
from connectors.sinks import booking
from connectors.sinks.entries import BLOCKING, Book, Entry, Kind, Standing, State, Taken, Why
from connectors.sinks.outbox_tables import ENTRIES, STANDING, STORIES
from connectors.sinks.postings import PostingRules

_IN_MAX: Final = 500
"""Names in one IN list."""
_THIS = ENTRIES.c.id == bindparam("entry_id")
_CHANGE: Final = update(ENTRIES).where(_THIS)
_TAKE: Final = update(ENTRIES).where(_THIS).values(state=State.SENDING.value, maybe_booked=True)
_DONE: Final = (
    update(ENTRIES)
    .where(
        _THIS,
        ENTRIES.c.state == State.SENDING.value,
        ENTRIES.c.epoch == bindparam("held_epoch"),
        ENTRIES.c.attempts == bindparam("held_attempt"),
    )
    .values(state=State.DONE.value, reason=Why.NONE.value, words="", lease_until_ms=0)
)


class Arrival(NamedTuple):
    """One record of the approved topic as it is handed to the outbox."""

    partition: int
    offset: int
    published_ms: int
    entity: str
    record: Mapping[str, Any] | None
    problem: str = ""
    """Why there is no record."""
    raw: bytes = b""


class Claim(NamedTuple):
    """An entry that this worker may send until its lease ends."""

    id: int
    key: str
    entity: str
    partition: int
    epoch: int
    endpoint: str
    body: str
    attempt: int
    failures: int
    maybe_booked: bool
    """Whether an earlier attempt may have been booked."""
    first_attempt_ms: int
    lease_until_ms: int


class Outbox:
    """The entries, by rules and a clock; every method runs in the caller's transaction."""

    def __init__(self, rules: PostingRules, clock_ms: Callable[[], int]) -> None:
        self.rules = rules
        self.clock_ms = clock_ms

    def take(
        self, connection: Connection, arrivals: Sequence[Arrival], cut_over_ms: int
    ) -> Counter[Taken]:
        """Apply approved records, in the order of their partitions.

        Args:
            connection: in the transaction that also moves the offsets.
            arrivals: any number of records.
            cut_over_ms: what was published before counts only as a prerequisite.

        """
        books = self.books(connection, {item.entity: item.partition for item in arrivals})
        taken: Counter[Taken] = Counter()
        for item in arrivals:
            book = books[item.entity]
            if item.record is None:
                key = f"unreadable:{item.partition}:{item.offset}"
                booking.unreadable(book, key, item.problem, {"raw": item.raw.hex()})
                taken[Taken.UNREADABLE] += 1
                continue
            posts = item.published_ms >= cut_over_ms
            taken[booking.take(book, item.record, self.rules, posts=posts)] += 1
        self.save(connection, books.values())
        return taken

    def books(self, connection: Connection, entities: Mapping[str, int]) -> dict[str, Book]:
        """What is known of some entities, locked for this transaction.

        Args:
            connection: in a transaction.
            entities: partition by entity key.

        """
        books = {entity: Book(entity, partition) for entity, partition in entities.items()}
        for names in _slices(sorted(books)):
            rows = select(STANDING).where(STANDING.c.entity.in_(names))
            for row in connection.execute(rows):
                books[row.entity].standing[row.milestone_id] = _standing(row)
            stories = select(STORIES).where(STORIES.c.entity.in_(names))
            for row in connection.execute(stories):
                book = books[row.entity]
                book.generation = row.generation
                book.split_by = frozenset(filter(None, row.split_by.split(",")))
            query = select(ENTRIES).where(ENTRIES.c.entity.in_(names)).order_by(ENTRIES.c.id)
            for row in connection.execute(query.with_for_update()):
                books[row.entity].entries.append(_entry(row))
        return books

    def save(self, connection: Connection, books: Iterable[Book]) -> None:
        """Write what changed of some books."""
        now = self.clock_ms()
        standing: list[dict[str, Any]] = []
        new: list[dict[str, Any]] = []
        changed: list[dict[str, Any]] = []
        for book in books:
            if book.begun:
                _save_story(connection, book)
                book.begun = False
            for item in book.standing.values():
                if item.changed:
                    standing.append(_standing_row(book.entity, item))
                    item.changed = False
            for entry in book.entries:
                if entry.changed:
                    if entry.id is None:
                        new.append(_new_row(book.entity, entry, now))
                    else:
                        changed.append({"entry_id": entry.id, **_row(entry, now)})
                    entry.changed = False
        if standing:
            newest = upsert(connection.dialect, STANDING)
            values = {name: newest.excluded[name] for name in standing[0]}
            connection.execute(
                newest.on_conflict_do_update(index_elements=["milestone_id"], set_=values), standing
            )
        if new:
            connection.execute(insert(ENTRIES), new)
        if changed:
            connection.execute(_CHANGE, changed)

    def adopt(
        self, connection: Connection, partition: int, epoch: int, honouring: Collection[str]
    ) -> int:
        """Take over entries that a worker before this one was sending.

        Where the endpoint honours keys they can be sent again at once; elsewhere the lease runs
        out first, so that the other attempt has come to its end.

        Returns:
            How many were taken over.

        """
        left_over = (
            (ENTRIES.c.partition == partition)
            & (ENTRIES.c.state == State.SENDING.value)
            & (ENTRIES.c.epoch < epoch)
            & ENTRIES.c.endpoint.in_(honouring)
        )
        words = "its worker ended while sending it"
        return self._free(connection, left_over, words)

    def expire(
        self, connection: Connection, partitions: Collection[int], under_way: Collection[int]
    ) -> int:
        """Free entries whose lease has run out; their outcome is unknown.

        Args:
            connection: in a transaction.
            partitions: of this worker.
            under_way: ids of entries that this worker is still sending.

        """
        ended = (
            ENTRIES.c.partition.in_(partitions)
            & (ENTRIES.c.state == State.SENDING.value)
            & (ENTRIES.c.lease_until_ms < self.clock_ms())
            & ENTRIES.c.id.not_in(under_way)
        )
        return self._free(connection, ended, "an attempt ended without an outcome")

    def claim(
        self,
        connection: Connection,
        epochs: Mapping[int, int],
        endpoint: str,
        limit: int,
        lease_ms: int,
    ) -> list[Claim]:
        """Take entries that are due, at most one of each entity, those waiting longest first.

        Args:
            connection: in a transaction.
            epochs: this worker's epoch by partition it owns.
            endpoint: whose entries.
            limit: how many at most.
            lease_ms: how long they are this worker's.

        """
        now = self.clock_ms()
        before = ENTRIES.alias("before")
        blocked = exists().where(
            before.c.entity == ENTRIES.c.entity,
            before.c.turn < ENTRIES.c.turn,
            before.c.state.in_(BLOCKING),
        )
        due = (
            select(ENTRIES)
            .where(
                ENTRIES.c.state == State.PENDING.value,
                ENTRIES.c.endpoint == endpoint,
                ENTRIES.c.next_attempt_ms <= now,
                ENTRIES.c.partition.in_(epochs),
                ~blocked,
            )
            .order_by(ENTRIES.c.next_attempt_ms, ENTRIES.c.id)
            .limit(limit)
            .with_for_update(of=ENTRIES)
        )
        rows = connection.execute(due).all()
        claims = [_claim(row, epochs[row.partition], now, lease_ms) for row in rows]
        if claims:
            taken = [
                {
                    "entry_id": claim.id,
                    "attempts": claim.attempt,
                    "first_attempt_ms": claim.first_attempt_ms,
                    "lease_until_ms": claim.lease_until_ms,
                    "epoch": claim.epoch,
                    "changed_ms": now,
                }
                for claim in claims
            ]
            connection.execute(_TAKE, taken)
        return claims

    def done(self, connection: Connection, booked: Sequence[tuple[Claim, str]]) -> int:
        """Record what the ERP has booked, and under which document numbers.

        Returns:
            How many were still this worker's.

        """
        if not booked:
            return 0
        now = self.clock_ms()
        rows = [
            {
                "entry_id": claim.id,
                "held_epoch": claim.epoch,
                "held_attempt": claim.attempt,
                "document": document[:255],
                "changed_ms": now,
            }
            for claim, document in booked
        ]
        return connection.execute(_DONE, rows).rowcount

    def again(
        self,
        connection: Connection,
        claim: Claim,
        next_attempt_ms: int,
        words: str,
        *,
        maybe_booked: bool,
        failures: int,
    ) -> bool:
        """Put it back for another attempt; False if it is no longer this worker's."""
        changed = connection.execute(
            update(ENTRIES)
            .where(*_held(claim))
            .values(
                state=State.PENDING.value,
                reason=Why.TRYING_AGAIN.value,
                words=words,
                next_attempt_ms=next_attempt_ms,
                maybe_booked=maybe_booked,
                failures=failures,
                lease_until_ms=0,
                changed_ms=self.clock_ms(),
            )
        )
        return changed.rowcount == 1

    def park(
        self, connection: Connection, claim: Claim, reason: Why, words: str, *, maybe_booked: bool
    ) -> bool:
        """Lay it aside for a person; False if it is no longer this worker's."""
        book = self.books(connection, {claim.entity: claim.partition})[claim.entity]
        entry = next((item for item in book.entries if item.id == claim.id), None)
        ours = connection.execute(select(ENTRIES.c.id).where(*_held(claim))).first()
        if entry is None or ours is None:
            return False
        entry.maybe_booked = maybe_booked
        booking.refuse(book, entry, self.rules, reason, words)
        self.save(connection, [book])
        return True

    def next_due_ms(self, connection: Connection, partitions: Collection[int]) -> int | None:
        """When the next PENDING entry comes due; it may be blocked by another one."""
        query = (
            select(ENTRIES.c.next_attempt_ms)
            .where(
                ENTRIES.c.state == State.PENDING.value,
                ENTRIES.c.partition.in_(partitions),
                ENTRIES.c.next_attempt_ms > self.clock_ms(),
            )
            .order_by(ENTRIES.c.next_attempt_ms)
            .limit(1)
        )
        return connection.execute(query).scalar()

    def open_entries(self, connection: Connection) -> dict[State, int]:
        """How many entries are in each state that is not an end."""
        states = (State.WAITING, State.PENDING, State.SENDING, State.PARKED)
        query = (
            select(ENTRIES.c.state, func.count())
            .where(ENTRIES.c.state.in_([state.value for state in states]))
            .group_by(ENTRIES.c.state)
        )
        found = {row[0]: row[1] for row in connection.execute(query)}
        return {state: found.get(state.value, 0) for state in states}

    def _free(self, connection: Connection, condition: Any, words: str) -> int:
        now = self.clock_ms()
        changed = connection.execute(
            update(ENTRIES)
            .where(condition)
            .values(
                state=State.PENDING.value,
                reason=Why.TRYING_AGAIN.value,
                words=words,
                next_attempt_ms=now,
                lease_until_ms=0,
                changed_ms=now,
            )
        )
        return changed.rowcount


def _save_story(connection: Connection, book: Book) -> None:
    values = {"generation": book.generation, "split_by": ",".join(sorted(book.split_by))}
    new = upsert(connection.dialect, STORIES).values(entity=book.entity, **values)
    connection.execute(new.on_conflict_do_update(index_elements=["entity"], set_=values))


def _row(entry: Entry, now: int) -> dict[str, Any]:
    """The part of a row that can change."""
    return {
        "kind": entry.kind.value,
        "reference": entry.reference,
        "body": orjson.dumps(entry.body, option=orjson.OPT_SORT_KEYS).decode(),
        "state": None if entry.state is None else entry.state.value,
        "turn": entry.turn,
        "reason": entry.reason.value,
        "words": entry.words[:2_000],
        "failures": entry.failures,
        "maybe_booked": entry.maybe_booked,
        "next_attempt_ms": now,
        "lease_until_ms": 0,
        "changed_ms": now,
    }


def _new_row(entity: str, entry: Entry, now: int) -> dict[str, Any]:
    return {
        "key": entry.key,
        "entity": entity,
        "partition": entry.partition,
        "milestone_id": entry.milestone_id,
        "revision": entry.revision,
        "posting": entry.posting,
        "endpoint": entry.endpoint,
        "attempts": 0,
        "epoch": 0,
        "document": "",
        "created_ms": now,
        **_row(entry, now),
    }


def _standing_row(entity: str, item: Standing) -> dict[str, Any]:
    return {
        "milestone_id": item.milestone_id,
        "entity": entity,
        "event_type": item.event_type,
        "revision": item.revision,
        "stands": item.stands,
        "assurance": item.assurance,
        "classifier": item.classifier,
    }


def _held(claim: Claim) -> tuple[Any, ...]:
    """Conditions under which an entry is still the claim's: fencing."""
    return (
        ENTRIES.c.id == claim.id,
        ENTRIES.c.state == State.SENDING.value,
        ENTRIES.c.epoch == claim.epoch,
        ENTRIES.c.attempts == claim.attempt,
    )


def _claim(row: Row[Any], epoch: int, now: int, lease_ms: int) -> Claim:
    return Claim(
        id=row.id,
        key=row.key,
        entity=row.entity,
        partition=row.partition,
        epoch=epoch,
        endpoint=row.endpoint,
        body=row.body,
        attempt=row.attempts + 1,
        failures=row.failures,
        maybe_booked=row.maybe_booked,
        first_attempt_ms=now if row.first_attempt_ms is None else row.first_attempt_ms,
        lease_until_ms=now + lease_ms,
    )


def _standing(row: Row[Any]) -> Standing:
    return Standing(
        row.milestone_id,
        row.event_type,
        row.revision,
        row.stands,
        row.assurance,
        row.classifier,
    )


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        key=row.key,
        partition=row.partition,
        milestone_id=row.milestone_id,
        revision=row.revision,
        posting=row.posting,
        endpoint=row.endpoint,
        kind=Kind(row.kind),
        body=orjson.loads(row.body),
        state=State(row.state),
        reference=row.reference,
        turn=row.turn,
        reason=Why(row.reason),
        words=row.words,
        attempts=row.attempts,
        failures=row.failures,
        maybe_booked=row.maybe_booked,
        first_attempt_ms=row.first_attempt_ms,
        id=row.id,
    )


def _slices(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + _IN_MAX] for start in range(0, len(names), _IN_MAX))
