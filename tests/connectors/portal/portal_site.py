"""The portal over a store in a folder, without Kafka, and ways to ask it."""

from __future__ import annotations

import asyncio
import threading
import time

import httpx
from portal_world import contested, delivered, ordered, settle, under_way

from connectors.portal import tables
from connectors.portal.run import build_portal
from connectors.portal.wording import Wording
from pipeline.contract.bundle import load_bundle
from pipeline.settings import load
from pipeline.web.server import serve


class PortalSite:
    """A portal whose store holds the small world."""

    def __init__(self, folder, **environment):
        self.settings = load({"MILEPOST_STATE_DIR": str(folder), **environment})
        self.url = tables.database_url(self.settings)
        self.engine = tables.open_writer(self.url)
        self.now = time.time_ns() // 1_000_000
        self.app = build_portal(self.settings, Wording(load_bundle()))
        self._server = None
        self.base = ""

    def fill(self):
        now = self.now
        self.add(*ordered(now), *delivered(now), *under_way(now), *contested(now))
        return self

    def add(self, *records):
        settle(self.engine, self.url, time.time_ns() // 1_000_000, records)

    def ask(self, path, method="GET", **headers):
        """One request, without a server."""

        async def get():
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost"
            ) as client:
                return await client.request(method, path, headers=headers)

        return asyncio.run(get())

    def serve(self):
        """A server on a free port, for streams and browsers."""
        ready = threading.Event()

        def announce(url):
            self.base = url
            ready.set()

        self._server = threading.Thread(
            target=serve,
            args=(self.app,),
            kwargs={"host": "127.0.0.1", "port": 0, "ready": announce},
        )
        self._server.start()
        assert ready.wait(30)
        return self

    def close(self):
        self.app.stop.set()
        if self._server is not None:
            self._server.join(30)
        self.engine.dispose()
