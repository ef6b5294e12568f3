"""`milepost settings`: what can be set from outside. Must never show a value that is set."""

from __future__ import annotations

import typer

from pipeline.cli.listing import table, terminal_width
from pipeline.cli.terminal import Json, document
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
    columns = ("variable", "default", "meaning")
    cells = [tuple(row[column] for column in columns) for row in rows]
    for line in table(columns, cells, below=(2,), width=terminal_width()):
        typer.echo(line)
