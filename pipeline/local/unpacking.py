"""Unpacking an archive without letting it write elsewhere, and the digest of what came out.

Must never know which archive it is.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from pathlib import Path


class UnsafeArchiveError(tarfile.TarError):
    """A member of an archive is no plain file or folder, or points outside of its target."""


def unpack(archive: tarfile.TarFile, target: Path) -> None:
    """Unpack plain files and folders below `target`; links, devices and escapes are refused.

    The standard library's filters do as much, but only since Python 3.11.4.

    Raises:
        UnsafeArchiveError: a member is no plain file or folder, or points outside.

    """
    root = target.resolve()
    for member in archive:
        place = (root / member.name).resolve()
        if not place.is_relative_to(root):
            raise UnsafeArchiveError(f"{member.name!r} points outside of the archive's folder")
        if member.isdir():
            place.mkdir(parents=True, exist_ok=True)
            continue
        content = archive.extractfile(member) if member.isfile() else None
        if content is None:
            raise UnsafeArchiveError(f"{member.name!r} is neither a file nor a folder")
        place.parent.mkdir(parents=True, exist_ok=True)
        with content, place.open("wb") as file:
            shutil.copyfileobj(content, file)
        place.chmod(0o755 if member.mode & 0o100 else 0o644)


def tree_digest(folder: Path) -> tuple[int, str]:
    """Count the files below `folder` and digest their paths and contents, in a fixed order."""
    lines = []
    for path in sorted(item for item in folder.rglob("*") if item.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        lines.append(f"{content}  {path.relative_to(folder).as_posix()}\n")
    return len(lines), hashlib.sha256("".join(lines).encode()).hexdigest()
