"""The command `milepost`: where each command is. Must never hold one of its own, or import one."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, ClassVar, Final

import typer

from pipeline import settings as configuration
from pipeline.cli.loading import LazyGroup, Place
from pipeline.settings import SettingsError
from pipeline.telemetry import logs

_PROCESSES: Final = frozenset({"run", "up", "demo", "traffic"})


class _Commands(LazyGroup):
    """The commands, in the order in which help shows them."""

    places: ClassVar[Mapping[str, Place]] = {
        "up": Place(
            "pipeline.cli.local",
            "Start Kafka, the registry and Milepost, and keep them running until Ctrl-C.",
        ),
        "down": Place("pipeline.cli.local", "Stop the stack that runs in the state directory."),
        "status": Place(
            "pipeline.cli.local",
            "Show what runs in the state directory; ends with 1 if nothing does, 3 if it is ill.",
        ),
        "doctor": Place(
            "pipeline.cli.local",
            "Examine Kafka, the registry and the governor in use: what is wrong, why, what to do.",
        ),
        "verify": Place(
            "pipeline.cli.verify",
            "Prove from the topics alone that nothing was lost, doubled or altered.",
        ),
        "claims": Place(
            "pipeline.cli.claims",
            "List a platform's own claims by what became of them, with what to fix.",
        ),
        "explain": Place(
            "pipeline.cli.explain",
            "Tell what a reason, alert, disposition or action means, and what to do; needs no"
            " Kafka.",
        ),
        "send": Place(
            "pipeline.cli.send",
            "Send raw events to the running stack and show what became of each.",
        ),
        "demo": Place(
            "pipeline.cli.demo",
            "Govern a manufacturer's events on a real Kafka, and compare before and after.",
        ),
        "traffic": Place(
            "pipeline.cli.demo", "Send a simulated manufacturer's events to the running stack."
        ),
        "simulate": Place(
            "pipeline.cli.simulate",
            "Run the governed path in a simulated world whose faults a seed decides; needs no"
            " Kafka.",
        ),
        "settings": Place(
            "pipeline.cli.environment",
            "List every setting: environment variable, default, meaning.",
        ),
        "topics": Place(
            "pipeline.cli.contract", "Topics: what is declared and what a cluster has.", "topics"
        ),
        "schemas": Place("pipeline.cli.contract", "Schemas: check them, register them.", "schemas"),
        "policy": Place(
            "pipeline.cli.policy", "Who may say what: check, explain, publish.", "commands"
        ),
        "ops-desk": Place(
            "pipeline.cli.ops_desk", "What a person states, by telephone or e-mail.", "commands"
        ),
        "platforms": Place(
            "pipeline.cli.platforms", "Whom to trust now: status, suspend, release.", "commands"
        ),
        "run": Place("pipeline.cli.run", "Run one of Milepost's processes.", "commands"),
        "audit": Place("pipeline.cli.trail", "What was decided, by whom, and why.", "audit"),
        "dead-letters": Place(
            "pipeline.cli.dead_letters", "Records that could not be governed.", "commands"
        ),
        "transactions": Place(
            "pipeline.cli.transactions",
            "Transactions that stay open: list them, end those that tear nothing.",
            "commands",
        ),
        "erp": Place("pipeline.cli.erp", "The ERP sink's outbox: look and decide.", "commands"),
    }


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Governed logistics milestones on Kafka.",
)


def _version(value: bool) -> None:  # noqa: FBT001  typer's signature
    if value:
        typer.echo(f"milepost {version('milepost')}")
        raise typer.Exit


class _StandardError(io.StringIO):
    """Standard error as it is when a line is written."""

    def write(self, text: str) -> int:
        """Write a line."""
        return sys.stderr.write(text)

    def isatty(self) -> bool:
        """Whether a person reads it."""
        return sys.stderr.isatty()


@app.callback()
def options(
    context: typer.Context,
    *,
    show: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show and end.")
    ] = False,
) -> None:
    """Governed logistics milestones on Kafka: who may say what happened, and what stands."""
    del show
    with contextlib.suppress(SettingsError):  # the command itself tells, those without none don't
        logs.configure(configuration.load(), "milepost", _StandardError())
    # Who asks one question gets one answer: a client's remarks on a broker are for long runs
    asks = context.invoked_subcommand not in _PROCESSES
    logging.getLogger("milepost.kafka").setLevel(logging.CRITICAL if asks else logging.NOTSET)


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
