"""Faults of records: poison in every form, the same again and late, in no order."""

from __future__ import annotations

import signal
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from arena import SLOTS, Arena
from deadly_record import MARK
from governed_stack import PARTITIONS, TMS

from pipeline.contract import codec, names
from pipeline.governance.identity import partition_of

DEEP = b"\2" * 5_000 + b"\0"
"""Five thousand levels, under a schema that refers to itself."""
MANY = b"\2\x80\xe1\xeb\x17\0"
"""Thirty million items without a size, in six bytes."""
WINDOW = 1_000
CRASHED = 128 + signal.SIGSEGV


class Poison(NamedTuple):
    """What is done to a good value, and what is said of it."""

    spoil: Callable[[bytes, Random, Arena], bytes]
    reasons: frozenset[str]


def _under(name: str, field: object, tail: bytes) -> Callable[[bytes, Random, Arena], bytes]:
    """The value under a schema that has one more field, with bytes of such a field."""

    def spoil(value: bytes, _roll: Random, arena: Arena) -> bytes:
        return b"\0" + arena.schema_with(name, field).to_bytes(4, "big") + value[5:] + tail

    return spoil


_SELF = {
    "type": "record",
    "name": "Deep",
    "fields": [{"name": "inner", "type": ["null", "Deep"], "default": None}],
}
POISONS = {
    "random bytes": Poison(lambda _v, r, _a: r.randbytes(r.randint(1, 400)), frozenset(
        {"undecodable", "unknown_schema", "schema_not_allowed", "trailing_bytes"})),
    "bad magic": Poison(lambda v, _r, _a: b"\1" + v[1:], frozenset({"undecodable"})),
    "unknown id": Poison(
        lambda v, r, _a: b"\0" + r.randint(10_000, 2**31 - 1).to_bytes(4, "big") + v[5:],
        frozenset({"unknown_schema"})),
    "wrong subject": Poison(
        lambda v, _r, a: b"\0" + a.registry.id_for(
            names.subject(names.LINKS), "link").to_bytes(4, "big") + v[5:],
        frozenset({"schema_not_allowed"})),
    "truncated": Poison(lambda v, r, _a: v[: r.randint(5, len(v) - 1)], frozenset({"undecodable"})),
    "trailing bytes": Poison(lambda v, r, _a: v + r.randbytes(3), frozenset({"trailing_bytes"})),
    "deep recursion": Poison(
        _under("deep", ["null", _SELF], DEEP), frozenset({"schema_not_allowed"})),
    "items without size": Poison(
        _under("many", ["null", {"type": "array", "items": "null"}], MANY),
        frozenset({"schema_not_allowed"})),
    "oversized": Poison(lambda v, _r, _a: v + bytes(300_000), frozenset({"record_too_large"})),
}  # fmt: skip


def poison(arena: Arena, roll: Random) -> None:
    """One of each kind on every partition: kept with their reason, neighbours are decided."""
    given: dict[tuple, frozenset[str]] = {}
    for spoil, reasons in POISONS.values():
        for number in range(PARTITIONS):
            shipment = shipment_on(arena, number)
            value = spoil(_raw(arena, shipment), roll, arena)
            given[arena.put_stranger(TMS, arena.key(shipment), value)] = reasons
    for place, reasons in given.items():
        fate, reason = arena.fate_of(place)
        assert fate == "dead_lettered", (place, fate)
        assert reason in reasons, (place, reason)


def kills_the_decoder(arena: Arena, _roll: Random) -> None:
    """A record that the decoder dies of twice goes undecoded to the dead letter; all goes on."""
    arena.stop_governors()
    governor, shipment = arena.governors[SLOTS[0]], arena.name()
    event = arena.event(shipment, "DELIVERED", event_id=f"{MARK.decode()}-{shipment}")
    value = codec.encode(event, codec.committed("raw-event"), arena.raw_id(TMS))
    place = arena.put_stranger(TMS, arena.key(shipment), value)
    for _ in range(2):
        governor.start(arena.spoiled("deadly_record.py"), MILEPOST_PURE="1")
        assert governor.wait() == CRASHED, governor.said()
    governor.start(arena.spoiled("deadly_record.py"), MILEPOST_PURE="1")
    assert arena.fate_of(place) == ("dead_lettered", "undecodable")


def repeat(arena: Arena, roll: Random) -> None:
    """What was sent before is sent again, most of it about days ago, by whoever sent it."""
    recent = list(arena.traffic.recent)
    for record in roll.sample(recent, min(len(recent), 300)):
        arena.traffic.send(record)


def shuffle(arena: Arena, _roll: Random) -> None:
    """What comes next comes out of order, within a window of a thousand."""
    arena.traffic.shuffle(WINDOW)
    arena.more(WINDOW)


def burst(arena: Arena, _roll: Random) -> None:
    """Ten seconds' worth of events come at once."""
    arena.traffic.at_once(1_500)
    arena.more(1_500)


def _raw(arena: Arena, shipment: str) -> bytes:
    event = arena.event(shipment, "DELIVERED", stop={"location": "C-ATL"})
    return codec.encode(event, codec.committed("raw-event"), arena.raw_id(TMS))


def shipment_on(arena: Arena, number: int) -> str:
    """A new shipment that lives on a partition."""
    while True:
        name = arena.name()
        if partition_of(arena.key(name), PARTITIONS) == number:
            return name
