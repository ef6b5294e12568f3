"""`milepost erp`: the ERP sink's outbox, and what a person decides about it.

Must never call the ERP: the sink does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.table import Table
from sqlalchemy.engine import Engine

from connectors.sinks import outbox_desk
from connectors.sinks.database import database_url, open_outbox
from connectors.sinks.entries import State
from connectors.sinks.outbox_desk import UnknownEntryError
from connectors.sinks.postings import PostingRules, load_postings
from pipeline import settings as configuration
from pipeline.cli.listing import iso
from pipeline.cli.surroundings import explained
from pipeline.cli.terminal import FOUND, WRONG_USE, Json, document, fail, stdout
from pipeline.cli.times import moment
from pipeline.contract.names import data_root

commands = typer.Typer(no_args_is_help=True, help="The ERP sink's outbox: look and decide.")
_Entry = Annotated[str, typer.Argument(help="Its number or idempotency key, see `entries`.")]


@commands.command()
def status(*, as_json: Json = False) -> None:
    """Count postings by state; ends with 1 if some wait for a person."""
    with _opened() as (engine, _):
        found = outbox_desk.summary(engine)
        if as_json:
            document(found)
        else:
            for name, value in found.items():
                typer.echo(f"{name:<22} {value}")
        raise typer.Exit(FOUND if found["states"][State.PARKED.value] else 0)


@commands.command()
def entries(
    state: Annotated[State | None, typer.Option(help="Only these; default: all open.")] = None,
    entity: Annotated[str | None, typer.Option(help="Only of this entity key.")] = None,
    limit: Annotated[int, typer.Option(min=1)] = 100,
    *,
    as_json: Json = False,
) -> None:
    """List postings, the oldest first."""
    with _opened() as (engine, _):
        found = outbox_desk.entries(engine, state=state, entity=entity, limit=limit)
        if as_json:
            document({"entries": found})
            return
        shown = Table(title=f"{len(found)} postings")
        columns = ("id", "entity", "posting", "state", "reason")
        for column in columns:
            shown.add_column(column, overflow="fold")
        for row in found:
            shown.add_row(*(str(row.get(column) or "") for column in columns))
        stdout.print(shown)


@commands.command()
def release(
    entry: Annotated[str | None, typer.Argument(help="Its number or idempotency key.")] = None,
    reason: Annotated[str | None, typer.Option(help="All that are parked for this reason.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Have postings booked that wait or are parked, once the cause is put right."""
    with _opened() as (engine, rules):
        if (entry is None) == (reason is None):
            fail("Give either an entry or --reason", WRONG_USE)
        if reason is not None:
            count = outbox_desk.release_all(engine, rules, reason)
            done: dict[str, Any] = {"released": count}
        else:
            done = outbox_desk.release(engine, rules, _which(entry or ""))
        _told(done, as_json=as_json)


@commands.command()
def withdraw(
    entry: _Entry,
    why: Annotated[str, typer.Option(help="For the record.")],
    *,
    booked: Annotated[
        bool, typer.Option("--booked/--not-booked", help="Whether the ERP has it after all.")
    ],
    as_json: Json = False,
) -> None:
    """Take a posting out of the way of those behind it."""
    with _opened() as (engine, rules):
        done = outbox_desk.withdraw(engine, rules, _which(entry), why, booked=booked)
        _told(done, as_json=as_json)


@commands.command()
def pause(
    endpoint: Annotated[str, typer.Argument(help="As `status` names it.")],
    until: Annotated[str, typer.Option(help="ISO 8601; a time gone by resumes it.")],
    why: Annotated[str, typer.Option(help="For the record.")] = "maintenance",
) -> None:
    """Send an endpoint nothing until a time."""
    with _opened() as (engine, _):
        until_ms = moment("--until", until)
        outbox_desk.pause(engine, endpoint, until_ms, why)
        typer.echo(f"{endpoint} is paused until {iso(until_ms)}.")


@contextmanager
def _opened() -> Iterator[tuple[Engine, PostingRules]]:
    with explained():
        settings = configuration.load()
        engine = open_outbox(database_url(settings))
        try:
            yield engine, load_postings(settings.policy_dir or data_root() / "policy")
        except UnknownEntryError as error:
            fail(str(error), FOUND)
        finally:
            engine.dispose()


def _which(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _told(done: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        document(done)
        return
    for name, value in done.items():
        typer.echo(f"{name:<16} {value}")
