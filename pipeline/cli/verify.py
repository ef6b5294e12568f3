"""`milepost verify`: renders what the auditor finds. Must never look at a record itself."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from pipeline.cli.surroundings import declared_topics, explained, inspected
from pipeline.cli.terminal import FOUND, Json, document, stderr
from pipeline.cli.times import now_ms
from pipeline.operations import verify as auditing

commands = typer.Typer(no_args_is_help=True)
_LOST = "lost"
_QUIET_MS: Final = 60_000
"""Without a decision for so long nobody is at what waits."""


@commands.command()
def verify(
    *,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    accept_lost: Annotated[
        bool,
        typer.Option(
            "--accept-lost",
            help="Report records that retention took unread, but end with 0 if nothing else is"
            " found: for a loss that is known and dealt with.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Prove from the topics alone that nothing was lost, doubled or altered.

    Ends with 1 if a rule is broken. May run while workers do.
    """
    with explained():
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            console=stderr,
            transient=True,
            disable=quiet or not stderr.is_terminal,
        ) as bar:
            task = bar.add_task("reading", total=None)

            def tell(label: str, done: int, total: int) -> None:
                bar.update(task, description=label, completed=done, total=total)

            with inspected(tell) as evidence:
                report = auditing.verify(evidence, declared_topics())
        if as_json:
            document(report.document())
        else:
            _print(report)
        broken = set(report.broken) - ({_LOST} if accept_lost else set())
        raise typer.Exit(FOUND if broken else 0)


def _print(report: auditing.Report) -> None:
    typer.echo(
        f"{report.records} input records in {report.blocks} blocks of {report.partitions}"
        f" partitions, {report.approved} approved records, {report.dead_letters} dead letters."
    )
    for name, count in report.dispositions.most_common():
        typer.echo(f"  {name:<14} {count:>9}")
    if report.pending:
        quiet = now_ms() - report.decided_ms > _QUIET_MS
        asked = ": is a governor running?" if quiet else "; the governor is at it."
        typer.echo(f"{report.pending} records were not decided yet{asked}")
    for topic, number, count in report.beyond:
        where = topic if number < 0 else f"{topic}[{number}]"
        typer.echo(f"{count} decided records of {where} are beyond retention: not compared.")
    if report.clean:
        typer.echo("Clean:")
    for rule, text in auditing.RULES.items():
        count = report.broken.get(rule, 0)
        typer.echo(f"  {f'{count} x' if count else 'holds':<8} {text}")
    for violation in report.violations:
        typer.echo(str(violation))
    untold = report.broken.total() - len(report.violations)
    if untold:
        typer.echo(f"and {untold} more")
