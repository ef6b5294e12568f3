"""Threads that take turns: exactly one runs at any time, and who is next is always said by name.

So the lane's own code, which blocks where it waits, runs under a schedule that a seed decides. Must
never decide who is next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class CrashError(BaseException):
    """The process that this thread stands for is gone. Not an error that code may handle."""


class Turn:
    """The turn of whoever runs the simulation; of everybody else, `Actor` adds the thread."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._turn.acquire()

    def give(self) -> None:
        """Let it go on; whoever calls this must not."""
        self._turn.release()

    def take(self) -> None:
        """Wait for this one's own turn.

        Raises:
            CrashError: it is over.

        """
        self._turn.acquire()


class Actor(Turn):
    """A thread with a turn of its own.

    Args:
        name: of the thread.
        body: what it does.
        after: called when it is over, still in its turn; says who is next.

    """

    def __init__(self, name: str, body: Callable[[], None], after: Callable[[], Turn]) -> None:
        super().__init__()
        self.doomed = False
        """Whether it never runs again, but to unwind."""
        self._body = body
        self._after = after
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._begun = False
        self._over = False

    def give(self) -> None:
        """Let it go on, or begin; whoever calls this must not."""
        if self._begun:
            super().give()
        else:
            self._begun = True
            self._thread.start()

    def take(self) -> None:
        """Wait for its turn.

        Raises:
            CrashError: it is over.

        """
        super().take()
        if self.doomed:
            raise CrashError

    def unwind(self) -> None:
        """End it, wherever it waits; called once nobody has a turn any more."""
        self.doomed = True
        if self._begun:
            if not self._over:
                super().give()
            self._thread.join()

    def _run(self) -> None:
        self._body()
        if not self.doomed:
            following = self._after()
            self._over = True
            following.give()
