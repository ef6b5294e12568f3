"""`milepost transactions`: what stays open on Kafka, and how it is ended. Must never judge one."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from confluent_kafka import KafkaException

from pipeline.cli.surroundings import explained, surroundings
from pipeline.cli.terminal import FOUND, UNREACHABLE, WRONG_USE, Json, document, fail, stderr
from pipeline.kafka import clients
from pipeline.local.stack import Addresses
from pipeline.operations import aborting
from pipeline.operations.aborting import Hanging, NotAbortedError
from pipeline.settings import Settings

commands = typer.Typer(
    no_args_is_help=True,
    help="Transactions that stay open: list them, end those that tear nothing.",
)


@commands.command(name="list")
def list_open(*, as_json: Json = False) -> None:
    """List transactions that stay open for longer than a governor's; ends with 1 if one does."""
    with explained():
        found = _hanging(*surroundings())
    if as_json:
        document({"transactions": [{**one._asdict(), "safe": one.safe} for one in found]})
    else:
        for one in found:
            typer.echo(_line(one))
        if not found:
            typer.echo("No transaction stays open.")
    raise typer.Exit(FOUND if found else 0)


@commands.command()
def abort(
    place: Annotated[str, typer.Argument(help="Where it is open: TOPIC:PARTITION.")],
    *,
    go: Annotated[bool, typer.Option("--go", help="Do it; else it is only shown.")] = False,
) -> None:
    """Abort the transaction that stays open on a partition, if that can't tear it.

    That is so where it was never decided (its producer, if it still runs, is fenced), or was
    decided to be aborted. A commit that may have been decided is left alone.
    """
    topic, _, number = place.rpartition(":")
    if not topic or not number.isdigit():
        fail(f"{place} is no TOPIC:PARTITION", WRONG_USE)
    with explained():
        settings, where = surroundings()
        found = [
            one
            for one in _hanging(settings, where)
            if (one.topic, one.partition) == (topic, int(number))
        ]
        if not found:
            fail(f"No transaction stays open on {topic}[{number}]", FOUND)
        refused = False
        for one in found:
            typer.echo(_line(one))
            if not go and one.safe:
                continue
            try:
                aborting.abort(settings, where.bootstrap, one)
            except NotAbortedError as error:
                typer.echo(f"  left alone: {error}")
                refused = True
            else:
                typer.echo("  aborted")
    if not go and not refused:
        typer.echo("Nothing was done: --go does it.")
    raise typer.Exit(FOUND if refused else 0)


def _hanging(settings: Settings, where: Addresses) -> list[Hanging]:
    patience_s = settings.transaction_timeout_ms / 1_000 + 2
    with stderr.status(f"Watching for {patience_s:.0f} s"):
        try:
            return aborting.hanging(settings, where.bootstrap, patience_s, time.sleep)
        except KafkaException as error:
            fail(str(clients.unreachable(where.bootstrap, error)), UNREACHABLE)


def _line(one: Hanging) -> str:
    who = one.transactional_id or "a producer that the coordinators know nothing of"
    told = f", last {one.state}" if one.state else ""
    return f"{one.topic}[{one.partition}] from offset {one.offset}: {who}{told}"
