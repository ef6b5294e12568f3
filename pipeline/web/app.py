"""The factory that every page and API starts from.

Must never know what an application shows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Literal

import orjson
from fastapi import FastAPI, Response

from pipeline.telemetry.metrics import Metrics
from pipeline.web import problems
from pipeline.web.headers import KnownHosts, SecurityHeaders
from pipeline.web.measuring import Measured


@dataclass(frozen=True, slots=True)
class Health:
    """How an application is.

    `degraded` still serves, from what it has; `failing` can't.
    """

    status: Literal["ok", "degraded", "failing"]
    detail: dict[str, Any] = field(default_factory=dict)


class Application(FastAPI):
    """A FastAPI application with a stop signal.

    Attributes:
        stop: set when the server stops; streams that never end by themselves must watch it.

    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.stop = threading.Event()


def build_app(
    *,
    title: str,
    description: str,
    health: Callable[[], Health],
    allowed_hosts: Collection[str] | None = None,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
    tags: list[dict[str, Any]] | None = None,
    measured: tuple[str, Metrics] | None = None,
) -> Application:
    """Build an application with security headers, problems, `/healthz` and `/openapi.json`.

    Args:
        title: name of the API.
        description: what it is for, Markdown.
        health: asked at each `/healthz`; may block.
        allowed_hosts: host names it answers to; None: every name. See `headers.hosts_allowed`.
        lifespan: what runs around the application.
        tags: OpenAPI tags.
        measured: name under which requests are measured, and where.

    """
    app = Application(
        title=title,
        description=description,
        version=version("milepost"),
        openapi_tags=tags,
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
    )
    problems.install(app)
    if allowed_hosts is not None:
        app.add_middleware(KnownHosts, allowed=allowed_hosts)
    app.add_middleware(SecurityHeaders)
    if measured is not None:
        name, metrics = measured
        app.add_middleware(Measured, name=name, metrics=metrics)

    @app.get(
        "/healthz",
        tags=["health"],
        summary="Whether it serves, and from how fresh a store",
        responses={503: {"description": "It can't serve; the body has the same form"}},
    )
    def healthz() -> Response:
        """`status` is ok, degraded (serves from what it has) or failing (HTTP 503)."""
        found = health()
        body = orjson.dumps({"status": found.status, **found.detail})
        status = 503 if found.status == "failing" else 200
        return Response(body, status, media_type="application/json")

    return app
