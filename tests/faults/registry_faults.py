"""Faults of the schema registry: away, slow, wrong, while workers run and while they start."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable
from random import Random

from arena import SLOTS, Arena, lasts
from governed_stack import TMS, until

from pipeline.contract import codec, names

KINDS = ("down", "404", "500", "slow")
APPROVED = ("approved", "owner_spoke")


def _spoil(arena: Arena, kind: str) -> None:
    gate = arena.gate
    gate.closed, gate.slow_s = False, 0.0
    if kind == "slow":
        gate.slow_s = 1.0
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


def at_start(arena: Arena, _roll: Random) -> None:
    """No worker runs, and those that start find a registry that is wrong in every way in turn."""
    arena.stop_governors()
    for kind in KINDS:
        _spoil(arena, kind)
        arena.gate.asked.clear()
        for slot in SLOTS:
            if not arena.governors[slot].running:
                arena.governors[slot].start()
        until(lambda: len(arena.gate.asked) >= len(SLOTS), 30, "questions to the registry")


def _newer(arena: Arena):
    """Register the raw event with one more field; its id, and the schema to write with."""
    definition = copy.deepcopy(codec.definition("raw-event"))
    definition["fields"] += [
        {"name": name, "type": ["null", "string"], "doc": "More", "default": None}
        for name in ("x_new", f"x_{uuid.uuid4().hex[:8]}")
    ]
    number = arena.registry.register(names.subject(TMS), definition)
    return number, codec.parse(definition)
