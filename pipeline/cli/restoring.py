"""State of partitions as their changelog has it, for commands that look into it.

Read committed, up to the end of the newest batch that is there in full. Must never change a state
that a governor uses: what is restored here is a copy.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.contract import names
from pipeline.operations.proof.evidence import Evidence
from pipeline.streams.state import PARTITION_KEY, PartitionState


def restored(evidence: Evidence) -> Iterator[PartitionState]:
    """The state of each partition, in order of their numbers.

    Raises:
        UnreachableError: Kafka is away.
        ValueError: a newer Milepost wrote it.

    """
    for number in evidence.partitions(names.CHANGELOG):
        yield PartitionState.restore(number, changelog(evidence, number))


def changelog(evidence: Evidence, partition: int) -> dict[bytes, bytes]:
    """The newest value of each key of a partition's changelog, as one batch left them.

    A batch ends with the partition's own record: what lies behind the last one is of a batch whose
    end has not been read.
    """
    kept: dict[bytes, bytes] = {}
    pending: dict[bytes, bytes | None] = {}
    span = evidence.span(names.CHANGELOG, partition)
    for record in evidence.records(names.CHANGELOG, partition, span):
        key = record.key or b""
        pending[key] = record.value
        if key == PARTITION_KEY:
            for name, value in pending.items():
                if value is None:
                    kept.pop(name, None)
                else:
                    kept[name] = value
            pending.clear()
    return kept
