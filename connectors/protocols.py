"""What a source must be able to do, so that one runtime can drive all of them.

Must never know a broker, a format or a partner.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from pipeline.settings import SettingsError

Record = dict[str, Any]
"""A raw event as a plain dictionary, the form of `schemas/raw-event.avsc`."""


class Document(NamedTuple):
    """What a source read at once: it is done when all of its records are delivered."""

    id: str
    """The same whenever the same document is read again."""
    name: str
    records: tuple[Record, ...]


class Source(Protocol):
    """Something that documents are read from, at its own pace.

    The runtime settles each document before it asks for the next. A source that is killed between
    the two reads the document again: it may give the same records twice, never none.
    """

    name: str

    def documents(self) -> Iterator[Document]:
        """What is ready now, oldest first; ends when nothing more is."""
        ...

    def delivered(self, document: Document) -> None:
        """Kafka has acknowledged every record: store the checkpoint."""
        ...

    def refused(self, document: Document, why: str) -> None:
        """A record can never be delivered: put the document where a person sees it."""
        ...

    def waiting(self) -> int:
        """How many documents are there that `documents` has not given yet."""
        ...

    def close(self) -> None:
        """Give back what the source holds."""
        ...


class ConfigurationError(SettingsError):
    """A connector can't start as it is set up; the message names the setting and the remedy."""
