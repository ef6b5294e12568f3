"""The only writer of the portal's store: effects, positions and freshness in one transaction.

Must never know Kafka's clients: records and progress come in as values.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, case, delete, select

from connectors.applied import Claim, TopicPartition, upsert
from connectors.portal import tables
from connectors.portal.apply import Arrived, apply
from connectors.portal.progress import Progress
from connectors.sinks.engines import reading_only
from pipeline.contract.names import APPROVED


class SetAside(NamedTuple):
    """A record that could not be decoded, as it came."""

    topic: str
    partition: int
    offset: int
    published_ms: int
    key: bytes | None
    value: bytes | None
    reason: str
    detail: str

    def row(self) -> dict[str, Any]:
        """The row of the table that keeps it."""
        row = self._asdict()
        row["published"] = row.pop("published_ms")
        return row


class PublishedBundle(NamedTuple):
    """A policy bundle as it was published; not read yet."""

    version: str
    published_ms: int
    document: bytes


@dataclass(slots=True)
class Batch:
    """What was read since the last commit."""

    milestones: list[Arrived] = field(default_factory=list)
    statuses: list[Arrived] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    bundle: PublishedBundle | None = None
    """The newest one read."""

    def __bool__(self) -> bool:
        return bool(self.milestones or self.statuses or self.set_aside or self.bundle)

    def add(self, arrived: Arrived) -> None:
        """Take a decoded record up."""
        (self.milestones if arrived.topic == APPROVED else self.statuses).append(arrived)


class StoreWriter:
    """Writes the store.

    Args:
        engine: from `tables.open_writer`.
        url: its URL, for messages.
        clock_ms: the portal's own clock, ms UTC.

    """

    def __init__(self, engine: Engine, url: str, clock_ms: Callable[[], int]) -> None:
        self._engine = engine
        self._url = url
        self._clock_ms = clock_ms

    def prepare(self, cluster_id: str, partitions: Iterable[TopicPartition]) -> None:
        """Tie the store to its cluster and note which partitions it has to follow.

        Raises:
            StoreError: the store follows another cluster.

        """
        rows = [
            {"topic": topic, "partition": partition, "read_to": 0, "behind": 0}
            for topic, partition in partitions
        ]
        with self._turn() as connection:
            tables.bind_cluster(connection, cluster_id, self._url)
            new = upsert(connection.dialect, tables.reading).on_conflict_do_nothing()
            connection.execute(new, rows)

    def claim(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Progress]:
        """Take partitions over from whoever applied them before."""
        with self._turn() as connection:
            claims = tables.applied.claim(connection, partitions)
        return {at: Progress(claim) for at, claim in claims.items()}

    def positions(self) -> dict[TopicPartition, int]:
        """Offsets that are next to be applied, whoever has claimed the partitions."""
        with reading_only(self._engine).begin() as connection:
            found = tables.applied.positions(connection)
        return {at: claim.next_offset for at, claim in found.items()}

    def commit(self, batch: Batch, partitions: Mapping[TopicPartition, Progress]) -> None:
        """Apply a batch and move the positions, or do neither.

        Raises:
            FencedError: another process took a partition over.
            sqlalchemy.exc.SQLAlchemyError: the database can't be written now.

        """
        moved: list[tuple[Progress, Claim]] = []
        with self._turn() as connection:
            for at, progress in partitions.items():
                if progress.news:
                    moved.append((progress, self._move(connection, at, progress)))
            apply(connection, batch.milestones, batch.statuses, self._clock_ms())
            if batch.set_aside:
                aside = upsert(connection.dialect, tables.unreadable).on_conflict_do_nothing()
                connection.execute(aside, [item.row() for item in batch.set_aside])
            if batch.bundle is not None:
                _keep_bundle(connection, batch.bundle)
        for progress, claim in moved:
            progress.told(claim)

    def set_aside(self) -> list[SetAside]:
        """Records that could not be decoded so far."""
        table = tables.unreadable
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(table).order_by(table.c.topic, table.c.partition, table.c.offset)
            ).all()
        return [
            SetAside(
                row.topic,
                row.partition,
                row.offset,
                row.published,
                row.key,
                row.value,
                row.reason,
                row.detail,
            )
            for row in rows
        ]

    def recover(self, arrived: Arrived) -> None:
        """Apply a record that had been set aside and can be decoded by now."""
        table = tables.unreadable
        milestones, statuses = ([arrived], []) if arrived.topic == APPROVED else ([], [arrived])
        with self._turn() as connection:
            apply(connection, milestones, statuses, self._clock_ms())
            connection.execute(
                delete(table).where(
                    table.c.topic == arrived.topic,
                    table.c.partition == arrived.partition,
                    table.c.offset == arrived.offset,
                )
            )

    def tell(self, state: str, detail: str, since_ms: int) -> None:
        """Say how the sink is."""
        table = tables.sink
        with self._engine.begin() as connection:
            new = upsert(connection.dialect, table).values(
                id=1, state=state, detail=detail[:1024], since=since_ms, heard=self._clock_ms()
            )
            names = ("state", "detail", "since", "heard")
            connection.execute(
                new.on_conflict_do_update(
                    index_elements=[table.c.id], set_={name: new.excluded[name] for name in names}
                )
            )

    @contextlib.contextmanager
    def _turn(self) -> Iterator[Connection]:
        """A transaction that waits for those of other writers first."""
        with self._engine.begin() as connection:
            tables.take_turn(connection)
            yield connection

    def _move(self, connection: Connection, at: TopicPartition, progress: Progress) -> Claim:
        """Move one position; returns the claim as it will be once committed."""
        table = tables.reading
        new = upsert(connection.dialect, table).values(
            topic=at.topic,
            partition=at.partition,
            read_to=progress.read_to_ms,
            behind=progress.behind,
        )
        newest = case(
            (new.excluded.read_to > table.c.read_to, new.excluded.read_to), else_=table.c.read_to
        )
        connection.execute(
            new.on_conflict_do_update(
                index_elements=[table.c.topic, table.c.partition],
                set_={"read_to": newest, "behind": new.excluded.behind},
            )
        )
        if progress.position <= progress.claim.next_offset:
            return progress.claim
        return tables.applied.advance(connection, at, progress.claim, progress.position)


def _keep_bundle(connection: Connection, bundle: PublishedBundle) -> None:
    table = tables.bundle
    new = upsert(connection.dialect, table).values(
        id=1, version=bundle.version, published=bundle.published_ms, document=bundle.document
    )
    names = ("version", "published", "document")
    connection.execute(
        new.on_conflict_do_update(
            index_elements=[table.c.id], set_={name: new.excluded[name] for name in names}
        )
    )
