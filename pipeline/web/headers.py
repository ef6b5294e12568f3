"""What every answer carries, and which host names a server answers to.

Pure ASGI, so that streams pass through unbuffered. Must never know a route.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.settings import Settings

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Own files only: no inline script or style, no other host, no frames."""

SECURITY_HEADERS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class SecurityHeaders:
    """Adds the security headers, and `no-store` where an answer says nothing about caching."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, guarded)


class KnownHosts:
    """Refuses requests for other host names.

    A page elsewhere can point a name of its own at a loopback address and read what it serves;
    its requests still carry that name.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self._app = app
        self._allowed = frozenset(name.lower() for name in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "http":
            name = _host_name(Headers(scope=scope).get("host", ""))
            if name not in self._allowed:
                await _refuse(send, name)
                return
        await self._app(scope, receive, send)


def hosts_allowed(settings: Settings) -> frozenset[str] | None:
    """Host names that a server with these settings answers to; None: every name.

    On loopback only loopback names and those in `MILEPOST_PUBLIC_HOSTS`. On another address the
    names behind which it is published are unknown unless that setting says so.
    """
    public = frozenset(
        name.strip().lower() for name in (settings.public_hosts or "").split(",") if name.strip()
    )
    if settings.host in LOOPBACK:
        return LOOPBACK | public
    return public or None


def _host_name(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


async def _refuse(send: Send, name: str) -> None:
    detail = (
        f"This server is not known as {name[:100] or 'an empty name'}: "
        "add the name to MILEPOST_PUBLIC_HOSTS."
    )
    body = orjson.dumps(
        {
            "type": "urn:milepost:problem:unknown-host",
            "title": "Unknown host name",
            "status": 421,
            "detail": detail,
        }
    )
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 421, "headers": headers})
    await send({"type": "http.response.body", "body": body})
