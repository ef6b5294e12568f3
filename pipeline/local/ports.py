"""Loopback ports for the stack: those of last time if they are free, else any that are.

Must never keep a port open: between choosing and binding another program may take it, so whoever
starts a server tries again with `fresh`.
"""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path

import httpx

HOST = "127.0.0.1"


class Ports:
    """Ports by name, remembered in a file so that addresses stay the same between starts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ports: dict[str, int] = {}
        with contextlib.suppress(OSError, ValueError):
            self._ports = {
                str(name): int(port) for name, port in json.loads(path.read_text()).items()
            }

    def choose(self, name: str) -> int:
        """Give the port of last time if it is free, else a free one."""
        port = self._ports.get(name)
        return port if port is not None and is_free(port) else self.fresh(name)

    def fresh(self, name: str) -> int:
        """Give a free port other than any chosen here before."""
        taken = set(self._ports.values())
        port = unused()
        while port in taken:
            port = unused()
        self._ports[name] = port
        self._path.write_text(json.dumps(self._ports), "utf-8")
        return port


def is_free(port: int) -> bool:
    """Tell whether a server could bind the port now."""
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Tell whether a server accepts connections on the port."""
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def http_answers(url: str) -> bool:
    """Tell whether a GET of a loopback URL is answered with 200."""
    try:
        # The environment may name a proxy; loopback must not go there.
        with httpx.Client(trust_env=False, timeout=2) as client:
            return client.get(url).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def unused() -> int:
    """Give a port that is free at this moment."""
    with socket.socket() as candidate:
        candidate.bind((HOST, 0))
        port: int = candidate.getsockname()[1]
        return port
