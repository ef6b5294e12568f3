"""What counts as an outage for a sink, how it is told, and how long to wait before the next try.

Must never know what a sink does.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Final

from confluent_kafka import KafkaError, KafkaException
from sqlalchemy.exc import SQLAlchemyError

from pipeline.kafka.errors import UnreachableError

OUTAGES: Final = (UnreachableError, KafkaException, SQLAlchemyError, OSError)
"""What passes by itself: waited out, never a reason to end."""
BACK_OFF_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)


def sentence(error: BaseException, store: str = "The sink's store") -> str:
    """What is the matter, in one sentence.

    Args:
        error: what was raised.
        store: what the sink's database is called.

    """
    if isinstance(error, KafkaException):
        cause: KafkaError = error.args[0]
        return f"Kafka does not answer ({cause.name()}: {cause.str()})"
    if isinstance(error, SQLAlchemyError):
        return f"{store} can't be used ({type(error).__name__}: {_first_line(error)})"
    return _first_line(error)


class Waits:
    """Growing, jittered waits; after a quiet while they begin anew.

    Args:
        stop: ends a wait.

    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._failures = 0
        self._last = time.monotonic()

    def wait(self) -> None:
        """Wait after a failure."""
        if time.monotonic() - self._last > BACK_OFF_S[-1]:
            self._failures = 0
        wait_s = BACK_OFF_S[min(self._failures, len(BACK_OFF_S) - 1)]
        self._failures += 1
        self._stop.wait(wait_s * random.uniform(0.7, 1.0))  # noqa: S311  spreads reconnects
        self._last = time.monotonic()


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0][:500] or type(error).__name__
