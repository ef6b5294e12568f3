"""What commands work on: settings, Kafka, the registry; and what can go wrong with them, told.

Must never hold a command.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from connectors.protocols import ConfigurationError
from pipeline import settings as configuration
from pipeline.cli.terminal import FOUND, UNREACHABLE, WRONG_USE, fail, nowhere, unusable
from pipeline.contract import topics as contract_topics
from pipeline.contract.codec import UndecodableError
from pipeline.contract.topics import Declared
from pipeline.contract.yaml_lines import InvalidFileError
from pipeline.kafka.bundles import BundleRefusedError
from pipeline.kafka.decoding import Decoder
from pipeline.kafka.errors import DeliveryError, UnreachableError, UnregisteredError
from pipeline.kafka.reading import LogReader
from pipeline.kafka.registry import Registry
from pipeline.local.stack import Addresses, addresses
from pipeline.operations.proof.evidence import Progress, TopicEvidence
from pipeline.settings import Settings, SettingsError


def surroundings() -> tuple[Settings, Addresses]:
    """Settings, and the addresses of Kafka and registry: set ones, else the local stack's.

    Raises:
        SettingsError: a setting can't be used.
        UnreachableError: nothing is set and nothing runs here.

    """
    settings = configuration.load()
    found = addresses(settings)
    if found is None:
        raise UnreachableError(nowhere(settings))
    return settings, found


def declared_topics(file: Path | None = None) -> Declared:
    """What topics.yaml declares: a file named in the call, else the set one, else the shipped one.

    Raises:
        SettingsError: a setting can't be used.
        InvalidFileError: the file can't be used.

    """
    return contract_topics.load(file or configuration.load().topics_file)


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
    except (SettingsError, ConfigurationError) as error:
        fail(str(error), WRONG_USE)
    except OSError as error:
        fail(unusable(error), WRONG_USE)
    except (InvalidFileError, BundleRefusedError, UndecodableError, DeliveryError) as error:
        fail(str(error), FOUND)
