"""Faults of logs: retention runs out under a stopped group, and idle positions are forgotten."""

from __future__ import annotations

from random import Random

from arena import SLOTS, Arena
from confluent_kafka import OFFSET_INVALID, Consumer, TopicPartition
from governed_stack import GARBAGE, PARTITIONS, until
from neighbours import shipment_on

from pipeline.contract import names

IDLE = 0
"""Partition of the replay topic that is idle but for one test."""
EXPIRY_S = 150


def retention_runs_out(arena: Arena, roll: Random) -> None:
    """What a stopped group has not read is removed: told by name, and the rest is decided."""
    number = roll.randrange(IDLE + 1, PARTITIONS)
    key = arena.key(shipment_on(arena, number))
    last = arena.put_stranger(names.REPLAY, key, GARBAGE)
    arena.fate_of(last)
    arena.stop_governors()
    places = [arena.put_stranger(names.REPLAY, key, GARBAGE) for _ in range(5)]
    arena.forget(names.REPLAY, number, places[3][2])
    arena.lost.add((names.REPLAY, number, places[0][2]))
    for slot in SLOTS:
        arena.governors[slot].start()
    for place in places[3:]:
        arena.fate_of(place)
    verdicts = arena.witness.verdicts[names.REPLAY, number]
    assert not any(place[2] in verdicts for place in places[:3])
    first, behind = places[0][2], places[3][2]
    assert (names.REPLAY, number, first, behind, "RETENTION") in arena.witness.gaps
    gone = f'"first": {first}, "next": {behind}'
    assert any("input_gap" in g.log() and gone in g.log() for g in arena.governors.values())


def input_stays_idle(arena: Arena, _roll: Random) -> None:
    """An input is idle for longer than the broker keeps its offsets: nothing is read again."""
    asking = Consumer({"bootstrap.servers": arena.bootstrap, "group.id": arena.group})
    try:
        until(lambda: _forgotten(asking), EXPIRY_S, "the end of idle offsets")
    finally:
        asking.close()
    for slot in SLOTS:
        arena.governors[slot].kill_worker()
    arena.heal()  # a worker that another fault left without a supervisor is started by nobody else
    arena.fate_of(begin_to_idle(arena))


def begin_to_idle(arena: Arena) -> tuple[str, int, int]:
    """Write one record to the input that is to be idle from then on; its place."""
    return arena.put_stranger(names.REPLAY, arena.key(shipment_on(arena, IDLE)), GARBAGE)


def _forgotten(asking: Consumer) -> bool:
    (found,) = asking.committed([TopicPartition(names.REPLAY, IDLE)], timeout=10)
    return found.offset == OFFSET_INVALID
