"""Deciding the past again, on request: which control records that takes, and what they published.

Must never decide: the governor does, under the bundle that is in force in the partition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from pipeline.contract import names
from pipeline.governance.vocabulary import ControlKind
from pipeline.kafka.reading import Span
from pipeline.operations import steering
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.steering import Steered

Record = dict[str, Any]
ENTITIES_MAX: Final = 500
"""Entities that one control record names: a block of the ledger has to hold what follows."""


def controls(chosen: Mapping[int, Sequence[str]], by: str, why: str) -> list[Record]:
    """Control records for entities, by partition number."""
    return [
        steering.control(ControlKind.REDECIDE, number, by, why, entities=list(keys))
        for number, chosen_there in sorted(chosen.items())
        for keys in chunks(chosen_there)
    ]


def chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """Keys in portions that one control record may name."""
    for start in range(0, len(keys), ENTITIES_MAX):
        yield keys[start : start + ENTITIES_MAX]


def published(
    evidence: Evidence,
    done: Iterable[Steered],
    ledger_start: Mapping[int, int],
    approved_start: Mapping[int, int],
) -> list[Record]:
    """The approved records that re-decisions published, in order.

    Args:
        evidence: the topics.
        done: control records that the ledger shows.
        ledger_start: where the ledger ended before they were written.
        approved_start: where the approved records ended then.

    Raises:
        UnreachableError: Kafka or the registry is away.

    """
    causes = {(item.partition, item.entry.seq) for item in done if item.entry is not None}
    found: list[Record] = []
    for number in sorted({partition for partition, _ in causes}):
        revisions = {
            (row["milestone_id"], row["revision"])
            for block in _read(evidence, names.DECISIONS, number, ledger_start, "decision-block")
            for row in block["transitions"]
            if (number, row["cause"]) in causes
        }
        found += [
            record
            for record in _read(
                evidence, names.APPROVED, number, approved_start, "approved-milestone"
            )
            if (record["milestone_id"], record["revision"]) in revisions
        ]
    return found


def _read(
    evidence: Evidence, topic: str, number: int, start: Mapping[int, int], schema: str
) -> Iterator[Record]:
    span = evidence.span(topic, number)
    begin = max(span.start, start.get(number, 0))
    for record in evidence.records(topic, number, Span(begin, span.end)):
        yield evidence.decode(record.value, schema)
