"""`milepost send`: raw events to the running stack, and what became of each.

Must never judge an event: the governor does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from connectors.addressing import Addressing, UnaddressableError
from pipeline.cli.events import read_events
from pipeline.cli.listing import iso
from pipeline.cli.surroundings import explained, inspected, surroundings
from pipeline.cli.terminal import FOUND, WRONG_USE, Json, document, fail
from pipeline.contract import codec, names
from pipeline.contract.bundle import Bundle
from pipeline.governance.vocabulary import Disposition
from pipeline.kafka import bundles, clients
from pipeline.kafka.registry import Registry
from pipeline.operations import steering
from pipeline.operations.proof.evidence import TopicEvidence
from pipeline.operations.trail import Entry

Record = dict[str, Any]
commands = typer.Typer(no_args_is_help=True)


@commands.command()
def send(
    file: Annotated[Path, typer.Argument(help="JSON: one raw event, or a list in order.")],
    *,
    as_json: Json = False,
) -> None:
    """Send raw events to the running stack and show what became of each."""
    events = read_events(file)
    with explained(), inspected() as evidence:
        settings, where = surroundings()
        bundle = bundles.in_force(settings, where.bootstrap)
        if bundle is None:
            fail("No policy bundle is in force: run `milepost policy publish`", FOUND)
        govern(evidence, bundle, events, what=str(file), as_json=as_json)


def govern(
    evidence: TopicEvidence, bundle: Bundle, events: list[Record], *, what: str, as_json: bool
) -> None:
    """Send raw events where they belong, wait, and show what became of each.

    Args:
        evidence: the topics.
        bundle: in force; it says where they belong.
        events: in order.
        what: where they come from, for messages.
        as_json: whether to show one document.

    Raises:
        DeliveryError: Kafka did not take them.
        UnreachableError: Kafka or the registry is away.
        typer.Exit: an event can't be sent anywhere, or is not decided in time.

    """
    entries = judged(evidence, bundle, events, what=what)
    if as_json:
        document({"events": [None if e is None else e.document() for e in entries]})
    else:
        for event, entry in zip(events, entries, strict=True):
            typer.echo(shown(event, entry))
    check_decided(entries)


def judged(
    evidence: TopicEvidence, bundle: Bundle, events: list[Record], *, what: str
) -> list[Entry | None]:
    """Send raw events where they belong, and wait for what becomes of each; None: not decided.

    Args:
        evidence: the topics.
        bundle: in force; it says where they belong.
        events: in order.
        what: where they come from, for messages.

    Raises:
        DeliveryError: Kafka did not take them.
        UnreachableError: Kafka or the registry is away.
        typer.Exit: an event can't be sent anywhere.

    """
    settings, where = surroundings()
    with Registry.of(settings, where.registry_url) as registry:
        outgoing = _outgoing(what, events, Addressing(bundle), registry)
    start = steering.ends_of(evidence)
    sent = clients.deliver(clients.producer(settings, where.bootstrap), outgoing)
    found = steering.await_decisions(evidence, sent, start)
    return [found.get(position) for position in sent]


def check_decided(entries: list[Entry | None]) -> None:
    """End the command with a message where something is not decided."""
    if None in entries:
        fail(
            f"Not everything was decided within {steering.WAIT_S:g} s: is a governor running?"
            " `milepost audit show` tells later what became of it.",
            FOUND,
        )


def _outgoing(
    what: str, events: list[Record], addressing: Addressing, registry: Registry
) -> list[clients.Outgoing]:
    outgoing = []
    for position, event in enumerate(events, 1):
        try:
            address = addressing.address(event)
        except UnaddressableError as error:
            fail(f"{what}, event {position}: {error}", WRONG_USE)
        number = registry.id_for(names.subject(address.topic), "raw-event")
        value = codec.encode(event, codec.committed("raw-event"), number)
        outgoing.append(clients.Outgoing(address.topic, value, address.key))
    return outgoing


def shown(event: Record, entry: Entry | None, meaning: str = "") -> str:
    """What became of a raw event, in lines.

    Args:
        event: as it was sent.
        entry: how it was judged; None: not yet.
        meaning: what its fate and reason say; empty: what they say of any record.

    """
    if entry is None:
        return f"{event['event_id']}: not decided yet"
    row = entry.verdict
    lines = [f"{event['event_id']}: {entry.fate} ({entry.reason}): {meaning or entry.meaning}."]
    lines.append(f"  entity       {row['entity'] or 'not known'}")
    means = f", which means {entry.event_type}" if entry.event_type else ""
    lines.append(f"  said         {event['native_status']} of {event['platform']}{means}")
    if row["rule"]:
        lines.append(f"  rule         {row['rule']} of bundle {entry.policy_version}")
    if row["revision"]:
        lines.append(f"  published    {row['milestone_id']} revision {row['revision']}")
    if row["deadline"] is not None and entry.fate == Disposition.HELD:
        lines.append(f"  held until   {iso(row['deadline'])}")
    lines.append(f"  written      {entry.topic}[{entry.partition}]@{entry.offset}")
    return "\n".join(lines)
