"""Where the simulated platforms send their records: topic, key, partition, and the bytes.

Each platform produces by itself, so what is spoiled or misplaced here is what arrives. Must never
send anything.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

from connectors.simulation.noise import STRANGER
from connectors.simulation.platforms import TMS_NA
from connectors.simulation.statement import Record, Spoiling, Statement
from connectors.simulation.world import TENANT
from pipeline.contract import codec
from pipeline.contract.bundle import Bundle
from pipeline.governance.identity import entity_key, normalise, partition_of, reference_key

FOREIGN_SCHEMA_ID: Final = 987_654
TRAILING: Final = b"\x00\x00EOF"


class Addresses:
    """Topics and spellings of one bundle's platforms."""

    def __init__(self, bundle: Bundle) -> None:
        self._topics = {row.name: row.topics[0] for row in bundle.platforms if row.topics}
        self._topics[STRANGER] = self._topics[TMS_NA]
        self._rules = {row.name: row.ids for row in bundle.platforms}

    @property
    def topics(self) -> frozenset[str]:
        """All raw topics that are written to."""
        return frozenset(self._topics.values())

    def topic(self, statement: Statement) -> str:
        """Raw topic that a platform writes to."""
        return self._topics[statement.platform]

    def key(self, statement: Statement) -> bytes:
        """Key of the record: the entity as the bundle spells it, or the reference."""
        event = statement.event
        if event["entity_id"] is None:
            named = event["reference"]
            text = reference_key(TENANT, named["kind"], named["scope"], named["value"])
        else:
            kind = event["entity_type"]
            rules: Any = self._rules.get(statement.platform, {}).get(kind, ["trim"])
            text = entity_key(TENANT, kind, normalise(event["entity_id"], rules))
        return text.encode()

    def partition(self, statement: Statement, partitions: int) -> int:
        """Where it is sent: by murmur2, or by CRC32 as librdkafka does if nobody sets it right."""
        key = self.key(statement)
        return zlib.crc32(key) % partitions if statement.stray else partition_of(key, partitions)


def encode(statement: Statement, schema_id: int) -> bytes:
    """The bytes that are sent.

    Args:
        statement: spoiled on the way, if it says so.
        schema_id: registry id of the raw event's schema on its topic.

    """
    record: Record = statement.event
    foreign = statement.spoiling is Spoiling.FOREIGN_SCHEMA
    value = codec.encode(
        record, codec.committed("raw-event"), FOREIGN_SCHEMA_ID if foreign else schema_id
    )
    if statement.spoiling is Spoiling.NOISE:
        return b"<html><body>502 Bad Gateway</body></html>"
    if statement.spoiling is Spoiling.CUT:
        return value[: len(value) // 2]
    if statement.spoiling is Spoiling.TRAILING:
        return value + TRAILING
    return value
