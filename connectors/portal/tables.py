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
    Dialect,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
    func,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from connectors.applied import Applied, upsert
from connectors.protocols import ConfigurationError
from connectors.sinks.engines import open_engine, reading_only
from pipeline.settings import Settings

VERSION: Final = 3
"""Of the tables' form; a store of another version is built anew from the topics."""
_CREATING: Final = 6_455_713_001
"""Number of the advisory lock under which missing tables are created."""


class StoreError(ConfigurationError):
    """The store can't be used as it is; the message says what to do with it."""


class Text(TypeDecorator[str]):
    """A partner's words, the same on every database: of any length, in the order of code points.

    PostgreSQL's text can't hold NUL: the symbol for it stands there instead.
    """

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """PostgreSQL would enforce lengths, and sort as its locale does."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TEXT(collation="C"))
        return super().load_dialect_impl(dialect)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """As it is written to the database, and looked for there."""
        return None if value is None else value.replace("\0", "\N{SYMBOL FOR NULL}")


metadata = MetaData()
applied = Applied(metadata)


def _key(*, primary: bool = True) -> list[Column[Any]]:
    """Columns that name an entity."""
    return [
        Column("tenant", Text(128), primary_key=primary, nullable=False),
        Column("entity_type", Text(32), primary_key=primary, nullable=False),
        Column("entity_id", Text(256), primary_key=primary, nullable=False),
    ]


store = Table(
    "store",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("cluster_id", Text(64), doc="Kafka cluster that the positions belong to"),
    Column("changes", BigInteger, nullable=False, doc="Newest change number that was given"),
)
"""One row. Who holds its lock is the only writer, so change numbers are committed in order."""

revision = Table(
    "milestone_revision",
    metadata,
    Column("milestone_id", Text(64), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    *_key(primary=False),
    Column("entity_seq", BigInteger, nullable=False),
    Column("event_type", Text(128), nullable=False),
    Column("classifier", Text(32), nullable=False),
    Column("action", Text(32), nullable=False),
    Column("assurance", Text(32), nullable=False),
    Column("occurred", BigInteger, nullable=False, doc="ms UTC"),
    Column("published", BigInteger, nullable=False, doc="Append time of the record, ms UTC"),
    Column("applied_at", BigInteger, nullable=False, doc="When this store first had it, ms UTC"),
    Column("topic", Text(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False, doc="The whole record, JSON"),
    Column("source", Text(256), nullable=False, doc="Its source's event id, to be looked for"),
    Index("milestone_revision_source", "source"),
    Index("milestone_revision_entity", "tenant", "entity_type", "entity_id", "entity_seq"),
)
"""Every revision, never changed once written."""

milestone = Table(
    "milestone",
    metadata,
    Column("milestone_id", Text(64), primary_key=True),
    *_key(primary=False),
    Column("revision", Integer, nullable=False),
    Column("event_type", Text(128), nullable=False),
    Column("action", Text(32), nullable=False),
    Column("assurance", Text(32), nullable=False),
    Column("occurred", BigInteger, nullable=False, doc="ms UTC"),
    Index("milestone_entity", "tenant", "entity_type", "entity_id"),
)
"""The newest revision of each milestone, for whoever joins on it."""

entity = Table(
    "entity",
    metadata,
    *_key(),
    Column("status", Text(64), nullable=False),
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
    Column("digest", LargeBinary(16), primary_key=True, doc="Of the row: it may be long"),
    Column("token", Text(256), nullable=False, doc="Letters and digits, upper case"),
    *_key(primary=False),
    Column("kind", Text(64), nullable=False),
    Column("value", Text(256), nullable=False, doc="As it is written"),
    Index("reference_token", "token"),
    Index("reference_entity", "tenant", "entity_type", "entity_id"),
)
"""Every name under which an entity may be looked for."""

reading = Table(
    "reading",
    metadata,
    Column("topic", Text(249), primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("read_to", BigInteger, nullable=False, doc="Everything appended until then is here, ms"),
    Column("behind", BigInteger, nullable=False, doc="Offsets not yet applied when last looked"),
)

sink = Table(
    "sink",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("state", Text(16), nullable=False),
    Column("detail", Text(1024), nullable=False),
    Column("since", BigInteger, nullable=False, doc="When this state began, ms UTC"),
    Column("heard", BigInteger, nullable=False, doc="When the sink last said so, ms UTC"),
)
"""One row: how the sink is, as far as it could tell the store."""

unreadable = Table(
    "unreadable",
    metadata,
    Column("topic", Text(249), primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("reason", Text(64), nullable=False),
    Column("detail", Text(512), nullable=False),
    Column("published", BigInteger, nullable=False),
    Column("key", LargeBinary),
    Column("value", LargeBinary),
)
"""Records that could not be decoded, byte for byte; they are tried again at each start."""

bundle = Table(
    "bundle",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", Text(64), nullable=False),
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
    try:
        version = _created(engine)
    except BaseException:
        engine.dispose()
        raise
    if version != VERSION:
        engine.dispose()
        raise StoreError(
            f"The portal's store is of version {version}, this program needs {VERSION}: empty or "
            f"remove {_shown(url)}, it is built anew from the topics"
        )
    return engine


def _created(engine: Engine) -> int:
    """Create what is missing; the version of what is there."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # there, two that create at once fail
            connection.execute(select(func.pg_advisory_xact_lock(_CREATING)))
        metadata.create_all(connection)
        first = upsert(connection.dialect, store).values(id=1, version=VERSION, changes=0)
        connection.execute(first.on_conflict_do_nothing())
        version: int = connection.execute(select(store.c.version)).scalar_one()
    return version


def take_turn(connection: Connection) -> None:
    """Wait until this transaction is the only one that writes; it is so until its end.

    On SQLite it is so from its begin.
    """
    connection.execute(select(store.c.id).with_for_update())


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
            "MILEPOST_PORTAL_DATABASE_URL, or see that the database is there, can be written and "
            "has room"
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
            f"MILEPOST_BOOTSTRAP_SERVERS, or empty or remove {_shown(url)} to build it anew"
        )


def _shown(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)
