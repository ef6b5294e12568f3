"""What an audit has to remember of every record: on disk, so that memory does not grow with them.

A `Column` is a list of cells of one width, `Buckets` group entries by key. Both are files without a
name, gone with the process. Must never know what is remembered.
"""

from __future__ import annotations

import os
import struct
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

_PAGE_BYTES: Final = 65_536
_PAGES_MAX: Final = 32
"""Pages of a column that are in memory."""
_CHUNK_BYTES: Final = 4_096
_BUCKETS: Final = 256
_LINK = struct.Struct("<qI")
_NONE: Final = -1
KEY_BYTES: Final = 16


class Column:
    """Cells of one width by number; those that were never set are zero.

    Args:
        layout: of a cell, as `struct` has it.
        folder: where its file is.

    """

    def __init__(self, layout: str, folder: Path | None) -> None:
        self._layout = struct.Struct(layout)
        self._width = self._layout.size
        self._cells = _PAGE_BYTES // self._width
        self._folder = folder
        self._file: int | None = None
        self._pages: dict[int, bytearray] = {}
        self._dirty: set[int] = set()
        self._near = -1
        self._page = bytearray()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, *cell: Any) -> None:
        """Add a cell at the end."""
        self._length += 1
        self[self._length - 1] = cell

    def __getitem__(self, at: int) -> tuple[Any, ...]:
        number, slot = divmod(at, self._cells)
        page = self._page if number == self._near else self._turn(number)
        return self._layout.unpack_from(page, slot * self._width)

    def __setitem__(self, at: int, cell: tuple[Any, ...]) -> None:
        number, slot = divmod(at, self._cells)
        page = self._page if number == self._near else self._turn(number)
        self._layout.pack_into(page, slot * self._width, *cell)
        self._dirty.add(number)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for at in range(self._length):
            yield self[at]

    def resize(self, length: int) -> None:
        """Cut it off, or fill it up with zeros."""
        if length < self._length:
            kept, rest = divmod(length, self._cells)
            if rest:
                page = self._turn(kept)
                page[rest * self._width :] = bytes(len(page) - rest * self._width)
                self._dirty.add(kept)
                kept += 1
            for number in [number for number in self._pages if number >= kept]:
                del self._pages[number]
                self._dirty.discard(number)
            if self._file is not None:
                os.ftruncate(self._file, kept * _PAGE_BYTES)
            self._near = -1
        self._length = length

    def _turn(self, number: int) -> bytearray:
        """Have a page at hand."""
        page = self._pages.get(number)
        if page is None:
            if len(self._pages) >= _PAGES_MAX:
                self._put_away(next(iter(self._pages)))
            page = self._pages[number] = self._load(number)
        self._near, self._page = number, page
        return page

    def _put_away(self, number: int) -> None:
        page = self._pages.pop(number)
        if number in self._dirty:
            self._dirty.discard(number)
            if self._file is None:
                self._file = _nameless(self, self._folder)
            os.pwrite(self._file, page, number * _PAGE_BYTES)

    def _load(self, number: int) -> bytearray:
        if self._file is None:
            return bytearray(_PAGE_BYTES)
        found = os.pread(self._file, _PAGE_BYTES, number * _PAGE_BYTES)
        return bytearray(found.ljust(_PAGE_BYTES, b"\0"))


class Buckets:
    """Entries by key, which come back key by key, those of one key in the order added.

    Args:
        layout: of an entry besides its key, as `struct` has it.
        folder: where its file is.

    """

    def __init__(self, layout: str, folder: Path | None) -> None:
        self._layout = struct.Struct(f"<{KEY_BYTES}s{layout}")
        self._pack = self._layout.pack
        self._folder = folder
        self._file: int | None = None
        self._end = 0
        self._buffers = [bytearray() for _ in range(_BUCKETS)]
        self._newest = [_NONE] * _BUCKETS
        """Where the newest chunk of each is in the file; it begins with the place of the former."""

    def add(self, key: bytes, *entry: Any) -> None:
        """Add an entry.

        Args:
            key: 16 bytes that look like chance.
            entry: what the layout says.

        """
        buffer = self._buffers[key[0]]
        buffer += self._pack(key, *entry)
        if len(buffer) >= _CHUNK_BYTES:
            if self._file is None:
                self._file = _nameless(self, self._folder)
            chunk = _LINK.pack(self._newest[key[0]], len(buffer)) + buffer
            self._newest[key[0]] = self._end
            self._end += os.pwrite(self._file, chunk, self._end)
            buffer.clear()

    def groups(self) -> Iterator[tuple[bytes, list[tuple[Any, ...]]]]:
        """Every key with its entries, the key left out of them."""
        for newest, buffer in zip(self._newest, self._buffers, strict=True):
            groups: dict[bytes, list[tuple[Any, ...]]] = {}
            for piece in [*self._pieces(newest), bytes(buffer)]:
                for key, *entry in self._layout.iter_unpack(piece):
                    groups.setdefault(key, []).append(tuple(entry))
            yield from groups.items()

    def _pieces(self, newest: int) -> list[bytes]:
        """Chunks of a bucket, the oldest first."""
        pieces = []
        while self._file is not None and newest != _NONE:
            former, size = _LINK.unpack(os.pread(self._file, _LINK.size, newest))
            pieces.append(os.pread(self._file, size, newest + _LINK.size))
            newest = former
        return pieces[::-1]


def _nameless(owner: object, folder: Path | None) -> int:
    """A temporary file without a name, open as long as its owner is there.

    Raises:
        OSError: the folder can't be written.

    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=folder)
    Path(name).unlink()
    weakref.finalize(owner, os.close, number)
    return number
