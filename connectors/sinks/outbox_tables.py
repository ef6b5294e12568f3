"""Tables of the ERP sink's database.

Must never know how they are filled.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

METADATA: Final = MetaData()
_ID = BigInteger().with_variant(Integer(), "sqlite")

ENTRIES: Final = Table(
    "erp_entries",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("key", String(255), nullable=False, unique=True),
    Column("entity", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("milestone_id", String(64), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("posting", String(32), nullable=False),
    Column("endpoint", String(32), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("reference", String(255)),
    Column("body", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("turn", Integer),
    Column("reason", String(32), nullable=False),
    Column("words", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("maybe_booked", Boolean, nullable=False),
    Column("first_attempt_ms", BigInteger),
    Column("next_attempt_ms", BigInteger, nullable=False),
    Column("lease_until_ms", BigInteger, nullable=False, default=0),
    Column("epoch", BigInteger, nullable=False, default=0),
    Column("document", String(255), nullable=False, default=""),
    Column("created_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Index("erp_entries_entity", "entity", "turn"),
    Index("erp_entries_due", "state", "endpoint", "next_attempt_ms"),
)
"""One row per posting."""

STANDING: Final = Table(
    "erp_standing",
    METADATA,
    Column("milestone_id", String(64), primary_key=True),
    Column("entity", Text, nullable=False, index=True),
    Column("event_type", String(64), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("stands", Boolean, nullable=False),
    Column("assurance", String(16), nullable=False),
    Column("classifier", String(16), nullable=False),
)
"""The newest revision of each milestone: prerequisites, and what is a repeat."""

STORIES: Final = Table(
    "erp_stories",
    METADATA,
    Column("entity", Text, primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("split_by", Text, nullable=False, doc="Ids of milestones, comma-separated"),
)
"""Entities that began anew or were split; of others there is no row."""

ENDPOINTS: Final = Table(
    "erp_endpoints",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("closed_until_ms", BigInteger, nullable=False),
    Column("words", Text, nullable=False),
    Column("paused_until_ms", BigInteger, nullable=False, default=0),
    Column("paused_words", Text, nullable=False, default=""),
    Column("changed_ms", BigInteger, nullable=False),
)
"""What keeps an endpoint from being called: an outage noticed, a pause ordered."""

START: Final = Table(
    "erp_start",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("cluster_id", String(64), nullable=False),
    Column("cut_over_ms", BigInteger, nullable=False),
)
"""Written once, at the first start."""

SINK: Final = Table(
    "erp_sink",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("heard_ms", BigInteger, nullable=False),
)
"""One row: how the reading side is, as far as it could tell."""
