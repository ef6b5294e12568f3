"""Faults of records: poison in every form, the same again and late, in no order."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from statistics import median
from typing import NamedTuple

from arena import SLOTS, Arena
from deadly_record import DECODER, HAS_PLAIN, MARK, PLAIN
from governed_stack import PARTITIONS, TMS
from neighbours import GOOD, Place, Waits, approved, neighbour, raw, shipment_on

from pipeline.contract import codec, names

DEEP = b"\2" * 5_000 + b"\0"
"""Five thousand levels, under a schema that refers to itself."""
MANY = b"\2\x80\xe1\xeb\x17\0"
"""Thirty million items without a size, in six bytes."""
WINDOW = 1_000
DELAY_MS = 1_000
"""By how much a poison record may delay its neighbours."""
TRIES = 3
"""A delay that poison causes is there each time; that of a busy machine is not."""
DEATHS = 2
CALM, BESIDE_POISON, BESIDE_DEATH = "good ones", "poison", "one that kills the decoder"


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
    """One of each kind on every partition: kept with their reason, their neighbours not delayed."""
    suspects = set(POISONS)
    for _ in range(TRIES):
        suspects = _slow_beside(arena, roll, sorted(suspects))
        if not suspects:
            return
    raise AssertionError(f"good records wait longer beside {suspects}: {arena.waits_ms}")


def _slow_beside(arena: Arena, roll: Random, kinds: list[str]) -> set[str]:
    """Kinds of poison beside which good records wait too long, compared with good ones alone."""
    waits = Waits(arena)
    calm = [neighbour(arena, number) for number in range(PARTITIONS) for _ in range(2)]
    approved(arena, calm)
    beside = {kind: _beside(arena, roll, POISONS[kind]) for kind in kinds}
    waited_ms = waits.of([*calm, *(place for places in beside.values() for place in places)])
    usual_ms = [waited_ms.pop(place) for place in calm]
    arena.waits_ms[CALM] += usual_ms
    arena.waits_ms[BESIDE_POISON] += waited_ms.values()
    limit_ms = median(usual_ms) + DELAY_MS
    return {
        kind
        for kind, places in beside.items()
        if any(waited_ms[place] > limit_ms for place in places)
    }


def _beside(arena: Arena, roll: Random, kind: Poison) -> list[Place]:
    """Write poison between two good records on every partition, which are decided like all others.

    Returns:
        Where the good ones are.

    """
    good, bad = [], []
    for number in range(PARTITIONS):
        good.append(neighbour(arena, number))
        shipment = shipment_on(arena, number)
        value = kind.spoil(raw(arena, shipment), roll, arena)
        bad.append(arena.put_stranger(TMS, arena.key(shipment), value))
        good.append(neighbour(arena, number))
    for place in bad:
        fate, reason = arena.fate_of(place)
        assert fate == "dead_lettered", (place, fate)
        assert reason in kind.reasons, (place, reason)
    approved(arena, good)
    return good


def kills_the_decoder(arena: Arena, roll: Random) -> None:
    """A record that the decoder dies of twice goes undecoded to the dead letter; all goes on."""
    fate = _deadly(arena, roll, DECODER)
    assert fate == ("dead_lettered", "decoder_died")


def kills_the_plain_path(arena: Arena, roll: Random) -> None:
    """A record that only the plain path dies of is judged without it."""
    assert _deadly(arena, roll, PLAIN) == GOOD


def _deadly(arena: Arena, roll: Random, what: str) -> tuple[str, str]:
    """Write a record that governors die of between two good ones; what became of it.

    Under supervisors, both of them: its neighbours wait for their restarts, which the report tells.
    """
    arena.stop_governors()
    governors = [arena.governors[slot] for slot in SLOTS]
    for governor in governors:
        spoiled = arena.spoiled_supervisor("deadly_record.py", what)
        governor.start(spoiled, supervised=True, MILEPOST_PURE="" if HAS_PLAIN else "1")
    for governor in governors:
        governor.govern()
    begun, waits = [governor.logged for governor in governors], Waits(arena)
    number = roll.randrange(PARTITIONS)
    good = [neighbour(arena, number)]
    shipment = shipment_on(arena, number)
    event = arena.event(
        shipment,
        "DELIVERED",
        event_id=f"{MARK.decode()}-{shipment}",
        stop={"location": "C-ATL"},
    )
    value = codec.encode(event, codec.committed("raw-event"), arena.raw_id(TMS))
    place = arena.put_stranger(TMS, arena.key(shipment), value)
    good.append(neighbour(arena, number))
    fate = arena.fate_of(place)
    approved(arena, good)
    deaths = [
        governor.log(since).count("was ended by SIGSEGV")
        for governor, since in zip(governors, begun, strict=True)
    ]
    assert max(deaths) == DEATHS, deaths
    arena.waits_ms[BESIDE_DEATH] += waits.of(good).values()
    for governor in governors:
        governor.start()
    return fate


def repeat(arena: Arena, roll: Random) -> None:
    """A part of what was sent within the last minutes is sent again by whoever sent it."""
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
