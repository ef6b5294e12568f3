"""What the topology may lack, looked up at the edge: schemas by id, policy bundles by version.

An outage is told apart from an answer: an id that is no version of its topic's subject is asked for
again within a second and then refused; a registry that doesn't answer is waited for. Must never
decide about a record.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from pipeline.contract import codec, names
from pipeline.contract.bundle import digest_of
from pipeline.contract.policy_tables import compile_policy
from pipeline.contract.schemas import unsafe
from pipeline.governance.policy import Policy
from pipeline.governance.reasons import Reason
from pipeline.kafka import bundles
from pipeline.kafka.errors import UnreachableError
from pipeline.kafka.registry import Registry
from pipeline.settings import Settings
from pipeline.streams.arriving import Refused
from pipeline.streams.topology import PolicyName

ASK_AGAIN_S: Final = 0.4
"""Neighbours wait that long, and for both questions, two reads and a commit: less than a second."""
SHARED_S: Final = 2 * ASK_AGAIN_S
"""Ids that are met one after the other within that time are waited for together."""
REFUSED_FOR_S: Final = 60.0
REFUSED_MAX: Final = 200_000
"""More than one batch can name; beyond it all refusals are forgotten."""
STRANGERS_NAMED_MAX: Final = 50
"""Ids of other subjects that one round asks about, only to name the reason more exactly."""


_OTHER: Final = (
    "was activated with digest {}, the published one has {}: publish the activated one again"
)


class Unusable(NamedTuple):
    """A policy bundle that can't be used now."""

    name: PolicyName
    why: str
    other: str = ""
    """Digest of what is published under its version instead."""


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
        self._ahead: dict[str, bytes] = {}
        """Bundles by version, as they were published when they were read ahead."""
        self._settings = settings
        self._bootstrap = bootstrap
        self._registry = registry
        self._clock = clock
        self._asked: dict[tuple[str, int], float] = {}
        """When an id was first not found, or last refused: then one question is enough."""
        self._refused_until: dict[tuple[str, int], float] = {}

    def expire(self, *, everything: bool = False) -> None:
        """Forget refusals that are old enough to ask again.

        Args:
            everything: forget all of them: somebody has put something right and tries again.

        """
        now = self._clock()
        everything |= len(self._refused_until) > REFUSED_MAX
        for name in [n for n, until in self._refused_until.items() if everything or until <= now]:
            del self._refused_until[name]
            self.schemas.pop(name, None)
            if everything:
                self._asked.pop(name, None)
        for name in [n for n, since in self._asked.items() if since + 2 * REFUSED_FOR_S <= now]:
            del self._asked[name]

    def find_schemas(self, wanted: Mapping[tuple[str, int], frozenset[str]]) -> frozenset[str]:
        """Look schemas up.

        However many ids are made up, it costs a few requests for each topic, and keeps nobody
        waiting for longer than one of them.

        Args:
            wanted: by topic and id, the inputs that wait for it.

        Returns:
            Inputs that must wait: an id was not found and is asked for once more.

        Raises:
            RegistryUnavailableError: nobody can tell now.

        """
        waiting: set[str] = set()
        asked_about = 0
        allowed = {topic: self._allowed(topic, wanted) for topic in {topic for topic, _ in wanted}}
        now = self._clock()
        asked = (self._asked.get(name, now) for name in wanted)
        since = min((at for at in asked if now - at < SHARED_S), default=now)
        for (topic, number), inputs in wanted.items():
            if number in allowed[topic]:
                self._learn(topic, number)
                continue
            first = self._asked.setdefault((topic, number), since)
            if now - first < ASK_AGAIN_S:
                waiting |= inputs
                continue
            asked_about += 1
            named = asked_about <= STRANGERS_NAMED_MAX
            self._refuse(topic, number, self._stranger(topic, number, named=named))
        return frozenset(waiting)

    def read_ahead(self) -> None:
        """Read the published bundles before the first is wanted; it may be one of them."""
        with contextlib.suppress(UnreachableError):
            self._ahead = bundles.documents(self._settings, self._bootstrap)

    def find_policies(self, wanted: Iterable[PolicyName]) -> list[Unusable]:
        """Load published bundles.

        Returns:
            Those that can't be used, and why: not published, not to be read, or not the one that
            was activated.

        Raises:
            UnreachableError: Kafka is away.

        """
        unusable: list[Unusable] = []
        lacking = [n for n in sorted(set(wanted)) if not n.fits(self.policies.get(n.version))]
        found = self._ahead
        if any(name.digest != digest_of(found.get(name.version, b"")) for name in lacking):
            found = bundles.documents(self._settings, self._bootstrap)
        for name in lacking:
            document = found.get(name.version)
            if document is None:
                why = "is not published: run `milepost policy publish`"
                unusable.append(Unusable(name, why))
                continue
            digest = digest_of(document)
            if name.digest not in {"", digest}:
                unusable.append(Unusable(name, _OTHER.format(name.digest, digest), other=digest))
                continue
            try:
                policy = compile_policy(bundles.read(document))
            except ValueError as error:
                why = f"can't be used by this Milepost ({str(error)[:200]})"
                unusable.append(Unusable(name, why))
            else:
                self.policies[name.version] = dataclasses.replace(policy, digest=digest)
        return unusable

    def _allowed(
        self, topic: str, wanted: Mapping[tuple[str, int], frozenset[str]]
    ) -> frozenset[int]:
        """Ids of the topic's subject, as far as these are concerned."""
        subject = names.subject(topic)
        numbers = {number for name, number in wanted if name == topic}
        known = self._registry.known_ids(subject)
        return known if numbers <= known else self._registry.ids(subject)

    def _learn(self, topic: str, number: int) -> None:
        """Take up a schema of the topic's own subject, unless it is a danger."""
        definition = self._registry.schema(number)
        if definition is None:
            detail = f"schema id {number} of {topic} is no Avro record"
            self._refuse(topic, number, Refused(Reason.SCHEMA_NOT_ALLOWED, detail))
            return
        findings = unsafe(definition)
        if findings:
            detail = f"schema id {number} could crash a reader: {findings[0].why}"
            self._refuse(topic, number, Refused(Reason.SCHEMA_NOT_ALLOWED, detail))
            return
        try:
            self.schemas[topic, number] = codec.parse(definition)
        except Exception as error:  # noqa: BLE001  a stranger's schema must not stop the worker
            detail = f"schema id {number} can't be used: {type(error).__name__} {error}"
            self._refuse(topic, number, Refused(Reason.SCHEMA_NOT_ALLOWED, detail))
        else:
            self._asked.pop((topic, number), None)

    def _stranger(self, topic: str, number: int, *, named: bool) -> Refused:
        """Why an id that is none of the topic's own can't be used."""
        if named and self._registry.schema(number) is not None:
            detail = f"schema id {number} is no version of {names.subject(topic)}"
            return Refused(Reason.SCHEMA_NOT_ALLOWED, detail)
        return Refused(Reason.UNKNOWN_SCHEMA, f"schema id {number} of {topic}")

    def _refuse(self, topic: str, number: int, refused: Refused) -> None:
        self.schemas[topic, number] = refused
        now = self._asked[topic, number] = self._clock()
        self._refused_until[topic, number] = now + REFUSED_FOR_S
