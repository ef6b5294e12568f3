"""Tables of the portal's store and how it is opened.

The story of an entity is kept whole: every revision of every milestone, as approved. Must never
know Kafka or HTTP.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from connectors.applied import Applied, upsert
from connectors.protocols import ConfigurationError
from connectors.sinks.engines import open_engine, reading_only
from pipeline.settings import Settings

VERSION: Final = 2
"""Of the tables' form; a store of another version is built anew from the topics."""


class StoreError(ConfigurationError):
    """The store can't be used as it is; the message says what to do with it."""


metadata = MetaData()
applied = Applied(metadata)


def _key(*, primary: bool = True) -> list[Column[Any]]:
    """Columns that name an entity."""
    return [
        Column("tenant", String(128), primary_key=primary, nullable=False),
        Column("entity_type", String(32), primary_key=primary, nullable=False),
        Column("entity_id", String(256), primary_key=primary, nullable=False),
    ]


store = Table(
    "store",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("cluster_id", String(64), doc="Kafka cluster that the positions belong to"),
    Column("changes", BigInteger, nullable=False, doc="Newest change number that was given"),
)
"""One row. Its lock orders the commits of writers, and with them the change numbers."""

revision = Table(
    "milestone_revision",
    metadata,
    Column("milestone_id", String(64), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    *_key(primary=False),
    Column("entity_seq", BigInteger, nullable=False),
    Column("event_type", String(128), nullable=False),
    Column("classifier", String(32), nullable=False),
    Column("action", String(32), nullable=False),
    Column("assurance", String(32), nullable=False),
    Column("occurred", BigInteger, nullable=False, doc="ms UTC"),
    Column("published", BigInteger, nullable=False, doc="Append time of the record, ms UTC"),
    Column("applied_at", BigInteger, nullable=False, doc="When this store first had it, ms UTC"),
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False, doc="The whole record, JSON"),
    Column("source", String(256), nullable=False, doc="Its source's event id, to be looked for"),
    Index("milestone_revision_source", "source"),
    Index("milestone_revision_entity", "tenant", "entity_type", "entity_id", "entity_seq"),
)
"""Every revision, never changed once written."""

milestone = Table(
    "milestone",
    metadata,
    Column("milestone_id", String(64), primary_key=True),
    *_key(primary=False),
    Column("revision", Integer, nullable=False),
    Column("event_type", String(128), nullable=False),
    Column("action", String(32), nullable=False),
    Column("assurance", String(32), nullable=False),
    Column("occurred", BigInteger, nullable=False, doc="ms UTC"),
    Index("milestone_entity", "tenant", "entity_type", "entity_id"),
)
"""The newest revision of each milestone, for whoever joins on it."""

entity = Table(
    "entity",
    metadata,
    *_key(),
    Column("status", String(64), nullable=False),
    Column("status_seq", BigInteger, nullable=False, doc="entity_seq that the status is of"),
    Column("published", BigInteger, nullable=False, doc="Newest append time it includes, ms UTC"),
    Column("change", BigInteger, nullable=False, doc="Number of its newest change"),
    Column("summary", LargeBinary, doc="Newest entity-status record, JSON, without milestones"),
    Index("entity_change", "change", unique=True),
    Index("entity_id", "entity_type", "entity_id"),
    Index("entity_published", "published"),
)

reference = Table(
    "reference",
    metadata,
    # Searched by range, so its order must be that of the code points
    Column(
        "token",
        String(256).with_variant(String(256, collation="C"), "postgresql"),
        primary_key=True,
        doc="Letters and digits, upper case",
    ),
    *_key(),
    Column("kind", String(64), primary_key=True),
    Column("value", String(256), primary_key=True, doc="As it is written"),
    Index("reference_entity", "tenant", "entity_type", "entity_id"),
)
"""Every name under which an entity may be looked for."""

reading = Table(
    "reading",
    metadata,
    Column("topic", String(249), primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("read_to", BigInteger, nullable=False, doc="Everything appended until then is here, ms"),
    Column("behind", BigInteger, nullable=False, doc="Offsets not yet applied when last looked"),
)

sink = Table(
    "sink",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("detail", String(1024), nullable=False),
    Column("since", BigInteger, nullable=False, doc="When this state began, ms UTC"),
    Column("heard", BigInteger, nullable=False, doc="When the sink last said so, ms UTC"),
)
"""One row: how the sink is, as far as it could tell the store."""

unreadable = Table(
    "unreadable",
    metadata,
    Column("topic", String(249), primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("reason", String(64), nullable=False),
    Column("detail", String(512), nullable=False),
    Column("published", BigInteger, nullable=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
)
"""Records that could not be decoded, byte for byte; they are tried again at each start."""

bundle = Table(
    "bundle",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", String(64), nullable=False),
    Column("published", BigInteger, nullable=False, doc="ms UTC"),
    Column("document", LargeBinary, nullable=False),
)
"""One row: the policy bundle that was published last, for what things are called."""


def database_url(settings: Settings) -> str:
    """SQLAlchemy URL of the store that the settings name."""
    if settings.portal_database_url is not None:
        return settings.portal_database_url
    return f"sqlite:///{settings.state_dir.absolute() / 'portal' / 'portal.sqlite'}"


def open_writer(url: str) -> Engine:
    """Open the store to write, creating what is missing.

    Raises:
        StoreError: it is of another version.
        sqlalchemy.exc.SQLAlchemyError: the database can't be used now.

    """
    engine = open_engine(url, "MILEPOST_PORTAL_DATABASE_URL")
    with engine.begin() as connection:
        metadata.create_all(connection)
        first = upsert(connection.dialect, store).values(id=1, version=VERSION, changes=0)
        connection.execute(first.on_conflict_do_nothing())
        version = connection.execute(select(store.c.version)).scalar_one()
    if version != VERSION:
        raise StoreError(
            f"The portal's store is of version {version}, this program needs {VERSION}: remove "
            f"{_shown(url)}, it is built anew from the topics"
        )
    return engine


def open_reader(url: str) -> Engine:
    """Open the store to read; a missing one is created empty.

    Raises:
        StoreError: it is of another version, or its database can't be used.

    """
    try:
        open_writer(url).dispose()
    except (SQLAlchemyError, OSError) as error:
        cause = str(error).partition("\n")[0]
        raise StoreError(
            f"The portal's store {_shown(url)} can't be used ({cause}): correct "
            "MILEPOST_PORTAL_DATABASE_URL, or see that the folder can be written and has room"
        ) from None
    return reading_only(open_engine(url, "MILEPOST_PORTAL_DATABASE_URL"))


def bind_cluster(connection: Connection, cluster_id: str, url: str) -> None:
    """Tie the store to the Kafka cluster that its positions belong to.

    Raises:
        StoreError: it is tied to another one.

    """
    known = connection.execute(select(store.c.cluster_id)).scalar_one()
    if known is None:
        connection.execute(store.update().values(cluster_id=cluster_id))
    elif known != cluster_id:
        raise StoreError(
            f"The portal's store follows Kafka cluster {known}, this one is {cluster_id}: correct "
            f"MILEPOST_BOOTSTRAP_SERVERS, or remove {_shown(url)} to build it anew"
        )


def _shown(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)
