"""Which bundle is in force where: told by the control topic, shown by the ledger.

Reads only: must never activate one.
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.contract import codec, names
from pipeline.kafka import bundles
from pipeline.kafka.reading import partitions_of, read_to_end
from pipeline.settings import Settings


class PartitionPolicy(NamedTuple):
    """One partition's bundle: the one activated last, and the one its newest block used."""

    partition: int
    activated: str
    in_force: str
    written_ms: int
    by: str


def status(settings: Settings, bootstrap: str) -> list[PartitionPolicy]:
    """Every partition's bundle.

    Raises:
        UnreachableError: Kafka is away.

    """
    told = {item.partition: item for item in bundles.activations(settings, bootstrap)}
    shown: dict[int, str] = {}
    schema = codec.committed("decision-block")
    for record in read_to_end(settings, bootstrap, names.DECISIONS):
        block = codec.decode(record.value or b"", schema)
        shown[record.partition] = block["policy_version"]
    rows = []
    for number in partitions_of(settings, bootstrap, names.CONTROL):
        item = told.get(number)
        rows.append(
            PartitionPolicy(
                number,
                "" if item is None else item.version,
                shown.get(number, ""),
                0 if item is None else item.written_ms,
                "" if item is None else item.by,
            )
        )
    return rows
