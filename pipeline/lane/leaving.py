"""Leaving the process: the one answer to everything indefinite.

A transactional client that hangs, a fatal error or a failed agent can't be argued with from inside;
a fresh process restores within a second. Knows nothing of Kafka or Faust.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import threading
import time
from typing import NoReturn

from .config import EX_TEMPFAIL


def leave(why: str, code: int = EX_TEMPFAIL) -> NoReturn:
    """End this process now, with the reason and every thread's stack on file descriptor 2.

    Straight to the descriptor: Faust redirects `sys.stderr` into logging, which may be what hangs.
    """
    try:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        with contextlib.suppress(OSError):
            os.write(2, f"{stamp} lane: leaving the process ({code}): {why}\n".encode())
        if code == EX_TEMPFAIL:
            with contextlib.suppress(OSError):
                faulthandler.dump_traceback(file=2)
    finally:
        os._exit(code)


class Watchdog:
    """Leaves the process when one step takes longer than it may."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._step = "start"
        self._due = time.monotonic() + max(limit_s, 60.0)
        self._off = threading.Event()
        threading.Thread(target=self._run, name="lane-watchdog", daemon=True).start()

    def step(self, what: str, limit_s: float | None = None) -> None:
        """Note that the lane has begun `what` and has `limit_s` for it."""
        self._step = what
        self._due = time.monotonic() + (self._limit_s if limit_s is None else limit_s)

    def close(self) -> None:
        """Watch no longer."""
        self._off.set()

    def _run(self) -> None:
        while not self._off.wait(0.5):
            late = time.monotonic() - self._due
            # A process that was stopped wakes up far beyond its due time: one more round shows
            # whether it works again, and a zombie finds out by its first commit.
            if late > 0 and not self._moved_within(1.0):
                leave(f"watchdog: no progress in {self._step!r}")

    def _moved_within(self, seconds: float) -> bool:
        due = self._due
        self._off.wait(seconds)
        return self._due != due
