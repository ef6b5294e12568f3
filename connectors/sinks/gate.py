"""The gate before one endpoint of the ERP: closed while the ERP is down, so that nothing is tried
in vain; opened for one posting at a time until one gets through. No clock, no I/O.

Must never know entries.
"""

from __future__ import annotations

import random
import threading
from typing import Final

from connectors.sinks.postings import Backoff

FAILURES_MAX: Final = 3
"""So many troubles in a row, of whichever postings, are an outage."""
REFUSALS_MAX: Final = 20
"""So many refusals in a row are no fault of the postings: the rest must not be parked as well."""
QUEUED: Final = 3
"""Postings taken at once, in multiples of those in flight."""
_DOUBLINGS_MAX = 20


def backoff_ms(backoff: Backoff, failures: int, chance: random.Random) -> int:
    """Wait after the n-th failure in a row: doubled each time, jittered down to the half of it."""
    first = backoff.first.total_seconds() * 1_000
    most = backoff.most.total_seconds() * 1_000
    full = min(most, first * 2.0 ** min(failures - 1, _DOUBLINGS_MAX))
    return round(full * chance.uniform(0.5, 1.0))


class Gate:
    """Says how many postings may be sent to an endpoint now. Safe to share between threads."""

    def __init__(self, backoff: Backoff, in_flight: int, chance: random.Random) -> None:
        self.closed_until_ms = 0
        self.words = ""
        self.successes = 0
        self._backoff = backoff
        self._in_flight = in_flight
        self._chance = chance
        self._failures = 0
        self._closings = 0
        self._refusals = 0
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether postings flow; while not, single ones try it."""
        return self._closings == 0

    def room(self, under_way: int, now_ms: int) -> int:
        """How many more may be sent.

        Args:
            under_way: how many are being sent.
            now_ms: the time.

        """
        if not self.is_open:
            return 1 if under_way == 0 and now_ms >= self.closed_until_ms else 0
        # More than are in flight are taken at once, and only when there is room for many
        room = QUEUED * self._in_flight - under_way
        return room if room >= self._in_flight else 0

    def lets_pass(self, now_ms: int) -> bool:
        """Whether a posting that was taken may still be sent."""
        return self.is_open or now_ms >= self.closed_until_ms

    def succeeded(self) -> None:
        """A posting was booked."""
        with self._lock:
            self._failures = self._closings = self._refusals = self.closed_until_ms = 0
            self.words = ""
            self.successes += 1

    def refused(self, now_ms: int, words: str) -> None:
        """A posting was refused: the endpoint is up, unless it refuses everything."""
        with self._lock:
            self._refusals += 1
            if self._refusals >= REFUSALS_MAX:
                text = f"the ERP has refused {self._refusals} postings in a row, the last: {words}"
                self._fail(now_ms, text, None, outage=True)
            else:
                self._failures = self._closings = self.closed_until_ms = 0
                self.words = ""

    def failed(self, now_ms: int, words: str, wait_ms: int | None, *, outage: bool) -> None:
        """A posting got no useful answer.

        Args:
            now_ms: the time.
            words: why, for people.
            wait_ms: how long the ERP asks to be left alone.
            outage: it is certain that the endpoint is down, and not only this posting in trouble.

        """
        with self._lock:
            self._fail(now_ms, words, wait_ms, outage=outage)

    def close(self, until_ms: int, words: str) -> None:
        """Keep to what an earlier process was told by the ERP."""
        self._closings = max(self._closings, 1)
        self.closed_until_ms = until_ms
        self.words = words

    def _fail(self, now_ms: int, words: str, wait_ms: int | None, *, outage: bool) -> None:
        self._failures += 1
        if not outage and self.is_open and self._failures < FAILURES_MAX:
            return
        if self.is_open or now_ms >= self.closed_until_ms:
            self._closings += 1  # several answers of one outage count once
        wait = backoff_ms(self._backoff, self._closings, self._chance)
        until = now_ms + max(wait, wait_ms or 0)
        self.closed_until_ms = max(self.closed_until_ms, until)
        self.words = words
