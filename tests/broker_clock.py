"""A Kafka broker whose clock the test holds: libfaketime, loaded into the broker's JVM alone.

Append times are the broker's, so this is the only clock that governs. Timers of the broker run on
its monotonic clock, which stays real; what it waits for between two tries doesn't, so it starts,
ends and leaps over years with a clock that runs.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from pipeline.local.broker import Broker

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
MISSING = "libfaketime is not here: apt-get install faketime"
_NEVER_MS = 2**31 - 1
_AGES_MS = 2**53
_UNMOVED = {
    # The controller's log waits by the time of day for more to write
    "controller.quorum.append.linger.ms": 0,
    # A request to itself that is under way when days pass must not time out
    "request.timeout.ms": _NEVER_MS,
    "broker.session.timeout.ms": _NEVER_MS,
    # What it drops, rolls or aborts by the time of day would fall due with every leap
    "log.roll.ms": _AGES_MS,
    "log.retention.check.interval.ms": _NEVER_MS,
    "metadata.log.segment.ms": _AGES_MS,
    "metadata.log.max.snapshot.interval.ms": 0,
    "offsets.retention.check.interval.ms": _NEVER_MS,
    "producer.id.expiration.check.interval.ms": _NEVER_MS,
    "transaction.remove.expired.transaction.cleanup.interval.ms": _NEVER_MS,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": _NEVER_MS,
}


class BrokerClock:
    """What a broker takes for the time of day; ms UTC."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.now_ms = 0

    def run_from(self, at_ms: int) -> None:
        """Go on from a time."""
        self.now_ms = at_ms
        self._write(f"{(at_ms - time.time_ns() // 1_000_000) / 1_000:+.3f}")

    def stand(self, at_ms: int) -> None:
        """Show exactly this time from now on."""
        self.now_ms = at_ms
        seconds, rest = divmod(at_ms, 1_000)
        self._write(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(seconds))}.{rest:03d}")

    def _write(self, text: str) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(f"{text}\n")
        new.replace(self.file)


class ClockedBroker(Broker):
    """A broker of the local stack that reads this clock."""

    def __init__(self, clock: BrokerClock, *given, **named) -> None:
        super().__init__(*given, **named)
        self._clock = clock

    def command(self):
        command = super().command()
        return dataclasses.replace(
            command,
            env={
                **command.env,
                "LD_PRELOAD": str(LIBRARY),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock.file),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_RESET": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_FORCE_MONOTONIC_FIX": "0",
                "TZ": "UTC",
            },
        )

    def _properties(self) -> str:
        kept = "".join(f"{name}={value}\n" for name, value in _UNMOVED.items())
        return super()._properties() + kept
