"""Serving: where it listens, and how it stops."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import AsyncIterator

import anyio
import httpx
import pytest
from fastapi import Request
from starlette.responses import StreamingResponse

from pipeline.web.app import Application, Health, build_app
from pipeline.web.server import AddressInUseError, serve


def application() -> Application:
    return build_app(title="T", description="t", health=lambda: Health("ok"))


def test_a_free_port_is_found_told_and_left_when_the_application_stops():
    app = application()
    told: list[str] = []
    ready = threading.Event()

    def announce(url: str) -> None:
        told.append(url)
        ready.set()

    thread = threading.Thread(
        target=serve, args=(app,), kwargs={"host": "127.0.0.1", "port": 0, "ready": announce}
    )
    thread.start()
    assert ready.wait(20)
    assert httpx.get(told[0] + "/healthz").json() == {"status": "ok"}
    app.stop.set()
    thread.join(20)
    assert not thread.is_alive()
    with pytest.raises(httpx.ConnectError):
        httpx.get(told[0] + "/healthz")


def test_a_taken_port_is_an_error_with_a_remedy():
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(AddressInUseError, match="0 for a free one"),
    ):
        serve(application(), host="127.0.0.1", port=taken.getsockname()[1])


def test_sigterm_ends_serving_and_streams_that_watch_the_stop_signal():
    app = application()

    @app.get("/stream")
    async def stream(request: Request) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            while not request.app.stop.is_set():
                yield b"."
                await anyio.sleep(0.01)

        return StreamingResponse(parts())

    ended = threading.Event()

    def read_then_terminate(url: str) -> None:
        def run() -> None:
            with httpx.stream("GET", url + "/stream") as answer:
                parts = answer.iter_raw()
                next(parts)
                os.kill(os.getpid(), signal.SIGTERM)
                assert set(b"".join(parts)) <= set(b".")
            ended.set()

        threading.Thread(target=run).start()

    before = signal.getsignal(signal.SIGTERM)
    serve(app, host="127.0.0.1", port=0, ready=read_then_terminate)
    assert ended.wait(20)
    assert signal.getsignal(signal.SIGTERM) is before
