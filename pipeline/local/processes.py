"""Child processes that end with this one, even when it is killed with -9.

Each child runs below a guard (`guard.py`). Must never know what a child is for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.local.faults import StartError

LOG_BYTES_MAX = 10_000_000
TAIL_BYTES = 4_000
GUARD = Path(__file__).with_name("guard.py")


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run: what people call it, how to start it and where its output goes."""

    name: str
    argv: Sequence[str]
    cwd: Path
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    """The whole environment of the child but for the few variables any program needs."""
    grace_s: float = 10.0
    """How long it may take to end when asked, before it is killed."""


class Process:
    """A running child.

    Args:
        command: what to run.
        hold: file descriptors that stay open until the child has ended, such as a lock's.

    Raises:
        StartError: it could not be started.

    """

    def __init__(self, command: Command, *, hold: Sequence[int] = ()) -> None:
        self.command = command
        command.log.parent.mkdir(parents=True, exist_ok=True)
        if command.log.exists() and command.log.stat().st_size > LOG_BYTES_MAX:
            command.log.replace(command.log.with_suffix(".1.log"))
        with command.log.open("ab") as log:
            self.log_start = log.tell()
            self._guard = subprocess.Popen(
                [
                    sys.executable,
                    *("-I", "-S", str(GUARD), str(os.getpid()), str(command.grace_s)),
                    *command.argv,
                ],
                cwd=command.cwd,
                env={**_needed(), **command.env},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=tuple(hold),
                start_new_session=True,
            )
        assert self._guard.stdout is not None  # noqa: S101 - asked for a pipe above
        with self._guard.stdout as told:
            line = told.readline()
        if not line:
            self.stop()
            raise StartError(f"{command.name} could not be started: see {command.log}")
        self.pid = int(line)

    def exit_code(self) -> int | None:
        """Give the exit code (128 + signal if killed), or None while it runs."""
        return self._guard.poll()

    def stop(self) -> None:
        """Ask it to end, kill it after its grace, and wait until it is gone."""
        self.ask_to_end()
        self._guard.wait()

    def ask_to_end(self) -> None:
        """Let its end begin without waiting: several can end side by side."""
        assert self._guard.stdin is not None  # noqa: S101 - asked for a pipe above
        self._guard.stdin.close()

    def kill(self) -> None:
        """End it like a crash: nothing is asked first."""
        if self.exit_code() is None:
            os.kill(self.pid, signal.SIGKILL)
        self.stop()

    def output(self) -> str:
        """Give what it has written since it was started, at most the last few thousand bytes."""
        with self.command.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self.log_start, size - TAIL_BYTES))
            return log.read().decode("utf-8", "replace")

    def wait_until(self, ready: Callable[[], bool], within_s: float) -> None:
        """Wait until `ready()` is true.

        Raises:
            StartError: it ended before, or was not ready within `within_s` seconds.

        """
        deadline = time.monotonic() + within_s
        while not ready():
            code = self.exit_code()
            if code is not None:
                raise StartError(
                    f"{self.command.name} ended with code {code} before it was ready "
                    f"({self._last_line()}): see {self.command.log}"
                )
            if time.monotonic() > deadline:
                raise StartError(
                    f"{self.command.name} was not ready within {within_s:.0f} s "
                    f"({self._last_line()}): see {self.command.log}"
                )
            time.sleep(0.05)

    def wait_done(self, within_s: float) -> None:
        """Wait until it has ended well.

        Raises:
            StartError: it failed, or took longer than `within_s` seconds.

        """
        deadline = time.monotonic() + within_s
        while (code := self.exit_code()) is None:
            if time.monotonic() > deadline:
                raise StartError(
                    f"{self.command.name} was not done within {within_s:.0f} s "
                    f"({self._last_line()}): see {self.command.log}"
                )
            time.sleep(0.02)
        if code:
            raise StartError(
                f"{self.command.name} failed with code {code} "
                f"({self._last_line()}): see {self.command.log}"
            )

    def _last_line(self) -> str:
        lines = self.output().split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")


def _needed() -> dict[str, str]:
    """Pick what any program needs; options for Java, Kafka or Quarkus must not leak in."""
    names = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
    return {name: os.environ[name] for name in names if name in os.environ}
