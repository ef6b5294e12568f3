"""The audit trail: the ledger's blocks exploded into rows, with the fate each claim has now.

Read from the topics; answers what was decided about an entity, an event or a platform's claims, and
why something isn't there. Must never write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pipeline.contract import codec, names
from pipeline.governance.identity import partition_of
from pipeline.governance.reasons import MEANINGS, Reason
from pipeline.kafka.clients import Position
from pipeline.kafka.reading import Stored, partitions_of, read_to_end
from pipeline.settings import Settings

Record = dict[str, Any]


class Entry(NamedTuple):
    """One input record and what became of it: a verdict, then transitions; times ms UTC."""

    partition: int
    seq: int
    topic: str
    offset: int
    published_ms: int
    policy_version: str
    verdict: Record
    transitions: list[Record]

    @property
    def fate(self) -> str:
        """What it is now: the last transition's, else the verdict's."""
        return str(self.transitions[-1]["after"] if self.transitions else self._now("disposition"))

    @property
    def reason(self) -> str:
        """Why it is that."""
        return str(self.transitions[-1]["reason"] if self.transitions else self._now("reason"))

    @property
    def event_type(self) -> str:
        """What it said, once that was known; empty if it never was."""
        return str(self.transitions[-1]["event_type"] if self.transitions else "") or str(
            self.verdict["event_type"]
        )

    def _now(self, name: str) -> Any:
        return self.verdict[name]

    def document(self) -> Record:
        """As one JSON value."""
        return {
            "ledger": {"partition": self.partition, "seq": self.seq},
            "raw": {"topic": self.topic, "partition": self.partition, "offset": self.offset},
            "published": self.published_ms,
            "policy_version": self.policy_version,
            "fate": self.fate,
            "reason": self.reason,
            "meaning": MEANINGS[Reason(self.reason)].text,
            **{name: value for name, value in self.verdict.items() if name != "digest"},
            "digest": self.verdict["digest"].hex(),
            "transitions": self.transitions,
        }


class Story(NamedTuple):
    """Everything about one entity or event."""

    entries: list[Entry]
    approved: list[Record]


def entries(
    settings: Settings,
    bootstrap: str,
    wanted: Callable[[Record], bool],
    *,
    partitions: Iterable[int] | None = None,
    start: Mapping[int, int] | None = None,
) -> list[Entry]:
    """Ledger entries whose verdict is wanted, in order of partition and sequence.

    Args:
        settings: security settings pass through.
        bootstrap: bootstrap servers.
        wanted: asked for each verdict, a row of `schemas/decision-block.avsc`.
        partitions: only these; default: all.
        start: first offset of the ledger by partition; default: all of it.

    Raises:
        UnreachableError: Kafka is away.

    """
    schema = codec.committed("decision-block")
    found: dict[tuple[int, int], Entry] = {}
    for record in read_to_end(
        settings, bootstrap, names.DECISIONS, partitions=partitions, start=start
    ):
        block = codec.decode(record.value or b"", schema)
        for entry in _explode(record, block):
            if wanted(entry.verdict):
                found[entry.partition, entry.seq] = entry
        for row in block["transitions"]:
            entry_then = found.get((record.partition, row["seq"]))
            if entry_then is not None:
                entry_then.transitions.append({**row, "published": record.timestamp_ms})
    return list(found.values())


def _explode(record: Stored, block: Record) -> Iterator[Entry]:
    for place, row in enumerate(block["decisions"]):
        topic = block["inputs"][row["input"]]["topic"]
        verdict = {name: value for name, value in row.items() if name not in {"input", "offset"}}
        yield Entry(
            record.partition,
            block["first_seq"] + place,
            topic,
            row["offset"],
            record.timestamp_ms,
            block["policy_version"],
            verdict,
            [],
        )


def story(settings: Settings, bootstrap: str, name: str) -> Story:
    """Everything about an entity or an event.

    Args:
        settings: security settings pass through.
        bootstrap: bootstrap servers.
        name: an entity's key (`acme/shipment/S1`), its bare id, or a source event id.

    Raises:
        UnreachableError: Kafka is away.

    """
    numbers = _partitions(settings, bootstrap, name)
    tail = f"/{name.casefold()}"

    def wanted(row: Record) -> bool:
        entity = row["entity"].casefold()
        known = entity == name.casefold() or entity.endswith(tail)
        return known or bool(row["claim"] == name)

    found = entries(settings, bootstrap, wanted, partitions=numbers)
    keys = {entry.verdict["entity"] for entry in found}
    schema = codec.committed("approved-milestone")
    approved = []
    for record in read_to_end(settings, bootstrap, names.APPROVED, partitions=numbers):
        if record.key is not None and record.key.decode() in keys:
            body = codec.decode(record.value or b"", schema)
            approved.append({**body, "published": record.timestamp_ms})
    return Story(found, approved)


def claims(settings: Settings, bootstrap: str, platform: str, since_ms: int) -> list[Entry]:
    """A platform's own claims received since a time, and what became of them.

    Raises:
        UnreachableError: Kafka is away.

    """
    return entries(
        settings,
        bootstrap,
        lambda row: bool(row["platform"] == platform and row["received"] >= since_ms),
    )


def decided(
    settings: Settings, bootstrap: str, sent: Iterable[Position], start: Mapping[int, int]
) -> dict[Position, Entry]:
    """Ledger entries of raw records, as far as they are decided.

    Args:
        settings: security settings pass through.
        bootstrap: bootstrap servers.
        sent: where the records were written.
        start: ends of the ledger's partitions before they were.

    Raises:
        UnreachableError: Kafka is away.

    """
    places = set(sent)
    numbers = sorted({place.partition for place in places})
    found = entries(settings, bootstrap, lambda _: True, partitions=numbers, start=start)
    return {
        place: entry
        for entry in found
        if (place := Position(entry.topic, entry.partition, entry.offset)) in places
    }


def _partitions(settings: Settings, bootstrap: str, name: str) -> list[int]:
    numbers = partitions_of(settings, bootstrap, names.DECISIONS)
    if name.count("/") == 2 and numbers:
        return [partition_of(name.encode(), len(numbers))]
    return numbers
