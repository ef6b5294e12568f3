"""How the database of a sink is opened: SQLite with durable commits, or PostgreSQL.

Must never know a table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from connectors.protocols import ConfigurationError

BUSY_MS: Final = 10_000
"""How long a writer waits for another before the database gives up."""
_READS: Final = "milepost_reads"
_POSTGRESQL: Final = "postgresql"
_REACHING: Final = {
    "application_name": "milepost",
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""How soon libpq takes a server that answers nothing for gone, where the URL does not say."""
_SESSION: Final = {
    "lock_timeout": f"{BUSY_MS}ms",
    "idle_in_transaction_session_timeout": "30s",
    "statement_timeout": "60s",
}
"""A process that freezes in a transaction must not keep the others from writing for ever."""


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
        if parsed.get_backend_name() == _POSTGRESQL:
            return _open_postgresql(parsed, setting)
        if parsed.get_backend_name() != "sqlite":
            raise ConfigurationError(f"{setting} has to name a SQLite or PostgreSQL database")
    except ArgumentError:
        raise ConfigurationError(
            f"{setting} is no URL of a database: give one such as sqlite:////data/store.sqlite or "
            "postgresql+psycopg://user:password@host/name"
        ) from None
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{setting} needs the Python package {error.name}: install milepost[postgresql]"
        ) from None
    return _open_sqlite(parsed)


def _open_sqlite(url: URL) -> Engine:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
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


def _open_postgresql(url: URL, setting: str) -> Engine:
    if url.drivername == _POSTGRESQL:
        url = url.set(drivername="postgresql+psycopg")
    engine = create_engine(
        url,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",  # who has waited for another's lock sees what it wrote
        connect_args={k: v for k, v in _REACHING.items() if k not in url.query},
    )

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise ConfigurationError(
                f"{setting} names a database of encoding {encoding}, which can't hold every name: "
                "create it with ENCODING 'UTF8'"
            )
        connection.autocommit = True
        for name, value in _SESSION.items():
            connection.execute(f"SET {name} = '{value}'")
        # A commit that is told must be durable, whatever is set for the server; stricter may stay
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false)"
            " WHERE current_setting('synchronous_commit') = 'off'"
        )
        connection.autocommit = False

    return engine


def reading_only(engine: Engine) -> Engine:
    """The same database for transactions that only read: no busy writer keeps them waiting.

    What one transaction reads is of one moment.
    """
    if engine.dialect.name == _POSTGRESQL:
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return engine.execution_options(**{_READS: True})
