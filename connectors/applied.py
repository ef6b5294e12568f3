"""What a sink has applied: one row per topic partition, kept in the sink's own database.

The row changes in the same database transaction as the effects of the records, so effects and
position can't part, whatever is killed. Kafka's committed offsets are for lag tools only. Must
never know what the effects are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Dialect,
    Integer,
    MetaData,
    String,
    Table,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

NOTHING: Final = -1
"""Next offset of a partition of which nothing has been applied: start at its beginning."""


class FencedError(RuntimeError):
    """Another process has taken the partition over, or applied it further: stop, apply nothing."""


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class Claim(NamedTuple):
    """The right to apply a partition from `next_offset` on, until somebody claims it anew."""

    next_offset: int
    epoch: int


class Applied:
    """The table of positions.

    Args:
        metadata: where the table is added.
        name: its name; one for each consumer that shares the database.

    """

    def __init__(self, metadata: MetaData, name: str = "applied") -> None:
        self.table = Table(
            name,
            metadata,
            Column("topic", String(249), primary_key=True),
            Column("partition", Integer, primary_key=True),
            Column("next_offset", BigInteger, nullable=False),
            Column("epoch", BigInteger, nullable=False),
        )

    def claim(
        self, connection: Connection, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, Claim]:
        """Take partitions over; whoever claimed them before is refused from the commit on."""
        table = self.table
        claims = {}
        # In one order, so that two claimants of several partitions can't lock each other out
        for topic, partition in sorted(partitions):
            new = upsert(connection.dialect, table).values(
                topic=topic, partition=partition, next_offset=NOTHING, epoch=1
            )
            taken = new.on_conflict_do_update(
                index_elements=[table.c.topic, table.c.partition],
                set_={"epoch": table.c.epoch + 1},
            ).returning(table.c.next_offset, table.c.epoch)
            row = connection.execute(taken).one()
            claims[TopicPartition(topic, partition)] = Claim(row.next_offset, row.epoch)
        return claims

    def advance(
        self, connection: Connection, at: TopicPartition, claim: Claim, next_offset: int
    ) -> Claim:
        """Move a position in the transaction that holds the effects.

        Args:
            connection: in a transaction; roll it back if this raises.
            at: the partition.
            claim: what `claim` or the last committed `advance` returned.
            next_offset: offset after the last record whose effects the transaction holds.

        Raises:
            FencedError: the claim is no longer the newest, or the position is not where it says.
            ValueError: the position would not move forward.

        """
        if next_offset <= claim.next_offset:
            raise ValueError(f"{at} is at {claim.next_offset}: {next_offset} is not after it")
        table = self.table
        moved = connection.execute(
            update(table)
            .where(
                table.c.topic == at.topic,
                table.c.partition == at.partition,
                table.c.epoch == claim.epoch,
                table.c.next_offset == claim.next_offset,
            )
            .values(next_offset=next_offset)
        )
        if moved.rowcount != 1:
            raise FencedError(
                f"{at.topic}[{at.partition}] was taken over by another process: this one stops "
                "applying it"
            )
        return Claim(next_offset, claim.epoch)

    def positions(self, connection: Connection) -> dict[TopicPartition, Claim]:
        """Every position in the table."""
        rows = connection.execute(select(self.table))
        return {
            TopicPartition(row.topic, row.partition): Claim(row.next_offset, row.epoch)
            for row in rows
        }


def upsert(dialect: Dialect, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that can say ON CONFLICT, for SQLite and PostgreSQL.

    Raises:
        ValueError: another database.

    """
    if dialect.name == "sqlite":
        return sqlite.insert(table)
    if dialect.name == "postgresql":
        return postgresql.insert(table)
    raise ValueError(f"No store on {dialect.name}: use SQLite or PostgreSQL")
