"""What workers look up: schemas by id in a registry that may be away, published policy bundles.

Schemas and bundles are the shipped ones; the later bundle changes owners, tolerances and platforms.
Must never compile or parse anything twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final, cast

from pipeline.contract import codec, names
from pipeline.contract.bundle import Bundle, load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.contract.topics import load
from pipeline.governance.policy import Policy
from pipeline.kafka.errors import RegistryUnavailableError, UnreachableError
from pipeline.streams.lookups import Lookups, Unusable
from pipeline.streams.topology import PolicyName
from pipeline.testing.driver import SCHEMA_IDS, WRITTEN_AS

DECLARED: Final = frozenset(topic.name for topic in load().inputs)
LATE_ID: Final = 8
"""Raw events are written with this one before the registry knows it."""
WRITTEN: Final = {topic: SCHEMA_IDS[name] for topic, name in WRITTEN_AS.items()}
FIRST, LATER = "one", "two"
"""Versions of the bundle."""
NEWCOMER: Final = "carrier-nova"
"""A platform that only the later bundle knows, with a topic of its own."""
_BRAKE: Final = {"run": 3, "window": 8, "ratio": 0.6}
_NAMED: Final = {number: name for name, number in SCHEMA_IDS.items()} | {LATE_ID: "raw-event"}
_BY_TOPIC: Final = {names.LINKS: "link", names.CONTROL: "control"}


@cache
def policies() -> dict[str, Policy]:
    """The bundles there are, by version."""
    bundle = load_bundle()
    heading = bundle.heading
    brake = heading.brake.model_copy(update=_BRAKE)
    first = heading.model_copy(update={"version": FIRST, "brake": brake})
    later = first.model_copy(update={"version": LATER})
    bundles = [bundle.model_copy(update={"heading": first}), _later(bundle, later)]
    return {each.heading.version: compile_policy(each) for each in bundles}


def _later(bundle: Bundle, heading: Any) -> Bundle:
    """Goods issues go to the TMS of the region, deputies wait half as long, a carrier is new."""
    rules = []
    for rule in bundle.rules:
        update: dict[str, Any] = {"tolerance": rule.tolerance / 2}
        if rule.rule == "goods-issue-na":
            update |= {"owner": "tms-na", "deputies": rule.deputies[1:]}
        rules.append(rule.model_copy(update=update))
    redline = next(row for row in bundle.platforms if row.name == "carrier-redline")
    newcomer = {"name": NEWCOMER, "topics": [names.raw_topic(NEWCOMER)], "binds": ["BOL"]}
    platforms = [*bundle.platforms, redline.model_copy(update=newcomer)]
    update = {"heading": heading, "rules": rules, "platforms": platforms}
    return bundle.model_copy(update=update)


@cache
def inputs_of(version: str) -> frozenset[str]:
    """Every input that a bundle knows; no version: none is in force."""
    if not version:
        return DECLARED
    return DECLARED.union(*(row.topics for row in policies()[version].platforms.values()))


class Knowledge:
    """The registry and the policy topic, as far as workers ask them."""

    def __init__(self) -> None:
        self.away = False
        """Whether nobody answers."""
        self.published = {FIRST}
        """Versions of bundles that can be had."""
        self.registered = False
        """Whether the registry knows the late schema id."""

    def known_ids(self, subject: str) -> frozenset[int]:
        """Ids of a subject that were heard of before: none, so that each is asked for."""
        del subject
        return frozenset()

    def ids(self, subject: str) -> frozenset[int]:
        """Ids of a subject's versions.

        Raises:
            RegistryUnavailableError: the registry is away.

        """
        self._answer()
        name = _BY_TOPIC.get(subject.removesuffix("-value"), "raw-event")
        late = {LATE_ID} if self.registered and name == "raw-event" else set()
        return frozenset({SCHEMA_IDS[name]} | late)

    def schema(self, number: int) -> dict[str, Any] | None:
        """Definition with this id.

        Raises:
            RegistryUnavailableError: the registry is away.

        """
        self._answer()
        if number not in _NAMED or (number == LATE_ID and not self.registered):
            return None
        return cast("dict[str, Any]", codec.definition(_NAMED[number]))

    def _answer(self) -> None:
        if self.away:
            raise RegistryUnavailableError("the registry is away")


class SimulatedLookups(Lookups):
    """A worker's look-ups: the product's own, with bundles that are compiled once for all."""

    def __init__(self, knowledge: Knowledge, clock: Callable[[], float]) -> None:
        super().__init__(cast("Any", None), "", cast("Any", knowledge), clock)
        self._knowledge = knowledge

    def find_policies(self, wanted: Iterable[PolicyName]) -> list[Unusable]:
        """Load published bundles; see `Lookups`.

        Raises:
            UnreachableError: Kafka is away.

        """
        if self._knowledge.away:
            raise UnreachableError("the policy topic is away")
        unusable = []
        for name in sorted(set(wanted)):
            if name.version in self._knowledge.published:
                self.policies[name.version] = policies()[name.version]
            else:
                unusable.append(Unusable(name, "is not published"))
        return unusable
