"""Steering partitions: control records written to the control topic, and what the ledger says of
them.

For operators and architects: hold a platform back, release it, say how far it is complete, decide
the past again. Must never judge what a control record does: the governor does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pipeline.contract import codec, names
from pipeline.governance.vocabulary import ControlKind, Disposition
from pipeline.kafka.clients import Outgoing, Position
from pipeline.operations import trail
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.trail import Entry

Record = dict[str, Any]
Deliver = Callable[[Sequence[Outgoing]], list[Position]]
"""Writes records and returns where they are, once Kafka has them."""
WAIT_S: Final = 30.0
_ASK_S: Final = 0.2
NOT_SHOWN: Final = (
    f"Written, but not everything was decided within {WAIT_S:g} s: is a governor running? It is"
    " decided when one does; ask again then."
)


class Steered(NamedTuple):
    """A control record that was written, and its entry of the ledger; None: not decided yet."""

    partition: int
    place: Position
    entry: Entry | None

    @property
    def applied(self) -> bool:
        """Whether the governor did what it says."""
        return self.entry is not None and self.entry.fate == Disposition.APPLIED

    def document(self) -> Record:
        """As one JSON value."""
        entry = self.entry
        return {
            "partition": self.partition,
            "offset": self.place.offset,
            "fate": None if entry is None else entry.fate,
            "reason": None if entry is None else entry.reason,
        }


def control(kind: ControlKind, partition: int, by: str, why: str, **told: Any) -> Record:
    """A control record, fields as in `schemas/control.avsc`."""
    return {
        "kind": kind.value,
        "partition": partition,
        "issued_by": by,
        "why": why,
        **told,
    }


def outgoing(records: Iterable[Record], schema_id: int) -> list[Outgoing]:
    """Control records as they are written, each to its partition."""
    schema = codec.committed("control")
    return [
        Outgoing(
            names.CONTROL,
            codec.encode(record, schema, schema_id),
            str(record["partition"]).encode(),
            partition=record["partition"],
        )
        for record in records
    ]


def steer(
    evidence: Evidence,
    records: Sequence[Record],
    schema_id: int,
    deliver: Deliver,
    *,
    wait_s: float = WAIT_S,
) -> list[Steered]:
    """Write control records and wait until the ledger of their partitions shows them.

    Args:
        evidence: the topics.
        records: as `control` makes them; writing none is fine.
        schema_id: registry id of the control schema.
        deliver: writes them.
        wait_s: for how long to wait for the ledger.

    Raises:
        DeliveryError: Kafka did not take them; doing it again is harmless.
        UnreachableError: Kafka or the registry is away.

    """
    start = ends_of(evidence)
    places = deliver(outgoing(records, schema_id)) if records else []
    found = await_decisions(evidence, places, start, wait_s=wait_s)
    return [Steered(place.partition, place, found.get(place)) for place in places]


def ends_of(evidence: Evidence, topic: str = names.DECISIONS) -> dict[int, int]:
    """Where each partition of a topic ends now; default: of the ledger.

    Raises:
        UnreachableError: Kafka is away.

    """
    return {number: evidence.span(topic, number).end for number in evidence.partitions(topic)}


def await_decisions(
    evidence: Evidence,
    places: Sequence[Position],
    start: Mapping[int, int],
    *,
    wait_s: float = WAIT_S,
) -> dict[Position, Entry]:
    """What became of input records, once all are decided or the time is up.

    Args:
        evidence: the topics.
        places: where the records were written.
        start: ends of the ledger's partitions before they were.
        wait_s: for how long to wait.

    Raises:
        UnreachableError: Kafka or the registry is away.

    """
    limit = time.monotonic() + wait_s
    while True:
        found = trail.decided(evidence, places, start)
        if len(found) == len(set(places)) or time.monotonic() > limit:
            return found
        time.sleep(_ASK_S)
