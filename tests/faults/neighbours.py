"""Good records beside others, and how long they wait for their verdict.

Measured from the append of the record to the append of its ledger block, both by the broker: no
clock of ours counts, nor how busy a reader is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from arena import Arena
from governed_stack import PARTITIONS, TMS

from pipeline.contract import codec, names
from pipeline.governance.identity import partition_of
from pipeline.kafka.reading import LogReader, Span

GOOD = ("approved", "owner_spoke")
Place = tuple[str, int, int]


def raw(arena: Arena, shipment: str) -> bytes:
    """A good record: North America's TMS says that a shipment was delivered."""
    event = arena.event(shipment, "DELIVERED", stop={"location": "C-ATL"})
    return codec.encode(event, codec.committed("raw-event"), arena.raw_id(TMS))


def shipment_on(arena: Arena, number: int) -> str:
    """A new shipment that lives on a partition."""
    while True:
        name = arena.name()
        if partition_of(arena.key(name), PARTITIONS) == number:
            return name


def neighbour(arena: Arena, number: int) -> Place:
    """Write a good record to a partition; its place."""
    shipment = shipment_on(arena, number)
    return arena.put_stranger(TMS, arena.key(shipment), raw(arena, shipment))


def approved(arena: Arena, places: Iterable[Place]) -> None:
    """Wait until these records are decided about, and see that they were found good."""
    for place in places:
        fate = arena.fate_of(place)
        assert fate == GOOD, (place, fate)


class Waits:
    """How long records wait that are written from now on."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._from = {n: arena.witness.next[names.DECISIONS, n] for n in range(PARTITIONS)}

    def of(self, places: Collection[Place]) -> dict[Place, int]:
        """Milliseconds from the append of each record to that of its verdict."""
        with LogReader(self._arena.settings, self._arena.bootstrap) as reader:
            appended = {}
            for topic in {topic for topic, _, _ in places}:
                spans = _around([place for place in places if place[0] == topic])
                for record in reader.read(topic, spans):
                    appended[topic, record.partition, record.offset] = record.timestamp_ms
            decided = self._decided(reader)
        return {place: decided[place] - appended[place] for place in places}

    def _decided(self, reader: LogReader) -> dict[Place, int]:
        """Append times of verdicts."""
        spans = {
            number: Span(first, reader.settled(names.DECISIONS, number).end)
            for number, first in self._from.items()
        }
        decided = {}
        for record in reader.read(names.DECISIONS, spans):
            block = codec.decode(record.value, codec.committed("decision-block"))
            for row in block["decisions"]:
                topic = block["inputs"][row["input"]]["topic"]
                decided[topic, record.partition, row["offset"]] = record.timestamp_ms
        return decided


def _around(places: Collection[Place]) -> dict[int, Span]:
    by_number: dict[int, list[int]] = {}
    for _, number, offset in places:
        by_number.setdefault(number, []).append(offset)
    return {n: Span(min(offsets), max(offsets) + 1) for n, offsets in by_number.items()}
