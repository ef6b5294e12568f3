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

from pipeline.settings import Settings

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


def nowhere(settings: Settings) -> str:
    """What is missing where no address of Kafka or the registry is known, and what to do."""
    if settings.bootstrap_servers and not settings.registry_url:
        return "MILEPOST_BOOTSTRAP_SERVERS is set, but no registry: set MILEPOST_REGISTRY_URL too"
    if settings.registry_url and not settings.bootstrap_servers:
        return "MILEPOST_REGISTRY_URL is set, but no Kafka: set MILEPOST_BOOTSTRAP_SERVERS too"
    folder = settings.state_dir
    here = "" if folder.is_absolute() else f" is {folder}, relative to the working directory"
    return (
        f"No Kafka is known: none runs in {folder.absolute()} (MILEPOST_STATE_DIR{here})."
        " Start one (`milepost up`), or set MILEPOST_BOOTSTRAP_SERVERS and MILEPOST_REGISTRY_URL"
    )


def unusable(error: OSError) -> str:
    """What is wrong with a file or folder, and what to do.

    Raises:
        OSError: it is about neither.

    """
    if error.filename is None:
        raise error
    return (
        f"{error.filename} can't be used ({error.strerror}): see that it may be written and has"
        " room, or set MILEPOST_STATE_DIR to another folder"
    )


def document(content: Any) -> None:
    """Print one JSON document."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
    typer.echo(orjson.dumps(content, option=options, default=str).decode())


@contextlib.contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Have SIGTERM, and the end of the terminal, interrupt what is done here, as Ctrl-C does."""

    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    # Ctrl-C as well: a shell has its background jobs ignore it
    before = {
        number: signal.signal(number, interrupt)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
