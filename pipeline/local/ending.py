"""Ending a stack that another process started.

Must never end a process that does not hold the state directory.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from pipeline.local.faults import LocalStackError
from pipeline.local.holding import LEAVING_S, Holding

PATIENCE_S = 30.0


def end(state_dir: Path) -> bool:
    """End the stack that runs in `state_dir` and wait until all its processes are gone.

    Returns:
        Whether there was one.

    Raises:
        LocalStackError: its processes are still there.

    """
    holding = Holding(state_dir)
    if holding.is_idle():
        return False
    for number, patience_s in ((signal.SIGTERM, PATIENCE_S), (signal.SIGKILL, LEAVING_S)):
        account = holding.read()
        if account is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(account.pid, number)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if holding.is_idle():
                return True
            time.sleep(0.1)
    raise LocalStackError(f"The stack in {state_dir} does not end: see its logs there")
