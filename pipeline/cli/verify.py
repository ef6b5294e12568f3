"""`milepost verify`: renders what the auditor finds. Must never judge it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from pipeline.cli.terminal import FOUND, Json, document, explained, stderr, surroundings
from pipeline.contract import topics as contract_topics
from pipeline.operations import verify as auditing


def verify(
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,  # noqa: FBT002
    *,
    as_json: Json = False,
) -> None:
    """Prove from the topics alone that nothing was lost, doubled or altered."""
    with explained():
        settings, where = surroundings()
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=stderr,
            transient=True,
            disable=quiet,
        ) as bar:
            task = bar.add_task("reading", total=None)

            def tell(label: str, done: int, total: int) -> None:
                bar.update(task, description=label, completed=done, total=total)

            report = auditing.verify(settings, where.bootstrap, contract_topics.load(), tell)
        if as_json:
            document(report.document())
        else:
            _print(report)
        raise typer.Exit(0 if report.clean else FOUND)


def _print(report: auditing.Report) -> None:
    typer.echo(
        f"{report.records} input records in {report.blocks} blocks of {report.partitions}"
        f" partitions; {report.approved} approved records, {report.dead_letters} dead letters;"
        f" {report.pending} not decided yet."
    )
    for name, count in report.dispositions.most_common():
        typer.echo(f"  {name:<14} {count:>9}")
    if report.unreadable:
        typer.echo(f"{report.unreadable} decided records are beyond retention: bytes not compared.")
    if report.clean:
        typer.echo("Clean: " + "; ".join(auditing.RULES.values()) + ".")
    for violation in report.violations:
        typer.echo(str(violation))
