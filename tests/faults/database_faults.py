"""Faults of the database server that a portal's store is on. Each returns once it has happened."""

from __future__ import annotations

import os
import signal
from random import Random

from arena import Arena, lasts
from governed_stack import until
from process_faults import until_stopped
from running import Running
from sqlalchemy import create_engine

from connectors.portal import tables
from connectors.portal.store import Store
from pipeline.settings import load


def kill_server(arena: Arena, roll: Random) -> None:
    """Kill -9 PostgreSQL at a random moment and start it again on its data."""
    lasts(roll.uniform(0.0, 1.0))
    _die_and_return(arena, roll.uniform(0.0, 1.5))
    _goes_on(arena.portals[-1])


def kill_amid(arena: Arena, roll: Random) -> None:
    """Kill -9 it while the portal's sink stands still within a transaction."""
    sink = arena.portals[-1]
    sink.stop()
    amid = ("portal_in_transaction", str(roll.randint(1, 4)), "SIGSTOP")
    sink.start(arena.spoiled_sink(sink, "dying.py", *amid))
    until_stopped(sink.pid, sink)
    try:
        _die_and_return(arena, 0.0)
    finally:
        os.kill(sink.pid, signal.SIGCONT)
    _goes_on(sink)


def _die_and_return(arena: Arena, away_s: float) -> None:
    arena.postgres.kill()
    lasts(away_s)
    arena.postgres.start()


def _goes_on(sink: Running) -> None:
    """Wait until the store has news, without anybody's help."""
    engine = create_engine(tables.database_url(load(sink.env)))
    try:
        store = Store(engine)
        before = store.newest_change()
        until(lambda: store.newest_change() > before, 60, f"news by {sink.name}")
    finally:
        engine.dispose()
