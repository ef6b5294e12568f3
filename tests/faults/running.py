"""Processes of the product in an arena: started again and again, and how each of them ended.

An end that nobody asked for is noted with the last that the process said. Who kills or stops one
by these methods has asked for it; what a fault makes of one otherwise is for the table of faults.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

import psutil
from governed_stack import ROOT, until

from pipeline.local.processes import Command, Process

KILLED = 128 + signal.SIGKILL
CRASHED = 128 + signal.SIGSEGV
LEFT = 75
"""A worker left on purpose, for a fresh one to take over."""
IN_ORDER = frozenset({0, 128 + signal.SIGTERM})
"""Of one that was asked to end; by the signal itself if it had hardly begun."""
RESTARTS_MAX = 5
"""So many restarts by a supervisor, and an operator starts that anew. It gives up after ten within
minutes, which is made for a worker that can't run and not for a campaign."""
LAST = 1_500
ENDED = re.compile(
    r"the worker (?:left the process on purpose \((\d+)\)|was ended by (SIG[A-Z]+)"
    r"|ended with exit code (\d+)); starting it again"
)

WHY = re.compile(r".*lane: leaving the process.*")
"""What a worker says before every thread's stack."""

MEMBERSHIP = re.compile(r'"event": "(?:(assigned|revoked) partitions|\[\^-LaneApp\]: Starting)')
"""What a worker says of its place in the group: it begins without one."""


class End(NamedTuple):
    """How a process ended that nobody had asked to end so."""

    name: str
    code: int
    words: str
    """The last that it said."""

    def __str__(self) -> str:
        return f"{self.name} ended with {self.code}, having said: {self.words}"


class Running:
    """A process of the product, started again and again.

    Args:
        name: its name.
        argv: how it is started.
        env: its environment.
        log: where it writes to.
        ends: takes the ends that nobody asked for.

    """

    def __init__(
        self, name: str, argv: tuple[str, ...], env: dict[str, str], log: Path, ends: list[End]
    ) -> None:
        self.name, self.argv, self.env, self.log_file = name, argv, env, log
        self.process: Process | None = None
        self.ends = ends
        self._may_end: set[int] = set()
        self._judged = False

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.exit_code() is None

    def start(
        self, argv: tuple[str, ...] | None = None, ends: Collection[int] = (), **env: str
    ) -> None:
        """Start it; with another command or environment only this once.

        Args:
            argv: the command, if it is another one.
            ends: exit codes that it is to end with by itself.
            env: variables besides.

        """
        if self.process is not None:
            self.stop()
        command = Command(
            name=self.name,
            argv=argv or self.argv,
            cwd=ROOT,
            log=self.log_file,
            env=self.env | env,
            grace_s=60,
        )
        self.process = Process(command)
        self._may_end, self._judged = set(ends), False

    def ask_to_end(self, ends: Collection[int] = ()) -> None:
        """Let its end in order begin.

        Args:
            ends: exit codes besides those of an order.

        """
        if self.running:
            self._may_end |= IN_ORDER.union(ends)
        self.process.ask_to_end()

    def stop(self) -> int:
        """End it in order; its exit code."""
        self.ask_to_end()
        self.process.stop()
        self.judge()
        return self.process.exit_code()

    def kill(self) -> None:
        """End it as a crash does."""
        if self.running:
            self._may_end.add(KILLED)
        self.process.kill()

    def wait(self, seconds: float = 60.0) -> int:
        """Wait until it has ended; its exit code."""
        until(lambda: not self.running, seconds, f"the end of {self.name}")
        return self.process.exit_code()

    def judge(self) -> None:
        """Note its end, if it has ended and nobody asked for that."""
        if self.process is None or self.running or self._judged:
            return
        self._judged, code = True, self.process.exit_code()
        if code not in self._may_end:
            self.ends.append(End(self.name, code, self.said()[-LAST:]))

    def said(self) -> str:
        """The last of what it wrote since it was started."""
        return self.process.output()

    def log(self, since: int = 0) -> str:
        """Everything it wrote since its log had so many bytes."""
        with self.log_file.open("rb") as log:
            log.seek(since)
            return log.read().decode("utf-8", "replace")

    @property
    def logged(self) -> int:
        """Bytes of its log."""
        return self.log_file.stat().st_size


class Governor(Running):
    """One worker slot: `milepost run governor`, a supervisor and its worker; or a bare worker."""

    group: Callable[[], str]
    """Tells the consumer group of the moment: two at once would both govern."""

    bare = False
    """Whether it runs without a supervisor: what a test has spoiled does."""

    restarts = 0
    """How often its supervisor started the worker again, since that was started itself."""

    def __init__(self, *given) -> None:
        super().__init__(*given)
        self._asked: Counter[int] = Counter()
        """Ends of its worker that were asked for and not seen yet, by exit code."""
        self._read_to = 0

    def start(
        self,
        argv: tuple[str, ...] | None = None,
        ends: Collection[int] = (),
        *,
        supervised: bool = False,
        **env: str,
    ) -> None:
        """Start it; what it is given besides only this once.

        Args:
            argv: the command, if it is another one.
            ends: exit codes that it is to end with by itself.
            supervised: whether that command has a supervisor.
            env: variables besides.

        """
        super().start(argv, ends, MILEPOST_GOVERNOR_GROUP=self.group(), **env)
        self.bare, self.restarts = argv is not None and not supervised, 0
        self._asked.clear()
        self._read_to = self.process.log_start

    def worker_pid(self) -> int | None:
        """The worker's process, below its supervisor if it has one."""
        if self.bare:
            return self.pid if self.running else None
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.pid).children()
            return children[0].pid if children else None
        return None

    def govern(self) -> None:
        """Wait until it has its share of partitions, for the first time since its start."""
        until(lambda: '"state_restored"' in self.said(), 60, f"a share for {self.name}")

    def is_member(self) -> bool:
        """Whether it says that it belongs to its group."""
        told = MEMBERSHIP.findall(self.log(self.process.log_start))
        return told[-1:] == ["assigned"]

    def kill_both(self) -> None:
        """Kill -9 supervisor and worker, as the end of their machine does."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.pid).children()
            self.kill()
            for child in children:
                child.kill()

    def kill_worker(self) -> None:
        """Kill -9 the worker, not its supervisor."""
        pid = until(self.worker_pid, 30, f"a worker of {self.name}")
        if self.bare:  # until it is seen to have ended, nobody starts it again
            self.kill()
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self._asked[KILLED] += 1

    def judge(self) -> None:
        """Note ends of it and of its worker, where nobody asked for them."""
        if self.process is None:
            return
        news = self._news()
        for found in ENDED.finditer(news):
            left, by_signal, ended = found.groups()
            code = 128 + signal.Signals[by_signal] if by_signal else int(left or ended)
            self.restarts += 1
            if self._asked[code]:
                self._asked[code] -= 1
            else:
                said = WHY.findall(news[: found.start()])[-1:]
                words = "\n".join([*said, news[max(0, found.start() - LAST) : found.end()]])
                self.ends.append(End(f"the worker of {self.name}", code, words))
        super().judge()

    def _news(self) -> str:
        """Whole lines that were written since it was last asked."""
        with self.log_file.open("rb") as log:
            log.seek(self._read_to)
            news = log.read()
        whole = news[: news.rfind(b"\n") + 1]
        self._read_to += len(whole)
        return whole.decode("utf-8", "replace")
