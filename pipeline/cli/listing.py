"""Rows and sentences for a terminal of any width: words stay whole, columns that may be cut are.

Written to a file or a pipe nothing is cut. Must never know what a row is about.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

_GAP = "  "
_LEAST = 8


def terminal_width() -> int | None:
    """Columns of the terminal; None where the output goes to a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    cut: Collection[int] = (),
    below: Collection[int] = (),
    width: int | None = None,
) -> Iterator[str]:
    """Lines of a table; the widest of the columns that may be cut give way first.

    Args:
        headings: one a column.
        rows: cells, one line each.
        cut: columns that may be cut.
        below: columns that get a line of their own below their row, if all together are too wide.
        width: of the terminal; None: as wide as it takes.

    """
    if below and width is not None and _natural(headings, rows) > width:
        beside = [at for at in range(len(headings)) if at not in below]
        yield from _paired(
            [headings[at] for at in beside],
            [[row[at] for at in beside] for row in rows],
            [": ".join(row[at] for at in sorted(below) if row[at]) for row in rows],
            width,
        )
        return
    columns = [
        max([len(heading), *(len(row[at]) for row in rows)]) for at, heading in enumerate(headings)
    ]
    spare = None if width is None else width - len(_GAP) * (len(columns) - 1)
    while spare is not None and sum(columns) > spare:
        widest = max(cut, key=lambda at: columns[at], default=None)
        if widest is None or columns[widest] <= _LEAST:
            break
        columns[widest] -= 1
    for row in (headings, *rows):
        yield _GAP.join(_fitted(cell, columns[at]) for at, cell in enumerate(row)).rstrip()


def _natural(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    columns = zip(headings, *rows, strict=True)
    return sum(max(map(len, column)) + len(_GAP) for column in columns) - len(_GAP)


def _paired(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str],
    width: int,
) -> Iterator[str]:
    first, *lines = table(headings, rows, cut=range(len(headings)), width=width)
    yield first
    for line, note in zip(lines, notes, strict=True):
        yield line
        yield from wrapped(note, "    ", width)


def wrapped(text: str, indent: str = "", width: int | None = None) -> list[str]:
    """A text in lines, each of them indented; words stay whole."""
    if width is None:
        return [indent + text]
    return textwrap.wrap(
        text,
        max(width, 20),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def iso(milliseconds: int | None) -> str:
    """A time for people: UTC, to the second; empty for none."""
    if milliseconds is None:
        return ""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{milliseconds} ms"


def _fitted(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else text[: width - 1] + "…"
