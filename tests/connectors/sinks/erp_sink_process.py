"""The ERP sink in a process of its own, for tests that kill it.

An argument like `before:3` or `after:3` has it kill itself before or after its third posting: the
answer of the ERP is then there, and nothing of it written down.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading

import httpx

from connectors.sinks.erp import ErpSink
from pipeline.settings import load
from pipeline.web.stopping import stopped_by_signals


class Deadly(httpx.BaseTransport):
    """Passes requests on until the time has come."""

    def __init__(self, plan: str) -> None:
        self._when, _, number = plan.partition(":")
        self._number = int(number)
        self._count = itertools.count(1)
        self._inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        mine = request.method == "POST" and next(self._count) == self._number
        if mine and self._when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        response = self._inner.handle_request(request)
        if mine:
            response.read()
            os.kill(os.getpid(), signal.SIGKILL)
        return response


def main() -> None:
    settings = load()
    stop = threading.Event()
    transport = Deadly(sys.argv[1]) if len(sys.argv) > 1 else None
    sink = ErpSink(
        settings,
        settings.bootstrap_servers or "",
        settings.registry_url or "",
        start=os.environ.get("TEST_START", "beginning"),
        transport=transport,
    )
    with stopped_by_signals(stop):
        sink.run(stop)


if __name__ == "__main__":
    main()
