"""Serving an application: binds, says where, stops without cutting anyone off.

Must never know what is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn

from pipeline.settings import SettingsError
from pipeline.web.app import Application
from pipeline.web.stopping import stopped_by_signals

GRACE_S: Final = 5
"""Seconds that open requests get to end once the server stops."""


class AddressInUseError(SettingsError):
    """Somebody else listens there; the message says what to do."""


class _Server(uvicorn.Server):
    """Stops when the application's stop signal is set, and leaves signals to `serve`."""

    def __init__(self, app: Application, announce: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=GRACE_S,
                ws="none",
            )
        )
        self._stop = app.stop
        self._announce = announce

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    async def on_tick(self, counter: int) -> bool:
        self.should_exit = self.should_exit or self._stop.is_set()
        return await super().on_tick(counter)


def serve(
    app: Application, *, host: str, port: int, ready: Callable[[str], None] | None = None
) -> None:
    """Serve until `app.stop` is set or, in the main thread, SIGINT or SIGTERM arrives.

    Args:
        app: what to serve.
        host: address to bind.
        port: port to bind; 0: a free one.
        ready: told the base URL as soon as requests are answered.

    Raises:
        AddressInUseError: the port is taken.

    """
    listener = _bind(host, port)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listener.getsockname()[1]}"

    def announce() -> None:
        if ready is not None:
            ready(url)

    with listener, stopped_by_signals(app.stop):
        asyncio.run(_Server(app, announce).serve(sockets=[listener]))


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise AddressInUseError(
            f"{host}:{port} can't be bound ({error.strerror}): choose another port, or 0 for a "
            "free one"
        ) from None
    # Accepted sockets inherit it; without it each answer waits for the client's acknowledgement
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
