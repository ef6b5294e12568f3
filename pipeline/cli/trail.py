"""`milepost audit`, `claims` and `send`: the ledger in words.

Must never decide anything: what is shown is what the ledger says.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from connectors.addressing import Addressing, UnaddressableError
from pipeline.cli.events import read_events
from pipeline.cli.terminal import (
    FOUND,
    WRONG_USE,
    Json,
    document,
    explained,
    fail,
    stdout,
    surroundings,
)
from pipeline.contract import codec, names
from pipeline.governance.reasons import MEANINGS, Reason
from pipeline.kafka import bundles, clients
from pipeline.kafka.reading import ends_of
from pipeline.kafka.registry import Registry
from pipeline.operations import trail
from pipeline.operations.trail import Entry
from pipeline.settings import Settings

Record = dict[str, Any]
audit = typer.Typer(no_args_is_help=True, help="What was decided, by whom, and why.")
_WAIT_S = 30.0


def iso(milliseconds: int | None) -> str:
    """A time for people: UTC, to the second; empty for none."""
    if milliseconds is None:
        return ""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


@audit.command()
def show(
    name: Annotated[str, typer.Argument(help="An entity's key or id, or a source event id.")],
    *,
    as_json: Json = False,
) -> None:
    """Tell the whole story of an entity or event, and why something isn't there."""
    with explained():
        settings, where = surroundings()
        story = trail.story(settings, where.bootstrap, name)
        if as_json:
            document(
                {
                    "name": name,
                    "entries": [entry.document() for entry in story.entries],
                    "approved": story.approved,
                }
            )
        elif story.entries:
            for line in _story(story):
                typer.echo(line)
        if not story.entries:
            fail(f"The ledger knows no entity or event {name!r}: check tenant and spelling", FOUND)


