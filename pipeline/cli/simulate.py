"""`milepost simulate`: renders what simulated worlds came to.

Must never decide what happens in one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import starmap
from typing import Annotated, Any, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.cli.terminal import FOUND, WRONG_USE, Json, document, fail, stderr
from pipeline.testing.simulation import campaign
from pipeline.testing.simulation.audit import INVARIANTS
from pipeline.testing.simulation.campaign import Outcome

commands = typer.Typer(no_args_is_help=True)
SEEDS: Final = "0..1999"
_FAILURES_TOLD: Final = 20
_LAST_LINES: Final = 25


@commands.command()
def simulate(
    *,
    seed: Annotated[int | None, typer.Option(min=0, help="Run this one.")] = None,
    seeds: Annotated[str, typer.Option(help="Run these: first..last.")] = SEEDS,
    trace: Annotated[
        bool, typer.Option("--trace", help="Tell what happened, step by step; of one seed.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes. Default: one for each core.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    as_json: Json = False,
) -> None:
    """Run the governed path in a simulated world whose faults a seed decides; needs no Kafka.

    Ends with 1 if an invariant doesn't hold, and names the command that runs that seed again.
    """
    if seed is not None:
        _one(campaign.run(seed, trace=trace), as_json=as_json)
    if trace:
        fail("--trace tells what happened in one world: name it with --seed", WRONG_USE)
    chosen = _range(seeds)
    began = time.monotonic()
    outcomes = list(_watched(campaign.run_all(chosen, jobs or campaign.cores()), chosen, quiet))
    _many(chosen, outcomes, time.monotonic() - began, as_json=as_json)


def _range(text: str) -> range:
    """Seeds that an option names."""
    first, dots, last = text.partition("..")
    if not (dots and first.isdigit() and last.isdigit()) or int(first) > int(last):
        fail(f"--seeds {text}: name them as first..last, for example {SEEDS}", WRONG_USE)
    return range(int(first), int(last) + 1)


def _watched(outcomes: Iterable[Outcome], seeds: range, quiet: bool) -> Iterator[Outcome]:  # noqa: FBT001  an option handed on
    """The outcomes, with a progress bar on a terminal."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=stderr,
        transient=True,
        disable=quiet or not stderr.is_terminal,
    ) as bar:
        task = bar.add_task("simulating", total=len(seeds))
        broken = 0
        for outcome in outcomes:
            broken += bool(outcome.invariant)
            told = f"simulating, {broken} broken" if broken else "simulating"
            bar.update(task, advance=1, description=told)
            yield outcome


def _one(outcome: Outcome, *, as_json: bool) -> None:
    """Tell of one world."""
    if as_json:
        document(_document(outcome) | {"trace": list(outcome.trace)})
    else:
        for line in outcome.trace:
            typer.echo(line)
        typer.echo(
            f"Seed {outcome.seed}: {outcome.claims} events of platforms,"
            f" {outcome.records} input records decided in {outcome.transactions} transactions,"
            f" {outcome.processes} processes of workers, {outcome.faults} faults,"
            f" {outcome.steps} steps."
        )
        typer.echo(f"Digest of everything written: {outcome.digest}")
        if outcome.invariant:
            _tell(outcome)
            if not outcome.trace:
                typer.echo("What happened last:")
                for line in campaign.run(outcome.seed, trace=True).trace[-_LAST_LINES:]:
                    typer.echo(line)
        else:
            typer.echo("Every invariant held after every step.")
    raise typer.Exit(FOUND if outcome.invariant else 0)


def _many(seeds: range, outcomes: list[Outcome], seconds: float, *, as_json: bool) -> None:
    """Tell of many worlds."""
    broken = [outcome for outcome in outcomes if outcome.invariant]
    sums = {
        name: sum(getattr(outcome, name) for outcome in outcomes)
        for name in ("steps", "claims", "records", "transactions", "processes", "faults")
    }
    if as_json:
        document(
            {"first": seeds.start, "last": seeds.stop - 1, "seeds": len(outcomes), **sums}
            | {"digest": campaign.digest(outcomes), "invariants": INVARIANTS}
            | {"broken": [_document(outcome) for outcome in broken]}
        )
    else:
        counted = starmap("{1:,} {0}".format, sums.items())
        typer.echo(f"{len(outcomes):,} seeds in {seconds:.1f} s: {', '.join(counted)}.")
        typer.echo(f"Digest of everything written: {campaign.digest(outcomes)}")
        for outcome in broken[:_FAILURES_TOLD]:
            _tell(outcome)
        if len(broken) > _FAILURES_TOLD:
            typer.echo(f"and {len(broken) - _FAILURES_TOLD} more")
        if not broken:
            typer.echo("Every invariant held after every step of each.")
    raise typer.Exit(FOUND if broken else 0)


def _tell(outcome: Outcome) -> None:
    """What does not hold, and how to see it again."""
    typer.echo(f"Seed {outcome.seed}, step {outcome.steps}: {outcome.invariant} does not hold.")
    typer.echo(f"  promised: {INVARIANTS[outcome.invariant]}")
    typer.echo(f"  found:    {outcome.found}")
    typer.echo(f"  again:    {_again(outcome)}")


def _again(outcome: Outcome) -> str:
    return f"milepost simulate --seed {outcome.seed} --trace"


def _document(outcome: Outcome) -> dict[str, Any]:
    told = outcome._asdict()
    del told["trace"]
    return told | {"again": _again(outcome)}
