"""Unpacking an archive without letting it write elsewhere, and the digest of what came out.

Must never know which archive it is.
"""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path


def unpack(archive: tarfile.TarFile, target: Path) -> None:
    """Unpack plain files and folders below `target`; links, devices and escapes are refused.

    Raises:
        tarfile.FilterError: a member is no plain file or folder, or points outside.

    """
    for member in archive:
        if not (member.isfile() or member.isdir()):
            raise tarfile.SpecialFileError(member)
        archive.extract(member, target, filter="data")


def tree_digest(folder: Path) -> tuple[int, str]:
    """Count the files below `folder` and digest their paths and contents, in a fixed order."""
    lines = []
    for path in sorted(item for item in folder.rglob("*") if item.is_file()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        lines.append(f"{content}  {path.relative_to(folder).as_posix()}\n")
    return len(lines), hashlib.sha256("".join(lines).encode()).hexdigest()
