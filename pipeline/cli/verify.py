"""`milepost verify`: renders what the auditor finds. Must never look at a record itself."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pipeline import settings as configuration
from pipeline.cli.surroundings import declared_topics, explained, inspected, surroundings
from pipeline.cli.terminal import FOUND, Json, document, stderr
from pipeline.cli.times import now_ms
from pipeline.kafka.registry import Registry
from pipeline.operations import verify as auditing
from pipeline.operations.proof.proven import Proven
from pipeline.operations.proof.watching import Course, Tell
from pipeline.testing.replaying.published import published
from pipeline.testing.replaying.replay import KernelReplay

commands = typer.Typer(no_args_is_help=True)
_LOST = "lost"
_QUIET_MS: Final = 60_000
"""Without a decision for so long nobody is at what waits."""
_FOLDER: Final = "verify"
"""In the state directory: what does not stay in memory, and what is proven so far."""


@commands.command()
def verify(
    *,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on where a verify that was interrupted had come to: partitions that it has"
            " proven are not read again. What was added to them since is left to the next one.",
        ),
    ] = False,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Decide everything anew as well, in the order that the ledger says, and compare:"
            " blocks, approved records, state, and what follows from them. Takes about as long as"
            " a worker took, and its memory; needs every input since the beginning.",
        ),
    ] = False,
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
        folder = configuration.load().state_dir / _FOLDER
        proven = Proven(folder / "proven.json", resume=resume, deep=deep)
        begin = time.monotonic()
        with inspected() as evidence, _watched(quiet=quiet) as tell, _replay(folder) as replay:
            audit = auditing.Audit(folder, tell, proven, replay if deep else None)
            report = auditing.verify(evidence, declared_topics(), audit)
        seconds = time.monotonic() - begin
        if as_json:
            document(report.document() | {"seconds": round(seconds, 3)})
        else:
            _print(report, seconds)
        broken = set(report.broken) - ({_LOST} if accept_lost else set())
        raise typer.Exit(FOUND if broken else 0)


@contextlib.contextmanager
def _replay(folder: Path) -> Iterator[KernelReplay]:
    """Decides with the bundles that are published."""
    settings, where = surroundings()
    with Registry.of(settings, where.registry_url) as registry:
        yield KernelReplay(published(settings, where.bootstrap, registry), folder)


@contextlib.contextmanager
def _watched(*, quiet: bool) -> Iterator[Tell]:
    """A bar for the partition that is being read."""
    begin = time.monotonic()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=stderr,
        transient=True,
        disable=quiet or not stderr.is_terminal,
    ) as bar:
        task = bar.add_task("re-keyed records", total=None, rate="")
        shown = -1

        def tell(course: Course) -> None:
            nonlocal shown
            if course.partition != shown:
                shown = course.partition
                bar.reset(task, description=f"partition {shown}")
            rate = course.records / max(time.monotonic() - begin, 0.001)
            bar.update(
                task, completed=course.passed, total=course.total, rate=f"{rate:,.0f} records/s"
            )

        yield tell


def _print(report: auditing.Report, seconds: float) -> None:
    typer.echo(
        f"{report.records} input records in {report.blocks} blocks of {report.partitions}"
        f" partitions, {report.approved} approved records, {report.dead_letters} dead letters;"
        f" {seconds:.1f} s."
    )
    for name, count in report.dispositions.most_common():
        typer.echo(f"  {name:<14} {count:>9}")
    if report.pending:
        idle = now_ms() - report.decided_ms > _QUIET_MS
        asked = ": is a governor running?" if idle else "; the governor is at it."
        typer.echo(f"{report.pending} records were not decided yet{asked}")
    for topic, number, count in report.beyond:
        where = topic if number < 0 else f"{topic}[{number}]"
        typer.echo(f"{count} decided records of {where} are beyond retention: not compared.")
    _print_taken_over(report)
    for number, blocks, of, why in report.replayed:
        if why:
            typer.echo(f"Partition {number} was decided anew up to block {blocks} of {of}: {why}.")
    if report.clean:
        typer.echo("Clean:")
    for rule, text in report.rules.items():
        count = report.broken.get(rule, 0)
        typer.echo(f"  {f'{count} x' if count else 'holds':<8} {text}")
    for first in report.first.values():
        typer.echo(f"first {first}")
    for violation in report.violations:
        if violation != report.first.get(violation.rule):
            typer.echo(f"      {violation}")
    untold = report.broken.total() - len(set(report.violations) | set(report.first.values()))
    if untold > 0:
        typer.echo(f"and {untold} more")


def _print_taken_over(report: auditing.Report) -> None:
    """What was not read in this run."""
    for number, at_ms, blocks, offset, since in report.taken_over:
        at = datetime.fromtimestamp(at_ms / 1_000, UTC)
        typer.echo(
            f"Partition {number} was not read now: a run at {at:%Y-%m-%d %H:%M:%S} UTC proved its"
            f" {blocks} blocks, up to offset {offset}; {since} offsets since are not proven."
        )
    if report.taken_over:
        typer.echo("Whether a re-keyed record has a verdict is not judged: run it in full for that")
