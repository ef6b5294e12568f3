"""Repaired dead letters: sent through under the key of what they are about now, and shown.

Must never edit one: `pipeline.operations.repairs` does.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

from connectors.addressing import Addressing, UnaddressableError
from pipeline.cli.listing import terminal_width, wrapped
from pipeline.cli.surroundings import surroundings
from pipeline.contract import names
from pipeline.kafka import bundles, clients
from pipeline.kafka.registry import Registry
from pipeline.operations import repairs
from pipeline.operations.repairs import Repair
from pipeline.settings import Settings


def send(sent: list[Repair], by: str, why: str) -> str:
    """Send edited events through.

    Returns:
        How their replay is named.

    Raises:
        DeliveryError: Kafka did not acknowledge; do it again, repeats are recognised.
        UnreachableError: Kafka or the registry is away.

    """
    settings, where = surroundings()
    key_of = _keys(settings, where.bootstrap)
    identity = str(uuid.uuid4())
    with Registry.of(settings, where.registry_url) as registry:
        outgoing = []
        for item in sent:
            number = registry.id_for(names.subject(item.letter.origin.topic), "raw-event")
            key = key_of(item.event or {}, item.letter.key)
            outgoing.append(repairs.outgoing(item, key, number, identity, by, why))
    clients.deliver(clients.producer(settings, where.bootstrap), outgoing)
    return identity


def _keys(
    settings: Settings, bootstrap: str
) -> Callable[[dict[str, Any], bytes | None], bytes | None]:
    """Key of an edited event: of the entity it is about now; as it was where nobody can tell."""
    bundle = bundles.in_force(settings, bootstrap)
    addressing = None if bundle is None else Addressing(bundle)

    def key_of(event: dict[str, Any], before: bytes | None) -> bytes | None:
        if addressing is None:
            return before
        try:
            return addressing.address(event).key
        except UnaddressableError:
            return before

    return key_of


def told(found: list[Repair], sent: int, identity: str) -> Iterator[str]:
    """What was, or would be, edited, line by line."""
    width = terminal_width()
    noun = "dead letter" if sent == 1 else "dead letters"
    yield f"{sent} {noun} {'repaired and sent through' if identity else 'would be repaired'}."
    for item in found:
        key = (item.letter.key or b"").decode("utf-8", "replace")
        named = item.event["event_id"] if item.event else key
        yield f"  {item.letter.name}  {named}"
        for field, before, after in item.changes:
            yield from wrapped(f"{field}: {before} → {after}", "      ", width)
        if item.why:
            yield from wrapped(f"left out: {item.why}", "      ", width)
    if identity:
        yield f"Replay {identity}. `milepost dead-letters list` tells what becomes of them."
    elif sent:
        yield "Nothing was sent. Add --go and --why to do it."
