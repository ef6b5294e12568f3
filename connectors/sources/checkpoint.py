"""What a mailbox has read: one row a document, by the digest of its content.

Held by one process at a time. Must never know what a document says.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import NamedTuple, Self

from connectors.protocols import ConfigurationError

_TABLE = """
CREATE TABLE IF NOT EXISTS documents (
  digest TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  outcome TEXT NOT NULL,
  records INTEGER NOT NULL,
  stored_ms INTEGER NOT NULL
) STRICT
"""
_STORE = """
INSERT INTO documents VALUES (?, ?, ?, ?, ?)
ON CONFLICT (digest) DO UPDATE SET name = excluded.name, outcome = excluded.outcome,
  records = excluded.records, stored_ms = excluded.stored_ms
"""


class Read(NamedTuple):
    """A document that was read before."""

    name: str
    outcome: str
    records: int


class Checkpoint:
    """The checkpoint of one mailbox, durable once `store` returns."""

    def __init__(self, path: Path) -> None:
        """Open or create it.

        Raises:
            ConfigurationError: another process holds it, or the file can't be used.

        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=1.0, isolation_level=None)
        try:
            # The lock lasts until the process ends, however it ends
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("BEGIN EXCLUSIVE")
            self._connection.execute(_TABLE)
            self._connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise ConfigurationError(
                f"The mailbox's checkpoint {path} can't be used ({error}): stop the other mailbox, "
                "or set MILEPOST_STATE_DIR to a folder of its own"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def find(self, digest: str) -> Read | None:
        """What is known of a document."""
        row = self._connection.execute(
            "SELECT name, outcome, records FROM documents WHERE digest = ?", (digest,)
        ).fetchone()
        return None if row is None else Read(*row)

    def store(self, digest: str, name: str, outcome: str, records: int) -> None:
        """Remember a document whose records have all been delivered."""
        now_ms = time.time_ns() // 1_000_000
        self._connection.execute(_STORE, (digest, name, outcome, records, now_ms))

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