@audit.command("state-at")
def state_at(
    name: Annotated[str, typer.Argument(help="An entity's key or id.")],
    as_of: Annotated[str | None, typer.Option(help="What had happened by then; ISO 8601.")] = None,
    known_at: Annotated[str | None, typer.Option(help="What was published by then.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show what stood of an entity at a time, as it was known at a time."""
    with explained():
        settings, where = surroundings()
        happened, known = moment("--as-of", as_of), moment("--known-at", known_at)
        newest: dict[str, Record] = {}
        for record in trail.story(settings, where.bootstrap, name).approved:
            if record["published"] <= known:
                newest[record["milestone_id"]] = record
        standing = [
            record
            for record in newest.values()
            if record["action"] != "RETRACT" and record["occurred"] <= happened
        ]
        if as_json:
            document({"name": name, "standing": standing})
            return
        for record in sorted(standing, key=lambda item: item["occurred"]):
            typer.echo(_revision(record))
        if not standing:
            typer.echo("Nothing stood.")


def claims(
    platform: Annotated[str, typer.Option(help="Whose claims.")],
    since: Annotated[
        str, typer.Option(help="ISO 8601, or a span back from now such as 2h or 7d.")
    ] = "24h",
    *,
    as_json: Json = False,
) -> None:
    """List a platform's own claims and what became of them."""
    with explained():
        settings, where = surroundings()
        found = trail.claims(settings, where.bootstrap, platform, since_ms(since))
        if as_json:
            document({"platform": platform, "claims": [entry.document() for entry in found]})
            return
        shown = Table(title=f"{len(found)} claims of {platform}")
        for column in ("received", "event", "entity", "said", "fate", "why"):
            shown.add_column(column, overflow="fold")
        for entry in found:
            row = entry.verdict
            shown.add_row(
                iso(row["received"]),
                row["claim"],
                row["entity"],
                entry.event_type,
                entry.fate,
                entry.reason,
            )
        stdout.print(shown)


def send(
    file: Annotated[Path, typer.Argument(help="JSON: one raw event, or a list in order.")],
    *,
    as_json: Json = False,
) -> None:
    """Send raw events to the running stack and show what became of each."""
    with explained():
        settings, where = surroundings()
        events = read_events(file)
        published = bundles.published(settings, where.bootstrap)
        if not published:
            fail("No policy bundle is published: run `milepost policy publish`", FOUND)
        addressing = Addressing(list(published.values())[-1])
        outgoing = []
        with Registry.of(settings, where.registry_url) as registry:
            for event in events:
                try:
                    address = addressing.address(event)
                except UnaddressableError as error:
                    fail(f"{file}: {error}", WRONG_USE)
                number = registry.id_for(names.subject(address.topic), "raw-event")
                value = codec.encode(event, codec.committed("raw-event"), number)
                outgoing.append(clients.Outgoing(address.topic, value, address.key))
        start = ends_of(settings, where.bootstrap, names.DECISIONS)
        sent = clients.deliver(clients.producer(settings, where.bootstrap), outgoing)
        found = _await(settings, where.bootstrap, sent, start)
        judged = [found.get(position) for position in sent]
        if as_json:
            document({"events": [None if e is None else e.document() for e in judged]})
        else:
            for event, entry in zip(events, judged, strict=True):
                typer.echo(_judged(event, entry))
        if None in judged:
            fail("Not everything was decided in time: is a governor running?", FOUND)


def _await(
    settings: Settings, bootstrap: str, sent: list[clients.Position], start: Mapping[int, int]
) -> dict[clients.Position, Entry]:
    """What became of the records, once all are decided or the time is up."""
    limit = time.monotonic() + _WAIT_S
    while True:
        found = trail.decided(settings, bootstrap, sent, start)
        if len(found) == len(set(sent)) or time.monotonic() > limit:
            return found
        time.sleep(0.2)


def _judged(event: Record, entry: Entry | None) -> str:
    if entry is None:
        return f"{event['event_id']}: not decided yet"
    row = entry.verdict
    lines = [f"{event['event_id']}: {entry.fate} ({entry.reason}): {_meaning(entry.reason)}."]
    lines.append(f"  entity       {row['entity'] or 'not known'}")
    said = f"{event['native_status']} of {event['platform']}"
    lines.append(f"  said         {said}, {entry.event_type or 'which means nothing known'}")
    if row["rule"]:
        lines.append(f"  rule         {row['rule']} of bundle {entry.policy_version}")
    if row["revision"]:
        lines.append(f"  published    {row['milestone_id']} revision {row['revision']}")
    if row["deadline"] is not None and entry.fate == "held":
        lines.append(f"  held until   {iso(row['deadline'])}")
    lines.append(f"  written      {entry.topic}[{entry.partition}]@{entry.offset}")
    return "\n".join(lines)


def _story(story: trail.Story) -> list[str]:
    lines = []
    for entry in story.entries:
        row = entry.verdict
        who = row["platform"] or entry.topic
        what = entry.event_type or "something unknown"
        line = (
            f"{iso(entry.published_ms)}  {who} said {what}"
            f" ({row['claim'] or f'offset {entry.offset}'}): {row['disposition']},"
            f" {_meaning(row['reason'])}"
        )
        if row["deadline"] is not None and entry.fate == "held":
            line += f"; it waits until {iso(row['deadline'])}"
        lines.append(line)
        lines += [
            f"{iso(moved['published'])}    then {moved['after']}: {_meaning(moved['reason'])}"
            for moved in entry.transitions
        ]
    if story.approved:
        lines += ["", "What was published:"]
        lines += [f"  {_revision(record)}" for record in story.approved]
    return lines


def _revision(record: Record) -> str:
    return (
        f"{record['entity_seq']:>3} {record['event_type']} r{record['revision']}"
        f" {record['action']} {record['assurance']}: occurred {iso(record['occurred'])},"
        f" said by {record['platform']}, published {iso(record['published'])},"
        f" status {record['status_after'] or '-'}"
    )


def _meaning(reason: str) -> str:
    return MEANINGS[Reason(reason)].text


def moment(option: str, text: str | None) -> int:
    """An ISO 8601 time as ms UTC; None: the end of time."""
    if text is None:
        return 1 << 62
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{option}: {text!r} is no ISO 8601 time, e.g. 2026-11-25T10:05:00Z", WRONG_USE)
        raise
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def since_ms(text: str) -> int:
    """An ISO 8601 time, or a span back from now such as 2h, as ms UTC."""
    spans = {"m": "minutes", "h": "hours", "d": "days"}
    if text[:-1].isdigit() and text[-1] in spans:
        back = timedelta(**{spans[text[-1]]: int(text[:-1])})
        return int((datetime.now(UTC) - back).timestamp() * 1000)
    return moment("--since", text)
