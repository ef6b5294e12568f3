"""The portal's sink in a process of its own, for tests that kill it."""

from __future__ import annotations

import signal
import threading

from connectors.sinks.portal import PortalSink, Where
from pipeline.settings import load


def main() -> None:
    settings = load()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    where = Where(settings.bootstrap_servers or "", settings.registry_url or "")
    PortalSink(settings, lambda: where).run(stop)


if __name__ == "__main__":
    main()
