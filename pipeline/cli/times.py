"""Times as people type them. Must never read a clock for more than "now"."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Final

from pipeline.cli.terminal import WRONG_USE, fail

END_OF_TIME: Final = 1 << 62
_SPANS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(option: str, text: str | None) -> int:
    """An ISO 8601 time as ms UTC; None: the end of time. Without an offset it is UTC.

    Raises:
        typer.Exit: it is none.

    """
    if text is None:
        return END_OF_TIME
    parsed = _parsed(text)
    if parsed is None:
        fail(f"{option}: {text!r} is no ISO 8601 time, e.g. 2026-11-25T10:05:00Z", WRONG_USE)
    return parsed


def since_ms(text: str, option: str = "--since") -> int:
    """An ISO 8601 time, or a span back from now such as 2h, as ms UTC.

    Raises:
        typer.Exit: it is neither.

    """
    span = text[:-1]
    if span.isdecimal() and text[-1:] in _SPANS and len(span) <= 9:
        try:
            back = datetime.now(UTC) - timedelta(**{_SPANS[text[-1]]: int(span)})
        except OverflowError:
            return 0
        return max(0, int(back.timestamp() * 1000))
    parsed = _parsed(text)
    if parsed is None:
        what = "neither a span such as 30m, 2h, 7d nor an ISO 8601 time"
        fail(f"{option}: {text!r} is {what}", WRONG_USE)
    return parsed


def _parsed(text: str) -> int | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def now_ms() -> int:
    """The time, ms UTC."""
    return time.time_ns() // 1_000_000
