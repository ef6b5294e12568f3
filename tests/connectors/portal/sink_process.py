"""The portal's sink in a process of its own, for tests that kill it."""

from __future__ import annotations

from connectors.sinks.portal import run_portal_sink
from pipeline.settings import load

if __name__ == "__main__":
    settings = load()
    run_portal_sink(settings, settings.bootstrap_servers or "", settings.registry_url or "")
