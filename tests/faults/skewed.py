"""Runs a command of Milepost whose clock is as wrong as a file says: `skewed.py FILE -- run …`.

The clock of Python, not that of the process: librdkafka waits by the time of day and would spin or
sleep under libfaketime, which proves nothing about Milepost.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

FILE, _, *COMMAND = sys.argv[1:]
REAL_NS = time.time_ns


def wrong_ns() -> int:
    return REAL_NS() + int(Path(FILE).read_text()) * 1_000_000_000


if __name__ == "__main__":
    time.time_ns = wrong_ns
    time.time = lambda: wrong_ns() / 1_000_000_000

    from pipeline.cli.main import main

    sys.argv = ["milepost", *COMMAND]
    main()
