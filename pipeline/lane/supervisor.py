"""Keeps one worker process running: starts it again when it left on purpose or died.

Standard library only; knows nothing of Kafka, Faust or the lane but two exit codes. One supervisor
per worker slot; it must run in the main thread of a process that does nothing else.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

from .config import EX_CONFIG, EX_TEMPFAIL

PR_SET_PDEATHSIG = 1
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
WRONG_USE = 2
NO_REMEDY = frozenset({EX_CONFIG, WRONG_USE})
"""Exit codes of a worker that would end the same way again."""


@dataclass(frozen=True)
class RestartPolicy:
    """How patiently a worker is started again. Times in seconds."""

    first_s: float = 0.2
    """Pause before the second restart in a row, the first one being made at once; each further one
    takes twice as long."""
    longest_s: float = 10.0
    healthy_s: float = 30.0
    """A worker that ran this long begins a new row."""
    failures_max: int = 10
    """So many ends within `window_s` are one too many: give up."""
    window_s: float = 300.0


class Restarts:
    """Decides on restarts; pure, times come in."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self._row = 0
        self._ends: deque[float] = deque()

    def after(self, ended_at: float, ran_s: float) -> float | None:
        """Tell how long to pause before the next start; None: give up."""
        policy = self._policy
        self._ends.append(ended_at)
        while self._ends[0] <= ended_at - policy.window_s:
            self._ends.popleft()
        if len(self._ends) >= policy.failures_max:
            return None
        self._row = 1 if ran_s >= policy.healthy_s else self._row + 1
        if self._row == 1:
            return 0.0
        return min(policy.first_s * 2.0 ** (self._row - 2), policy.longest_s)


Worker = Sequence[str] | Callable[[], int]
"""A command, or a function that returns an exit code; for that nothing needs to be loaded anew."""


def supervise(
    worker: Worker,
    *,
    policy: RestartPolicy | None = None,
    env: Mapping[str, str] | None = None,
    grace_s: int = 60,
    say: Callable[[str], None] | None = None,
) -> int:
    """Run a worker until it is told to stop, or can't be helped.

    SIGTERM and SIGINT are passed on to the worker, which has `grace_s` to leave in order. On Linux
    the worker is told to stop when the supervisor dies. Call it in the main thread.

    Args:
        worker: what each process runs.
        policy: how patiently to start it again.
        env: environment of a command; None: this process's.
        grace_s: time for an orderly stop, in seconds.
        say: takes one sentence per restart, and the last one; None: standard error.

    Returns:
        0 after an orderly stop or when the worker ended well by itself; 1 after giving up.

    """
    return _Supervisor(worker, policy or RestartPolicy(), env, grace_s, say or _say).run()


def _say(sentence: str) -> None:
    # Not by sys.stderr: what it could not write it would try again at exit, and fail there
    os.write(2, f"{sentence}\n".encode())


class _Supervisor:
    """One call of `supervise`."""

    def __init__(
        self,
        worker: Worker,
        policy: RestartPolicy,
        env: Mapping[str, str] | None,
        grace_s: int,
        say: Callable[[str], None],
    ) -> None:
        self._worker = worker
        self._policy = policy
        self._env = env
        self._grace_s = grace_s
        self._say = say
        self._pid = 0
        self._stop = threading.Event()
        self._killed = False

    def run(self) -> int:
        before = {
            number: signal.signal(number, handler)
            for number, handler in (
                (signal.SIGTERM, self._on_stop),
                (signal.SIGINT, self._on_stop),
                (signal.SIGALRM, self._on_late),
            )
        }
        try:
            return self._keep()
        finally:
            signal.alarm(0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _keep(self) -> int:
        restarts = Restarts(self._policy)
        while True:
            began = time.monotonic()
            code = self._run_once()
            if self._stop.is_set():
                return self._stopped(code)
            if code == 0:
                return 0
            if code in NO_REMEDY:
                why = f"the worker can't run as it is ({_ending(code)}): see its message above"
                self._tell(why)
                return 1
            now = time.monotonic()
            pause_s = restarts.after(now, now - began)
            if pause_s is None:
                policy = self._policy
                self._tell(
                    f"giving up: the worker ended {policy.failures_max} times within "
                    f"{policy.window_s:g} s, the last time it {_ending(code)}: see its messages "
                    "above, remedy the cause and start it again"
                )
                return 1
            self._tell(f"the worker {_ending(code)}; starting it again in {pause_s:g} s")
            if self._stop.wait(pause_s):
                return 0

    def _stopped(self, code: int) -> int:
        if self._killed:
            self._tell(f"the worker did not stop within {self._grace_s} s and was killed")
            return 1
        if code not in {0, -signal.SIGTERM, -signal.SIGINT}:
            self._tell(f"the worker was told to stop and {_ending(code)}")
            return 1
        return 0

    def _run_once(self) -> int:
        parent, prctl = os.getpid(), _prctl()
        signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
        self._pid = os.fork()  # this process has one thread
        if self._pid == 0:
            os._exit(self._be_worker(parent, prctl))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
        if self._stop.is_set():
            self._pass_on(signal.SIGTERM)
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return os.waitstatus_to_exitcode(status)

    def _be_worker(self, parent: int, prctl: Callable[[int, int], int] | None) -> int:
        """In the child: run the worker; its exit code."""
        try:
            os.setsid()  # a terminal's Ctrl-C reaches the worker once, through the supervisor
            for number in _PASSED_ON:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
            if prctl is not None:
                prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
                if os.getppid() != parent:
                    return EX_TEMPFAIL
            if callable(self._worker):
                return self._worker()
            argv = list(self._worker)
            if self._env is None:
                os.execvp(argv[0], argv)  # noqa: S606  no shell is wanted
            os.execvpe(argv[0], argv, dict(self._env))  # noqa: S606
        except SystemExit as ending:
            return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        except BaseException:  # noqa: BLE001  the process ends here, whatever it was
            traceback.print_exc()
            return 1
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()

    def _tell(self, sentence: str) -> None:
        with contextlib.suppress(OSError):  # where nothing can be written, the worker still counts
            self._say(sentence)

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        self._stop.set()
        self._pass_on(number)

    def _on_late(self, _number: int, _frame: FrameType | None) -> None:
        self._killed = True
        self._pass_on(signal.SIGKILL)

    def _pass_on(self, number: int) -> None:
        if self._pid:
            signal.alarm(self._grace_s)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, number)


def _prctl() -> Callable[[int, int], int] | None:
    """Find Linux's prctl before the fork."""
    if not sys.platform.startswith("linux"):
        return None
    found: Callable[[int, int], int] = ctypes.CDLL(None).prctl
    return found


def _ending(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    if code == EX_TEMPFAIL:
        return "left the process on purpose (75)"
    return f"ended with exit code {code}"
