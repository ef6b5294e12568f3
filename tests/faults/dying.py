"""Runs a command of Milepost in a process that will kill or stop itself.

`dying.py POINT PASSAGE [SIGNAL] -- run governor --worker`
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from crash_points import arm

from pipeline.cli.main import main

if __name__ == "__main__":
    split = sys.argv.index("--")
    point, passage, *number = sys.argv[1:split]
    arm(point, int(passage), signal.Signals[number[0]] if number else signal.SIGKILL)
    sys.argv = ["milepost", *sys.argv[split + 1 :]]
    main()
