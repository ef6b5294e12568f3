"""What the topology may lack, looked up at the edge: schemas by id, policy bundles by version.

An outage is told apart from an answer: an id that the registry doesn't know is asked again within
a second and then refused; a registry that doesn't answer is waited for. Must never decide about a
record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from pipeline.contract import codec, names
from pipeline.contract.policy_tables import compile_policy
from pipeline.contract.schemas import unsafe
from pipeline.governance.policy import Policy
from pipeline.governance.reasons import Reason
from pipeline.kafka import bundles
from pipeline.kafka.registry import Registry
from pipeline.settings import Settings
from pipeline.streams.topology import Refused

ASK_AGAIN_S: Final = 0.8
REFUSED_FOR_S: Final = 60.0
REFUSED_MAX: Final = 10_000


class Lookups:
    """Schemas and policies known to this worker; used from one thread at a time."""

    def __init__(
        self,
        settings: Settings,
        bootstrap: str,
        registry: Registry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.schemas: dict[tuple[str, int], codec.Schema | Refused] = {}
        self.policies: dict[str, Policy] = {}
        self._settings = settings
        self._bootstrap = bootstrap
        self._registry = registry
        self._clock = clock
        self._asked: dict[tuple[str, int], float] = {}
        self._refused_until: dict[tuple[str, int], float] = {}

    def expire(self) -> None:
        """Forget refusals that are old enough to ask again."""
        now = self._clock()
        for name in [name for name, until in self._refused_until.items() if until <= now]:
            del self._refused_until[name]
            self.schemas.pop(name, None)

    def find_schemas(self, wanted: Iterable[tuple[str, int]]) -> frozenset[str]:
        """Look schemas up by topic and id.

        Returns:
            Topics that must wait: their id was not found and is asked for once more.

        Raises:
            RegistryUnavailableError: nobody can tell now.

        """
        waiting = set()
        for topic, number in wanted:
            found = self._ask(topic, number)
            if found is None:
                waiting.add(topic)
            elif isinstance(found, Refused):
                self._refuse((topic, number), found)
            else:
                self.schemas[topic, number] = found
                self._asked.pop((topic, number), None)
        return frozenset(waiting)

    def find_policies(self, versions: frozenset[str]) -> frozenset[str]:
        """Load published bundles.

        Returns:
            Versions that are not published yet.

        Raises:
            UnreachableError: Kafka is away.

        """
        for version, bundle in bundles.published(self._settings, self._bootstrap).items():
            if version not in self.policies:
                self.policies[version] = compile_policy(bundle)
        return versions - self.policies.keys()

    def _ask(self, topic: str, number: int) -> codec.Schema | Refused | None:
        """A schema, a refusal, or None: not found, to be asked once more."""
        definition = self._registry.schema(number)
        if definition is None:
            first = self._asked.setdefault((topic, number), self._clock())
            if self._clock() - first < ASK_AGAIN_S:
                return None
            return Refused(Reason.UNKNOWN_SCHEMA, f"schema id {number} of {topic}")
        findings = unsafe(definition)
        if findings:
            detail = f"schema id {number} could crash a reader: {findings[0]}"
            return Refused(Reason.SCHEMA_NOT_ALLOWED, detail)
        if not self._registry.allowed(names.subject(topic), number):
            detail = f"schema id {number} is no version of {names.subject(topic)}"
            return Refused(Reason.SCHEMA_NOT_ALLOWED, detail)
        return codec.parse(definition)

    def _refuse(self, name: tuple[str, int], refused: Refused) -> None:
        if len(self._refused_until) >= REFUSED_MAX:
            for known in self._refused_until:
                self.schemas.pop(known, None)
            self._refused_until.clear()
            self._asked.clear()
        self.schemas[name] = refused
        self._refused_until[name] = self._clock() + REFUSED_FOR_S
        self._asked.pop(name, None)
