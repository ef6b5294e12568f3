"""The ERP sink's outbox: where its database is, and the state of the sink as a whole in it.

Must never know entries or HTTP.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, Engine, select

from connectors.applied import Applied, upsert
from connectors.protocols import ConfigurationError
from connectors.sinks.engines import open_engine
from connectors.sinks.outbox_tables import METADATA, START
from pipeline.settings import Settings

VERSION: Final = 1
"""Of the tables' form."""
APPLIED: Final = Applied(METADATA, "erp_applied")
"""How far the approved topic has been taken into the outbox."""


class OutboxError(ConfigurationError):
    """The outbox can't be used as it is; the message says what to do with it."""


def database_url(settings: Settings) -> str:
    """SQLAlchemy URL of the outbox that the settings name."""
    if settings.erp_database_url is not None:
        return settings.erp_database_url
    return f"sqlite:///{settings.state_dir.absolute() / 'erp' / 'outbox.sqlite'}"


def open_outbox(url: str) -> Engine:
    """Open the outbox, creating what is missing.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database can't be used now.

    """
    engine = open_engine(url, "MILEPOST_ERP_DATABASE_URL")
    with engine.begin() as connection:
        METADATA.create_all(connection)
    return engine


def begin(connection: Connection, cut_over_ms: int, cluster_id: str) -> int:
    """Write down, at the first start, from when on this sink books; later starts keep to it.

    Args:
        connection: in a transaction.
        cut_over_ms: milestones published before count as prerequisites and are not booked.
        cluster_id: Kafka cluster whose topic this outbox follows.

    Returns:
        The cut-over in force, ms UTC.

    Raises:
        OutboxError: the outbox is of another version or follows another cluster.

    """
    first = upsert(connection.dialect, START).values(
        id=1, version=VERSION, cluster_id=cluster_id, cut_over_ms=cut_over_ms
    )
    connection.execute(first.on_conflict_do_nothing())
    row = connection.execute(select(START)).one()
    if row.version != VERSION:
        raise OutboxError(
            f"The ERP outbox is of version {row.version}, this program needs {VERSION}: run the "
            "program that wrote it until nothing is pending, then start anew with --from now"
        )
    if row.cluster_id != cluster_id:
        raise OutboxError(
            f"The ERP outbox follows Kafka cluster {row.cluster_id}, this one is {cluster_id}: "
            "correct MILEPOST_BOOTSTRAP_SERVERS, or name another outbox in "
            "MILEPOST_ERP_DATABASE_URL"
        )
    return int(row.cut_over_ms)
