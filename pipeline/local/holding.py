"""Who holds a state directory, and what the stack in it says about itself.

Two locks: the owner's, held by the process that started the stack, and the stack's, held as well
by the guard of each child. The kernel drops both with the processes, so no file is ever stale: a
free lock means that nothing runs. Must never start or end a process.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from pipeline.local.faults import StackInUseError

LEAVING_S = 20.0
"""How long the children of a stack whose owner was killed may take to end."""


@dataclass(frozen=True, slots=True)
class Part:
    """A process of the stack."""

    name: str
    pid: int | None
    """None while it does not run."""
    url: str | None = None
    metrics_url: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """What a stack says about itself in its state file."""

    pid: int
    ready: bool = False
    """Kafka and the registry serve."""
    complete: bool = False
    """So does everything else that was asked for."""
    bootstrap: str = ""
    registry_url: str = ""
    started_ms: int = 0
    parts: tuple[Part, ...] = field(default=())


class Holding:
    """The state directory of one stack, held by this process between `take` and `release`."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir.absolute()
        self._account_path = self.state_dir / "stack.json"
        self._owner: IO[str] | None = None
        self._stack: IO[str] | None = None

    def take(self) -> int:
        """Hold the directory; waits for the children of an owner that was killed.

        Returns:
            A file descriptor that each child's guard keeps open.

        Raises:
            StackInUseError: another process holds it.

        """
        refuse_shared(self.state_dir)
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self._owner = self._lock("owner.lock", 1.0)
        try:
            self._stack = self._lock("stack.lock", LEAVING_S)
        except StackInUseError:
            self._owner.close()
            raise
        self.tell(Account(pid=os.getpid()))
        return self._stack.fileno()

    def release(self) -> None:
        """Let go; the stack's lock stays until the last child has ended."""
        if self._owner is None or self._stack is None:
            return
        self._account_path.unlink(missing_ok=True)
        self._stack.close()
        self._owner.close()
        self._owner = self._stack = None

    def tell(self, account: Account) -> None:
        """Write the state file for other commands."""
        temporary = self._account_path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(account)), "utf-8")
        temporary.replace(self._account_path)

    def read(self) -> Account | None:
        """Give what the owner says about its stack, or None if there is no owner."""
        if self._is_free("owner.lock"):
            return None
        try:
            data = json.loads(self._account_path.read_text("utf-8"))
            return Account(**{**data, "parts": tuple(Part(**part) for part in data["parts"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def is_idle(self) -> bool:
        """Tell whether neither an owner nor a child of one runs."""
        return self._is_free("owner.lock") and self._is_free("stack.lock")

    def _lock(self, name: str, patience_s: float) -> IO[str]:
        file = (self.state_dir / name).open("a")
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                file.close()
                raise StackInUseError(self._in_use()) from None
            return file

    def _is_free(self, name: str) -> bool:
        try:
            with (self.state_dir / name).open("r") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return True
        except BlockingIOError:
            return False
        return True

    def _in_use(self) -> str:
        account = self.read()
        owner = f"by process {account.pid}" if account else "by a stack that is still ending"
        return (
            f"{self.state_dir} is in use {owner}: stop it with `milepost down`, "
            "or set MILEPOST_STATE_DIR to another folder"
        )


def refuse_shared(state_dir: Path) -> None:
    """Refuse a folder that surely holds other things, since `down --wipe` empties it.

    Raises:
        StackInUseError: it is the home folder, the current one, or above one of them.

    """
    folder = state_dir.resolve()
    kept = [Path.cwd()]
    with contextlib.suppress(RuntimeError):
        kept.append(Path.home())
    if any(folder == path or folder in path.parents for path in (one.resolve() for one in kept)):
        raise StackInUseError(
            f"{folder} holds other things: set MILEPOST_STATE_DIR to a folder of its own"
        )


@contextlib.contextmanager
def held(state_dir: Path) -> Iterator[Holding]:
    """Hold a state directory for the length of a block."""
    holding = Holding(state_dir)
    holding.take()
    try:
        yield holding
    finally:
        holding.release()
