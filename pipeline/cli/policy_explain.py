"""`milepost policy explain`: events taken through every step of a policy, offline.

Must never judge them: `pipeline.testing.explaining` has the governor's own code do it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from pipeline import settings as configuration
from pipeline.cli.events import read_events
from pipeline.cli.listing import terminal_width, wrapped
from pipeline.cli.surroundings import explained
from pipeline.cli.terminal import Json, document
from pipeline.cli.times import moment, now_ms
from pipeline.contract.bundle import load_files
from pipeline.operations.remedies import NOBODY
from pipeline.testing import explaining
from pipeline.testing.explaining import Explained, Step, iso

_LABELLED = " " * 15


def explain(
    file: Annotated[Path, typer.Argument(help="JSON: one raw event, or a list in order.")],
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Another bundle than MILEPOST_POLICY_DIR's.")
    ] = None,
    received: Annotated[
        str | None, typer.Option(help="When the first event is received, ISO 8601; default: now.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Take claims through every step of the policy, offline, with the file and line of each.

    They are received one after the other, in the order of the file.
    """
    at = now_ms() if received is None else moment("--received", received)
    with explained():
        loaded = load_files(folder or configuration.load().policy_dir)
        events = explaining.explain(loaded, read_events(file), at)
        if as_json:
            document({"received": at, "events": [event.document() for event in events]})
            return
        assumed = "now; --received TIME assumes another" if received is None else "assumed"
        typer.echo(f"Received {iso(at)} ({assumed}).")
        for event in events:
            typer.echo("")
            for line in _told(event):
                typer.echo(line)


def _told(event: Explained) -> Iterator[str]:
    width = terminal_width() or 80
    heading = f"{event.event_id}: {event.disposition} ({event.reason}): {event.meaning}."
    yield from wrapped(heading, width=width)
    *passed, left = event.steps
    for step in passed:
        yield from _row("  ", step.stage, _with_sources(step.found, step), width)
    until = "" if event.deadline is None else f" until {iso(event.deadline)}"
    outcome = f"{event.disposition} ({event.reason}){until}"
    text = f"{outcome}: {left.found}" if left.found else outcome
    yield from _row("> ", left.stage, _with_sources(text, left), width)
    remedy = event.remedy
    turn = "" if remedy.turn == NOBODY else f" (turn of {remedy.turn})"
    yield from _row("  ", "to do", remedy.todo + turn, width)
    for record in event.published:
        text = (
            f"{record['action']} {record['event_type']} r{record['revision']}"
            f" {record['assurance']}, occurred {iso(record['occurred'])}, by {record['platform']};"
            f" {record['entity_type']} is now {record['status_after'] or 'without status'}"
        )
        yield from _row("  ", "published", text, width)
    for row in event.transitions:
        text = (
            f"{row['claim']} of {row['platform']}: {row['before']} → {row['after']}"
            f" ({row['reason']})"
        )
        yield from _row("  ", "earlier", text, width)


def _with_sources(text: str, step: Step) -> str:
    return f"{text} [{', '.join(step.sources)}]" if step.sources else text


def _row(mark: str, label: str, text: str, width: int) -> Iterator[str]:
    first, *rest = wrapped(text, _LABELLED, width)
    yield f"{mark}{label:<12} {first.lstrip()}"
    yield from rest
