"""`milepost demo`: the manufacturer before and after, on a Kafka of its own; and `traffic`,
its events on the running stack.

Renders what `pipeline.cli.show` does. Must never start a process.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import httpx
import typer
from rich.live import Live

from connectors.simulation.live import Snapshot, draw
from connectors.simulation.publish import Sender
from connectors.simulation.report import write_report
from connectors.simulation.summary import print_outcome
from connectors.simulation.traffic import EVENTS, compose
from pipeline import settings as configuration
from pipeline.cli.show import Show, own_settings
from pipeline.cli.surroundings import explained, surroundings
from pipeline.cli.terminal import (
    FOUND,
    UNREACHABLE,
    WRONG_USE,
    Json,
    document,
    fail,
    interrupted_by_signals,
    stderr,
    stdout,
)
from pipeline.cli.times import now_ms
from pipeline.contract.bundle import load_bundle
from pipeline.kafka.errors import DeliveryError
from pipeline.kafka.registry import Registry
from pipeline.local.faults import LocalStackError, StackInUseError
from pipeline.local.progress import Step

SEED: Final = 42
RUN_S: Final = 22.0
INTERRUPTED: Final = 130
LINE_S: Final = 5.0
"""How often a line is written where no view can be drawn."""
WINDOW_S: Final = 300.0
"""Traffic without end is composed for so long a time at once."""

commands = typer.Typer(no_args_is_help=True, help="A simulated manufacturer.")


@commands.command()
def demo(
    *,
    seed: Annotated[int, typer.Option(help="Same seed, same events, same outcomes.")] = SEED,
    events: Annotated[int, typer.Option(min=500, max=200_000, help="About how many.")] = EVENTS,
    seconds: Annotated[float, typer.Option(min=5, help="They are sent within.")] = RUN_S,
    report: Annotated[Path, typer.Option(help="Where the HTML report goes.")] = Path(
        "reports/demo.html"
    ),
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave everything up until Ctrl-C, to look around.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Govern a manufacturer's events on a real Kafka, and compare before and after."""
    with _ending_on_signals(INTERRUPTED), explained(), _understood():
        settings = own_settings(configuration.load())
        with Show(settings, _say) as show:
            result = show.run(seed, events, seconds, _view())
            write_report(report, result)
            if as_json:
                document(result.document())
            else:
                addresses = show.addresses if keep else {}
                print_outcome(stdout, result, report, addresses, settings.state_dir)
            if keep:
                stderr.print("Everything stays up. Ctrl-C ends it.")
                show.stay()
        raise typer.Exit(0 if result.kept else FOUND)


@commands.command()
def traffic(
    *,
    seed: Annotated[int | None, typer.Option(help="Default: another one each time.")] = None,
    rate: Annotated[float, typer.Option(min=0.1, help="Events a second.")] = 5.0,
    minutes: Annotated[float, typer.Option(min=0.1, help="For how long.")] = 1.0,
    forever: Annotated[bool, typer.Option("--forever", help="Until it is ended.")] = False,
) -> None:
    """Send a simulated manufacturer's events to the running stack."""
    with _ending_on_signals(0), explained(), _understood():
        settings, where = surroundings()
        number = int(time.time()) if seed is None else seed
        window_s = WINDOW_S if forever else 60 * minutes
        events = max(1, round(rate * window_s))
        with Registry.of(settings, where.registry_url) as registry:
            bundle = load_bundle(settings.policy_dir)
            sender = Sender(settings, where.bootstrap, registry, bundle)
            while True:
                composed = compose(number, now_ms(), events=events, run_s=window_s)
                count = len(composed.sendings)
                stderr.print(f"Seed {number}: {count:,} events in {window_s:g} s")
                sender.run(composed.sendings, threading.Event())
                if not forever:
                    return
                number += 1


@contextlib.contextmanager
def _view() -> Iterator[Callable[[Snapshot], None]]:
    """The live view on a terminal; a line now and then elsewhere."""
    if stderr.is_terminal:
        with Live(console=stderr, transient=True) as live:
            yield lambda snapshot: live.update(draw(snapshot), refresh=True)
        return
    next_line = 0.0

    def tell(snapshot: Snapshot) -> None:
        nonlocal next_line
        if time.monotonic() >= next_line:
            next_line = time.monotonic() + LINE_S
            stderr.print(snapshot.line(), highlight=False, soft_wrap=True)

    yield tell


def _say(step: Step) -> None:
    if not step.total:
        stderr.print(step.what, style="bright_black", markup=False, highlight=False)


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    """What can go wrong with the stack, in a sentence."""
    try:
        yield
    except StackInUseError as error:
        fail(str(error), WRONG_USE)
    except (LocalStackError, DeliveryError) as error:
        fail(str(error), UNREACHABLE)
    except httpx.HTTPError as error:
        fail(f"The simulated ERP does not answer ({error}): run the demo again", UNREACHABLE)


@contextlib.contextmanager
def _ending_on_signals(code: int) -> Iterator[None]:
    """End in order, with this code, on Ctrl-C, SIGTERM and when the terminal goes."""
    try:
        with interrupted_by_signals():
            yield
    except KeyboardInterrupt:
        raise typer.Exit(code) from None


if __name__ == "__main__":
    commands()
