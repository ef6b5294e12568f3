"""Faults of the schema registry: away, slow, wrong, while workers run and while they start."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable
from random import Random

from arena import SLOTS, Arena, lasts
from governed_stack import TMS, until

from pipeline.contract import codec, names

KINDS = ("down", "slow", "404", "500")
APPROVED = ("approved", "owner_spoke")


def _spoil(arena: Arena, kind: str) -> None:
    gate = arena.gate
    if kind == "slow":
        gate.slow_s = 2.0
        return
    gate.status = {"down": 0, "404": 404, "500": 500}[kind]
    gate.closed = True


def while_running(kind: str) -> Callable[[Arena, Random], None]:
    """What is known flows on, and a record under a new schema waits: a 404 that is no registry's
    answer is an outage as well."""

    def act(arena: Arena, roll: Random) -> None:
        number, schema = _newer(arena)
        shipment = arena.name()
        event = arena.event(shipment, "DELIVERED", stop={"location": "C-ATL"})
        value = codec.encode(event | {"x_new": "?"}, schema, number)
        _spoil(arena, kind)
        place = arena.put_stranger(TMS, arena.key(shipment), value)
        lasts(roll.uniform(0.2, 2.0))
        arena.more(50)
        arena.gate.closed, arena.gate.slow_s = False, 0.0
        assert arena.fate_of(place) == APPROVED

    return act


def at_start(kind: str) -> Callable[[Arena, Random], None]:
    """No worker runs, and those that start can't reach the registry for a while."""

    def act(arena: Arena, roll: Random) -> None:
        arena.stop_governors()
        _spoil(arena, kind)
        arena.gate.asked.clear()
        for slot in SLOTS:
            arena.governors[slot].start()
        until(lambda: len(arena.gate.asked) >= len(SLOTS), 30, "a question to the registry")
        lasts(roll.uniform(0.2, 1.5))

    return act


def _newer(arena: Arena):
    """Register the raw event with one more field; its id, and the schema to write with."""
    definition = copy.deepcopy(codec.definition("raw-event"))
    definition["fields"] += [
        {"name": name, "type": ["null", "string"], "doc": "More", "default": None}
        for name in ("x_new", f"x_{uuid.uuid4().hex[:8]}")
    ]
    number = arena.registry.register(names.subject(TMS), definition)
    return number, codec.parse(definition)
