"""`milepost settings`: what can be set from outside. Must never show a value that is set."""

from __future__ import annotations

import typer
from rich.table import Table

from pipeline.cli.terminal import Json, document, stdout
from pipeline.settings import PREFIX, Settings

commands = typer.Typer(no_args_is_help=True)


@commands.command()
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
