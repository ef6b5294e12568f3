"""A simulated ERP in a process of its own, for tests; can be killed and started again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import httpx

_PROGRAM = """
import sys
from pathlib import Path
from connectors.simulation.erp import Faults, run_simulated_erp
from pipeline.settings import Settings

run_simulated_erp(
    Settings(), int(sys.argv[1]), lambda url: print(url, flush=True),
    faults=Faults.model_validate_json(sys.argv[3]), path=Path(sys.argv[2]),
)
"""


class ErpProcess:
    """The process, and what its API says."""

    def __init__(self, path: Path, faults: str = "{}") -> None:
        self._path = path
        self._faults = faults
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, after a kill at the same address."""
        port = self.url.rpartition(":")[2] or "0"
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, port, str(self._path), self._faults],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "NO_PROXY": "127.0.0.1"},
        )
        self.url = self._process.stdout.readline().strip()
        assert self.url, "the simulated ERP did not start"

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            self._process = None

    def faults(self, **faults: Any) -> None:
        httpx.put(f"{self.url}/faults", json=faults).raise_for_status()

    def summary(self) -> dict[str, Any]:
        return httpx.get(f"{self.url}/summary").json()

    def postings(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["number"] if found else 0
            page = httpx.get(f"{self.url}/postings", params={"after": after, "limit": 1000}).json()
            if not page:
                return found
            found += page


def until(condition, seconds: float = 30.0) -> Any:
    """The first true value of a condition."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {condition}")
