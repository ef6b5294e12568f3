"""What every long-running part of the local stack has in common: it starts, serves and ends.

Must never know which program it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from pipeline.local.faults import StartError
from pipeline.local.ports import is_free
from pipeline.local.processes import Command, Process

_TAKEN = ("Address already in use", "already bound")


class Server(ABC):
    """A program that is started, watched and ended as one part of the stack.

    Args:
        name: what people call it.
        ports: loopback ports it will bind.
        ready_within_s: how long it may take to serve.
        hold: file descriptors that stay open until it has ended.

    """

    url: str | None = None
    """Where people or clients reach it, if they do."""
    metrics_url: str | None = None
    """Where Prometheus reads its metrics, if it serves any."""

    def __init__(
        self, name: str, *, ports: Sequence[int], ready_within_s: float, hold: Sequence[int] = ()
    ) -> None:
        self.name = name
        self._ports = ports
        self._ready_within_s = ready_within_s
        self._hold = hold
        self._process: Process | None = None

    @abstractmethod
    def command(self) -> Command:
        """Prepare its folder and tell how it is started."""

    @abstractmethod
    def serves(self) -> bool:
        """Tell whether it does its work now; must return within seconds."""

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.exit_code() is None else None

    @property
    def exit_code(self) -> int | None:
        """How it ended (128 + signal if killed); None if it runs or was never started."""
        return None if self._process is None else self._process.exit_code()

    def start(self) -> None:
        """Start it, or start it again, without waiting until it serves.

        Raises:
            StartError: it could not be started.

        """
        self.stop()
        self._process = Process(self.command(), hold=self._hold)

    def wait_ready(self) -> None:
        """Wait until it serves.

        Raises:
            StartError: it ended before, or took too long.

        """
        if self._process is None:
            raise StartError(f"{self.name} was not started")
        self._process.wait_until(self.serves, self._ready_within_s)

    def port_was_taken(self) -> bool:
        """Tell whether its last start failed because another program had one of its ports."""
        if self._process is None or self._process.exit_code() is None:
            return False
        output = self._process.output()
        return any(text in output for text in _TAKEN) or not all(map(is_free, self._ports))

    def output(self) -> str:
        """Give the last of what it wrote since it was started."""
        return "" if self._process is None else self._process.output()

    def ask_to_end(self) -> None:
        """Let its orderly end begin without waiting."""
        if self._process is not None:
            self._process.ask_to_end()

    def stop(self) -> None:
        """End it in order and wait until it is gone."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """End it like a crash."""
        if self._process is not None:
            self._process.kill()
