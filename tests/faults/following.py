"""How far the sinks have taken what is approved, by the positions in their own stores."""

from __future__ import annotations

from collections.abc import Iterator

from arena import HEAL_S, Arena
from governed_stack import PARTITIONS, until
from running import LAST, Running
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from connectors.portal import tables
from connectors.sinks.database import APPLIED, database_url
from pipeline.contract import names
from pipeline.settings import load

NEXT = "select partition, next_offset from {} where topic = :topic"


def taken(arena: Arena) -> None:
    """Wait until every sink has taken what was approved by now.

    Raises:
        AssertionError: one has not: how far it is, and what it said last.

    """
    there = {n: arena.witness.next[names.APPROVED, n] for n in range(PARTITIONS)}
    for sink, url, table in _stores(arena):
        engine = create_engine(url)
        try:
            until(lambda at=(engine, table): _reaches(*at, there), HEAL_S, f"all by {sink.name}")
        except AssertionError as error:
            raise AssertionError(
                f"{error}: it {'runs' if sink.running else 'has ended'} and is at "
                f"{_positions(engine, table)} of {there}, having said: {sink.said()[-LAST:]}"
            ) from None
        finally:
            engine.dispose()


def _stores(arena: Arena) -> Iterator[tuple[Running, str, str]]:
    """Each sink with its database and its table of positions."""
    for portal in arena.portals:
        yield portal, tables.database_url(load(portal.env)), tables.applied.table.name
    yield arena.erp_sink, database_url(arena.settings), APPLIED.table.name


def _reaches(engine: Engine, table: str, there: dict[int, int]) -> bool:
    try:
        found = _positions(engine, table)
    except DBAPIError:  # the database is on its way back
        return False
    return all(found.get(number, 0) >= offset for number, offset in there.items())


def _positions(engine: Engine, table: str) -> dict[int, int]:
    with engine.connect() as connection:
        rows = connection.execute(text(NEXT.format(table)), {"topic": names.APPROVED})
        return dict(map(tuple, rows))
