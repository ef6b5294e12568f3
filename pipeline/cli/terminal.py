"""What all commands share: messages, documents, exit codes.

Must never hold a command, or import what takes time to load: help is shown with it.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Annotated, Any, Final, NoReturn

import orjson
import typer
from rich.console import Console

FOUND: Final = 1
WRONG_USE: Final = 2
UNREACHABLE: Final = 3

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
stderr = Console(stderr=True)
stdout = Console()


def fail(message: str, code: int) -> NoReturn:
    """End the command with a message.

    Raises:
        typer.Exit: always.

    """
    typer.echo(message, err=True)
    raise typer.Exit(code)


def document(content: Any) -> None:
    """Print one JSON document."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
    typer.echo(orjson.dumps(content, option=options, default=str).decode())


@contextlib.contextmanager
def interrupted_by(*numbers: signal.Signals) -> Iterator[None]:
    """Have signals interrupt what is done here, as Ctrl-C does."""

    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, interrupt)
    yield
