"""How the database of a sink is opened: SQLite with durable commits, or PostgreSQL.

Must never know a table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from connectors.protocols import ConfigurationError

BUSY_MS: Final = 10_000
"""How long a writer waits for another before SQLite gives up."""
_READS: Final = "milepost_reads"


def open_engine(url: str, setting: str) -> Engine:
    """An engine whose transactions may write; a SQLite file's folder is made if it is missing.

    Args:
        url: SQLAlchemy URL.
        setting: what it is set with, for messages; a URL may hold a password.

    Raises:
        ConfigurationError: the URL is none, or its driver is not installed.
        OSError: the folder can't be made.

    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite":
            return create_engine(url, pool_pre_ping=True)
    except ArgumentError:
        raise ConfigurationError(
            f"{setting} is no URL of a database: give one such as sqlite:////data/store.sqlite or "
            "postgresql+psycopg://user:password@host/name"
        ) from None
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{setting} needs the Python package {error.name}: install it beside Milepost"
        ) from None
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url)

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are ours to begin
        for pragma in (f"busy_timeout={BUSY_MS}", "journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}").fetchall()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads before it writes must not find a newer write in between
        reads = connection.get_execution_options().get(_READS, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def reading_only(engine: Engine) -> Engine:
    """The same database for transactions that only read: no busy writer keeps them waiting."""
    return engine.execution_options(**{_READS: True})
