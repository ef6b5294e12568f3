"""Which of Milepost's processes run on the local stack. Must never start one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from pipeline.local.components import MILEPOST, Component
from pipeline.local.ports import HOST, Ports, is_free
from pipeline.local.stack import Addresses
from pipeline.local.system import Plan
from pipeline.settings import Settings

METERED: Final = ("governor", "portal", "webhook", "mailbox", "erp-sink")
"""Processes that serve metrics where `metrics_port` is set, each on a port of its own."""


def plan(
    where: Addresses, ports: Ports, settings: Settings, *, traffic: bool, replicas: int = 1
) -> Plan:
    """List what `milepost up` runs: first the steps in this order, then the processes.

    Args:
        where: Kafka and the registry.
        ports: where further ones come from.
        settings: passed on to the processes.
        traffic: whether simulated events keep coming.
        replicas: of topics that do not exist yet; 1: as declared.

    """
    portal = settings.portal_port or ports.choose("portal")
    webhook = settings.webhook_port or ports.choose("webhook")
    erp = ports.choose("erp")
    env = {
        "MILEPOST_BOOTSTRAP_SERVERS": where.bootstrap,
        "MILEPOST_REGISTRY_URL": where.registry_url,
        "MILEPOST_STATE_DIR": str(settings.state_dir.absolute()),
        "MILEPOST_PORTAL_PORT": str(portal),
        "MILEPOST_WEBHOOK_PORT": str(webhook),
        "MILEPOST_ERP_URL": settings.erp_url or f"http://{HOST}:{erp}",
    }

    metered = _metrics_ports(settings.metrics_port, ports, {portal, webhook, erp})

    def ours(name: str, *arguments: str, port: int | None = None) -> Component:
        url = None if port is None else f"http://{HOST}:{port}"
        health = None if url is None else f"{url}/healthz"
        own, metrics_url = env, None
        if name in metered:
            own = env | {"MILEPOST_METRICS_PORT": str(metered[name])}
            metrics_url = f"http://{HOST}:{metered[name]}/metrics"
        return Component(
            name,
            (*MILEPOST, *arguments),
            own,
            url=url,
            metrics_url=metrics_url,
            ready_url=health,
        )

    replicated = ("--replication", str(replicas)) if replicas > 1 else ()
    steps = (
        ours("topics", "topics", "apply", *replicated),
        ours("schemas", "schemas", "register"),
        ours("policy", "policy", "publish", "--unless-in-force"),
    )
    components = [
        ours("governor", "run", "governor"),
        ours("portal", "run", "portal", port=portal),
        ours("webhook", "run", "source", "webhook", port=webhook),
        ours("mailbox", "run", "source", "mailbox"),
    ]
    if settings.erp_url is None:
        components.append(ours("simulated-erp", "run", "simulated-erp", str(erp), port=erp))
    components.append(ours("erp-sink", "run", "sink", "erp"))
    if traffic:
        components.append(ours("traffic", "traffic", "--forever"))
    return Plan(steps, components)


def _metrics_ports(first: int | None, ports: Ports, taken: Collection[int]) -> dict[str, int]:
    """A port for each process with metrics: the set one and the next free ones; 0: any free."""
    if first is None:
        return {}
    found: dict[str, int] = {}
    following = iter(range(first, 65_536) if first else ())
    for name in METERED:
        free = (port for port in following if port not in taken and is_free(port))
        found[name] = next(free, None) or ports.choose(f"metrics-{name}")
    return found
