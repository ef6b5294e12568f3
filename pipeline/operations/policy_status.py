"""Which bundle is in force where: told by the control topic, shown by the ledger.

Reads only: must never activate one.
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.contract import names
from pipeline.kafka import bundles
from pipeline.kafka.decoding import Decoder
from pipeline.kafka.reading import LogReader


class PartitionPolicy(NamedTuple):
    """One partition's bundle: the one activated last, and the one its newest block used."""

    partition: int
    activated: str
    in_force: str
    written_ms: int
    by: str


def status(reader: LogReader, decoder: Decoder) -> list[PartitionPolicy]:
    """Every partition's bundle.

    Raises:
        UnreachableError: Kafka or the registry is away.

    """
    told = bundles.newest_activations(reader)
    shown = {
        number: decoder.decode(record.value, "decision-block")["policy_version"]
        for number, record in reader.newest(names.DECISIONS).items()
    }
    rows = []
    for number in reader.partitions(names.CONTROL):
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
