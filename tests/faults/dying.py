"""Runs a command of Milepost in a process that will kill or stop itself, or abort a transaction.

`dying.py POINT PASSAGE [SIGNAL] -- run governor --worker`, `dying.py abort PASSAGE -- …`
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import crash_points

from pipeline.cli.main import main


def take(arguments: list[str]) -> list[str]:
    """Arm what the arguments before `--` name; the command behind it."""
    split = arguments.index("--")
    told = arguments[:split]
    if told and told[0] == "abort":
        crash_points.abort(int(told[1]))
    elif told:
        point, passage, *number = told
        crash_points.arm(point, int(passage), signal.Signals[number[0] if number else "SIGKILL"])
    return arguments[split + 1 :]


if __name__ == "__main__":
    sys.argv = ["milepost", *take(sys.argv[1:])]
    main()
