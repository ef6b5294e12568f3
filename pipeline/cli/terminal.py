"""What all commands share: where Kafka and the registry are, messages, documents, exit codes.

Must never hold a command.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any, Final, NoReturn

import orjson
import typer
from rich.console import Console

from connectors.protocols import ConfigurationError
from pipeline import settings as configuration
from pipeline.contract.codec import UndecodableError
from pipeline.contract.yaml_lines import InvalidFileError
from pipeline.kafka.bundles import BundleRefusedError
from pipeline.kafka.decoding import Decoder
from pipeline.kafka.errors import DeliveryError, UnreachableError, UnregisteredError
from pipeline.kafka.reading import LogReader
from pipeline.kafka.registry import Registry
from pipeline.local.stack import Addresses, addresses
from pipeline.operations.proof.evidence import Progress, TopicEvidence
from pipeline.settings import Settings, SettingsError
from pipeline.web.server import AddressInUseError

FOUND: Final = 1
WRONG_USE: Final = 2
UNREACHABLE: Final = 3

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
stderr = Console(stderr=True)
stdout = Console()


def surroundings() -> tuple[Settings, Addresses]:
    """Settings, and the addresses of Kafka and registry: set ones, else the local stack's.

    Raises:
        SettingsError: a setting can't be used.
        UnreachableError: nothing is set and nothing runs here.

    """
    settings = configuration.load()
    found = addresses(settings)
    if found is None:
        raise UnreachableError(
            "No Kafka is known: start one (`milepost up`), or set MILEPOST_BOOTSTRAP_SERVERS and"
            " MILEPOST_REGISTRY_URL"
        )
    return settings, found


@contextlib.contextmanager
def inspected(progress: Progress | None = None) -> Iterator[TopicEvidence]:
    """The topics of Kafka, to look into.

    Args:
        progress: told what is being read.

    Raises:
        SettingsError: a setting can't be used.
        UnreachableError: nothing is set and nothing runs here.

    """
    settings, where = surroundings()
    with (
        LogReader(settings, where.bootstrap) as reader,
        Registry.of(settings, where.registry_url) as registry,
    ):
        yield TopicEvidence(reader, Decoder(registry), progress)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turn what can go wrong into a sentence on stderr and an exit code."""
    try:
        yield
    except UnreachableError as error:
        fail(str(error), UNREACHABLE)
    except UnregisteredError as error:
        fail(str(error), UNREACHABLE)
    except (SettingsError, AddressInUseError, ConfigurationError) as error:
        fail(str(error), WRONG_USE)
    except (InvalidFileError, BundleRefusedError, UndecodableError, DeliveryError) as error:
        fail(str(error), FOUND)


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
