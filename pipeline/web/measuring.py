"""How long requests take, as a metric. Pure ASGI; must never look into a request."""

from __future__ import annotations

import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.telemetry.metrics import Metrics

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Names that are counted by themselves; a caller may invent others."""


class Measured:
    """Records the time until an answer begins; a stream's length says nothing about the server."""

    def __init__(self, app: ASGIApp, name: str, metrics: Metrics) -> None:
        self._app = app
        self._name = name
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        method = scope["method"] if scope["method"] in METHODS else "OTHER"

        async def measured(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.record(
                    "milepost_http_request_seconds",
                    time.perf_counter() - began,
                    app=self._name,
                    method=method,
                    status=message["status"],
                )
            await send(message)

        await self._app(scope, receive, measured)
