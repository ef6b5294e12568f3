"""What a sink has applied: moves with the effects, and only for the newest claimant."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, func, insert, select
from sqlalchemy.dialects import postgresql

from connectors.applied import NOTHING, Applied, Claim, FencedError, TopicPartition, upsert

P0 = TopicPartition("t", 0)
P1 = TopicPartition("t", 1)


@pytest.fixture
def metadata():
    return MetaData()


@pytest.fixture
def applied(metadata):
    return Applied(metadata)


@pytest.fixture
def engine(metadata, applied, tmp_path):
    Table("effect", metadata, Column("id", Integer, primary_key=True))
    engine = create_engine(f"sqlite:///{tmp_path / 'sink.sqlite'}")
    metadata.create_all(engine)
    yield engine
    engine.dispose()


def claim(engine, applied, *partitions):
    with engine.begin() as connection:
        return applied.claim(connection, partitions)


def test_a_partition_never_applied_starts_at_its_beginning(engine, applied):
    assert claim(engine, applied, P0) == {P0: Claim(NOTHING, 1)}


def test_a_position_survives_and_each_claim_has_a_newer_epoch(engine, applied):
    first = claim(engine, applied, P0, P1)[P0]
    with engine.begin() as connection:
        assert applied.advance(connection, P0, first, 10) == Claim(10, 1)
    assert claim(engine, applied, P1, P0) == {P0: Claim(10, 2), P1: Claim(NOTHING, 2)}
    with engine.connect() as connection:
        assert applied.positions(connection)[P0] == Claim(10, 2)


def test_who_was_taken_over_is_refused_and_its_effects_with_it(engine, applied, metadata):
    zombie = claim(engine, applied, P0)[P0]
    claim(engine, applied, P0)
    effect = metadata.tables["effect"]

    def write_and_advance():
        with engine.begin() as connection:
            connection.execute(insert(effect).values(id=1))
            applied.advance(connection, P0, zombie, 5)

    with pytest.raises(FencedError, match=r"t\[0\] was taken over"):
        write_and_advance()
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(effect)).scalar_one() == 0


def test_an_offset_that_somebody_already_passed_is_refused(engine, applied):
    start = claim(engine, applied, P0)[P0]
    with engine.begin() as connection:
        applied.advance(connection, P0, start, 5)
    with pytest.raises(FencedError), engine.begin() as connection:
        applied.advance(connection, P0, start, 8)


def test_a_position_only_moves_forward(engine, applied):
    with engine.begin() as connection:
        start = applied.claim(connection, [P0])[P0]
        moved = applied.advance(connection, P0, start, 5)
        with pytest.raises(ValueError, match="not after"):
            applied.advance(connection, P0, moved, 5)


def test_the_statements_are_postgresql_too(applied):
    dialect = postgresql.dialect()
    new = upsert(dialect, applied.table).values(topic="t", partition=0, next_offset=0, epoch=1)
    taken = new.on_conflict_do_update(
        index_elements=[applied.table.c.topic, applied.table.c.partition],
        set_={"epoch": applied.table.c.epoch + 1},
    ).returning(applied.table.c.epoch)
    assert "ON CONFLICT (topic, partition) DO UPDATE" in str(taken.compile(dialect=dialect))
