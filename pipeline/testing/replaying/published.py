"""The policy bundles that a replay decides with, as they are published. Must never judge one."""

from __future__ import annotations

from pipeline.governance.policy import Policy
from pipeline.kafka.registry import Registry
from pipeline.settings import Settings
from pipeline.streams.lookups import Lookups
from pipeline.streams.topology import PolicyName
from pipeline.testing.replaying.deciding import FindPolicy


def published(settings: Settings, bootstrap: str, registry: Registry) -> FindPolicy:
    """What finds bundles by version and digest; None where there is none that can be used.

    It raises UnreachableError while Kafka is away.

    Args:
        settings: security settings pass through.
        bootstrap: bootstrap servers.
        registry: of the same cluster.

    """
    lookups = Lookups(settings, bootstrap, registry)

    def find(name: PolicyName) -> Policy | None:
        lookups.find_policies([name])
        found = lookups.policies.get(name.version)
        return found if name.fits(found) else None

    return find
