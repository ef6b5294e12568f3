"""The mailbox: a folder into which partners' files are put.

A file is read once it has stopped growing, archived once Kafka has all of its events, and put into
quarantine, with what a clerk needs to know beside it, if anything of it was not taken. Must never
know a format: that is the intake's.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
import structlog

from connectors.formats.codes import Code
from connectors.formats.findings import Finding
from connectors.formats.limits import Limits
from connectors.intake import FileReading, PlatformZoneOf, read_file, refused
from connectors.partners import Partners
from connectors.protocols import ConfigurationError, Document
from connectors.sources.checkpoint import Checkpoint

ARCHIVE: Final = "archive"
QUARANTINE: Final = "quarantine"
FINDINGS: Final = ".findings.json"
UNFINISHED: Final = frozenset({".tmp", ".part", ".partial", ".filepart", ".crdownload", ".swp"})
"""Endings under which programs write files that are not complete."""
_DIGEST_SHOWN: Final = 8
_LOGGED_MAX: Final = 20
_NAME_BYTES_MAX: Final = 200
_SUFFIX_CHARACTERS_MAX: Final = 16

_log = structlog.get_logger(__name__)


class _Look(NamedTuple):
    """What a file looked like at the last poll."""

    size: int
    modified_ns: int


class _Taken(NamedTuple):
    """A file that was read and is not settled yet."""

    path: Path
    digest: str
    reading: FileReading


class Mailbox:
    """The source; one process at a time."""

    name = "mailbox"

    def __init__(
        self,
        folder: Path,
        checkpoint: Checkpoint,
        partners: Partners,
        zone_of: PlatformZoneOf,
        limits: Limits = Limits(),  # noqa: B008  immutable
    ) -> None:
        """Make the folders.

        Args:
            folder: what is put here is read; `archive/` and `quarantine/` are made in it.
            checkpoint: what was read before; closed with the mailbox.
            partners: who sends files, and how they are read.
            zone_of: time zone at a platform's stop.
            limits: files above them go to quarantine.

        Raises:
            ConfigurationError: the folders can't be made.

        """
        self._folder = folder
        self._checkpoint = checkpoint
        self._partners = partners
        self._zone_of = zone_of
        self._limits = limits
        self._looks: dict[str, _Look] = {}
        self._unreadable: dict[str, _Look] = {}
        self._taken: _Taken | None = None
        try:
            for inner in (ARCHIVE, QUARANTINE):
                (folder / inner).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"The mailbox folder {folder} can't be used ({error.strerror}): "
                "set MILEPOST_MAILBOX_DIR to a folder that may be written to"
            ) from None

    def documents(self) -> Iterator[Document]:
        """Files that have not changed since the last call, the oldest first."""
        before, self._looks = self._looks, self._look()
        still = [name for name, look in self._looks.items() if before.get(name) == look]
        for name in sorted(still, key=lambda name: (self._looks[name].modified_ns, name)):
            if self._unreadable.get(name) == self._looks[name]:
                continue
            document = self._take(name)
            if document is not None:
                yield document

    def delivered(self, document: Document) -> None:
        """Archive the file, or put it into quarantine if not all of it was taken."""
        self._settle(document, self._reading(document))

    def refused(self, document: Document, why: str) -> None:
        """Put the file into quarantine: an event of it can't be sent."""
        reading = self._reading(document)
        extra = refused(Code.RECORD_REFUSED, why).findings
        whole = len(reading.claims) + reading.rejected_events
        self._settle(
            document,
            reading._replace(
                claims=(), rejected_events=whole, findings=(*reading.findings, *extra)
            ),
        )

    def waiting(self) -> int:
        """Files that are there, those apart that can't be read."""
        return sum(self._unreadable.get(name) != look for name, look in self._look().items())

    def complete(self) -> bool:
        """Whether every file that is there has been read: none waits, none can't be read."""
        return not self._look()

    def close(self) -> None:
        """Let go of the checkpoint."""
        self._checkpoint.close()

    def _look(self) -> dict[str, _Look]:
        found = {}
        with _storage(self._folder), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or Path(entry.name).suffix.lower() in UNFINISHED:
                    continue
                try:
                    if entry.is_file(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        found[entry.name] = _Look(status.st_size, status.st_mtime_ns)
                except OSError:
                    # Taken away between the two calls
                    continue
        return found

    def _take(self, name: str) -> Document | None:
        """Read a file; None: it was read before, or it can't be read now."""
        path = self._folder / name
        try:
            size = self._looks[name].size
            if size > self._limits.bytes_max:
                digest = _digest_of(path)
                detail = f"{size:,} bytes, at most {self._limits.bytes_max:,}"
                return self._document(path, digest, refused(Code.LIMIT_EXCEEDED, detail))
            data = path.read_bytes()
            status = path.stat()
            if _Look(status.st_size, status.st_mtime_ns) != self._looks[name]:
                # Still being written after all: its turn comes
                return None
        except OSError as error:
            self._unreadable[name] = self._looks[name]
            _log.warning("file can't be read", file=_shown(name), why=error.strerror)
            return None
        digest = hashlib.sha256(data).hexdigest()
        known = self._checkpoint.find(digest)
        if known is not None and known.outcome == ARCHIVE:
            _log.info("file was read before", file=_shown(name), as_=known.name)
            with _storage(self._folder):
                _move(path, self._target(ARCHIVE, path, digest))
            return None
        reading = read_file(data, self._partners, self._zone_of, self._limits)
        return self._document(path, digest, reading)

    def _document(self, path: Path, digest: str, reading: FileReading) -> Document:
        self._taken = _Taken(path, digest, reading)
        return Document(digest, _shown(path.name), tuple(claim.record for claim in reading.claims))

    def _reading(self, document: Document) -> FileReading:
        if self._taken is None or self._taken.digest != document.id:
            raise AssertionError("a document is settled that was not the last one given")
        return self._taken.reading

    def _settle(self, document: Document, reading: FileReading) -> None:
        """Findings, checkpoint, move, in this order: a kill in between is made good at restart."""
        taken = self._taken
        if taken is None:
            raise AssertionError("no document was given")
        outcome = ARCHIVE if reading.complete else QUARANTINE
        with _storage(self._folder):
            target = self._target(outcome, taken.path, taken.digest)
            if reading.findings:
                content = reading.document(document.name, taken.digest)
                _write(target.with_name(target.name + FINDINGS), content)
            _log_findings(document.name, reading.findings)
            self._checkpoint.store(taken.digest, document.name, outcome, len(reading.claims))
            _move(taken.path, target)
            if outcome == ARCHIVE:
                self._clear(self._target(QUARANTINE, taken.path, taken.digest), taken.digest)
        self._taken = None
        _log.info(
            "file settled",
            file=document.name,
            outcome=outcome,
            partners=list(reading.partners),
            events=len(reading.claims),
            events_not_taken=reading.rejected_events,
        )

    def _clear(self, quarantined: Path, digest: str) -> None:
        """Empty the quarantine of a file that has been taken after all, and is archived."""
        stale = quarantined.with_name(quarantined.name + FINDINGS)
        try:
            about = orjson.loads(stale.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return
        if isinstance(about, dict) and about.get("sha256") == digest:
            stale.unlink(missing_ok=True)
            if quarantined.is_file() and _digest_of(quarantined) == digest:
                quarantined.unlink()

    def _target(self, outcome: str, path: Path, digest: str) -> Path:
        """Where a file goes; partners use one name again and again, so a taken name is extended."""
        target = self._folder / outcome / path.name
        if len(os.fsencode(path.name)) > _NAME_BYTES_MAX:
            # There has to be room for the findings file's name
            target = target.with_name(digest + path.suffix[:_SUFFIX_CHARACTERS_MAX])
        if target.exists() and _digest_of(target) != digest:
            name = f"{path.stem}.{digest[:_DIGEST_SHOWN]}{path.suffix}"
            target = target.with_name(name)
        return target


@contextmanager
def _storage(folder: Path) -> Iterator[None]:
    """Turn a full or broken disk into a message; what was not settled is read again at restart."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(
            f"The mailbox {folder} can't be read or written ({error}): see that the disk has room "
            "and that the folder and MILEPOST_STATE_DIR may be written to, then start it again"
        ) from None


def _shown(name: str) -> str:
    """A file's name as text that can be written anywhere, whatever bytes it is made of."""
    return os.fsencode(name).decode("utf-8", "replace")


def _log_findings(name: str, findings: tuple[Finding, ...]) -> None:
    """One line a finding; values of the document stay in the findings file."""
    for finding in findings[:_LOGGED_MAX]:
        _log.info(
            "finding",
            file=name,
            severity=finding.action.severity,
            code=str(finding.code),
            at=str(finding.position),
            action=str(finding.action),
        )
    if len(findings) > _LOGGED_MAX:
        _log.info("more findings", file=name, findings=len(findings))


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write a file so that it is there as a whole or not at all."""
    unfinished = path.with_name(f".{path.name}.tmp")
    with unfinished.open("wb") as file:
        file.write(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _move(path: Path, target: Path) -> None:
    """Move a file; a partner may have taken it away meanwhile."""
    try:
        path.replace(target)
    except FileNotFoundError:
        _log.warning("file is gone", file=_shown(path.name))
