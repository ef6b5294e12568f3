"""The command `milepost`. Mounts the commands of each area. Must never hold one of its own but
`settings` and `--version`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from importlib.metadata import version
from typing import Annotated, Final

import typer
from rich.table import Table

from pipeline import settings as configuration
from pipeline.cli import contract, dead_letters, demo, erp, local, policy, run, trail, verify
from pipeline.cli.terminal import Json, document, stdout
from pipeline.settings import PREFIX, Settings, SettingsError
from pipeline.telemetry import logs

_PROCESSES: Final = frozenset({"run", "up", "demo", "simulate"})

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Governed logistics milestones on Kafka.",
)
for command in local.commands.registered_commands:
    app.registered_commands.append(command)
app.add_typer(contract.topics, name="topics")
app.add_typer(contract.schemas, name="schemas")
app.add_typer(policy.commands, name="policy")
app.add_typer(run.commands, name="run")
app.add_typer(trail.audit, name="audit")
app.add_typer(dead_letters.commands, name="dead-letters")
app.add_typer(erp.commands, name="erp")
app.command()(verify.verify)
app.command()(trail.claims)
app.command()(trail.send)
app.command()(demo.demo)
app.command()(demo.simulate)


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


@app.command()
def settings(*, as_json: Json = False) -> None:
    """List every setting: environment variable, default, meaning."""
    rows = [
        {
            "variable": PREFIX + name.upper(),
            "default": "" if field.default is None else str(field.default),
            "meaning": field.description or "",
        }
        for name, field in Settings.model_fields.items()
    ]
    if as_json:
        document({"settings": rows})
        return
    shown = Table(title="Settings of Milepost, read from the environment")
    for column in ("variable", "default", "meaning"):
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(row["variable"], row["default"], row["meaning"])
    stdout.print(shown)


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
