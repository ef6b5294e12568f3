"""`milepost erp`: the ERP sink's outbox, and what a person decides about it.

Must never call the ERP: the sink does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from connectors.sinks import outbox_desk
from connectors.sinks.booking import DecisionError
from connectors.sinks.database import database_url, open_outbox
from connectors.sinks.entries import State
from connectors.sinks.outbox_desk import UnknownEntryError
from connectors.sinks.postings import PostingRules, load_postings
from pipeline import settings as configuration
from pipeline.cli.listing import iso, table, terminal_width
from pipeline.cli.surroundings import explained
from pipeline.cli.terminal import FOUND, UNREACHABLE, WRONG_USE, Json, document, fail
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
            for line in _summary(found):
                typer.echo(line)
        raise typer.Exit(FOUND if found["states"][State.PARKED.value] else 0)


@commands.command()
def entries(
    state: Annotated[State | None, typer.Option(help="Only these; default: all open.")] = None,
    entity: Annotated[str | None, typer.Option(help="Only of this entity key.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=outbox_desk.LIST_MAX)] = 100,
    *,
    as_json: Json = False,
) -> None:
    """List postings, the oldest first."""
    with _opened() as (engine, _):
        found = outbox_desk.entries(engine, state=state, entity=entity, limit=limit)
        if as_json:
            document({"entries": found})
            return
        for line in _listed(found) if found else ():
            typer.echo(line)
        if not found:
            typer.echo(
                "No postings: see `milepost erp status`; --state shows closed ones", err=True
            )


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
    until_ms = moment("--until", until)
    with _opened() as (engine, rules):
        if endpoint not in rules.endpoints:
            known = ", ".join(sorted(rules.endpoints))
            fail(f"There is no endpoint {endpoint!r}: choose {known}", WRONG_USE)
        outbox_desk.pause(engine, endpoint, until_ms, why)
        paused = until_ms > outbox_desk.now_ms()
        typer.echo(f"{endpoint} is " + (f"paused until {iso(until_ms)}." if paused else "resumed."))


@contextmanager
def _opened() -> Iterator[tuple[Engine, PostingRules]]:
    with explained():
        settings = configuration.load()
        rules = load_postings(settings.policy_dir or data_root() / "policy")
        try:
            engine = open_outbox(database_url(settings))
            try:
                yield engine, rules
            finally:
                engine.dispose()
        except (UnknownEntryError, DecisionError) as error:
            fail(str(error), FOUND)
        except (SQLAlchemyError, OSError) as error:
            cause = str(error).partition("\n")[0]
            fail(
                f"The ERP outbox can't be used ({cause}): correct MILEPOST_ERP_DATABASE_URL, or see"
                " that its folder can be written and has room",
                UNREACHABLE,
            )


def _which(text: str) -> int | str:
    return int(text) if text.isdecimal() and len(text) < 19 else text


def _summary(found: dict[str, Any]) -> Iterator[str]:
    reading = found["reading"]
    if reading is None:
        yield "sink       not started yet: `milepost run sink erp`"
    else:
        heard = f"heard {reading['heard_ms_ago'] // 1000} s ago"
        detail = f": {reading['detail']}" if reading["detail"] else ""
        yield f"sink       {reading['state']} since {reading['since']}, {heard}{detail}"
    if found["books_from"] and not found["books_from"].startswith("1970"):
        yield f"books      what was published from {found['books_from']} on"
    for row in found["endpoints"]:
        until = f", next attempt {row['next_attempt']}" if row["next_attempt"] else ""
        words = f": {row['words']}" if row["words"] else ""
        yield f"endpoint   {row['name']} is {row['state']}{until}{words}"
    counts = [f"{count} {name}" for name, count in found["states"].items() if count]
    yield f"postings   {', '.join(counts) or 'none'}"
    if found["oldest_pending_ms"] is not None:
        yield f"oldest     pending for {found['oldest_pending_ms'] // 1000} s"
    for name in ("waiting", "parked"):
        for reason, count in found[name].items():
            yield f"{name:<10} {count} for {reason}"
    if found["for_a_person"]:
        yield f"{found['behind_parked']} postings wait behind parked ones."
        yield ""
        yield from _listed(found["for_a_person"])
        yield "Put the cause right, then `milepost erp release`; or `milepost erp withdraw`."


def _listed(rows: list[dict[str, Any]]) -> Iterator[str]:
    columns = ("id", "entity", "posting", "state", "reason", "words")
    yield from table(
        columns,
        [tuple(str(row[column] or "") for column in columns) for row in rows],
        cut=(1,),
        below=(5,),
        width=terminal_width(),
    )


def _told(done: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        document(done)
        return
    for name, value in done.items():
        typer.echo(f"{name:<16} {value}")
