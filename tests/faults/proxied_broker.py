"""A broker of the local stack that workers reach through a proxy, and tests directly.

It forgets what idle groups committed after a minute, and looks for transactions that have timed
out each second instead of every ten: everything else is as `milepost up` runs it.
"""

from __future__ import annotations

from pipeline.local.broker import Broker
from pipeline.local.ports import HOST

_SECOND_MS = 1_000
IMPATIENT = {
    "group.min.session.timeout.ms": _SECOND_MS,
    "offsets.retention.minutes": 1,
    "offsets.retention.check.interval.ms": _SECOND_MS,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": _SECOND_MS,
}
"""What every broker of an arena has otherwise."""


class ProxiedBroker(Broker):
    """Has a second listener, whose advertised address is the proxy's."""

    def __init__(self, ports: tuple[int, int], *given, **named) -> None:
        super().__init__(*given, **named)
        self.behind, self.proxy = ports

    def _properties(self) -> str:
        changed = {
            "listeners": f"PLAINTEXT://{self.address},WORKERS://{HOST}:{self.behind},"
            f"CONTROLLER://{HOST}:{self.node.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.address},WORKERS://{HOST}:{self.proxy}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,WORKERS:PLAINTEXT,"
            "CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
        }
        changed |= IMPATIENT
        return super()._properties() + "".join(f"{name}={to}\n" for name, to in changed.items())
