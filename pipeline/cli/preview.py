"""What a re-decision would publish: the real topology on copies of the partitions' states.

Links to other entities are followed, as they would be. Records that wait to be read are not known
here. Must never write anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pipeline.contract import codec, names
from pipeline.governance.entity import Entity
from pipeline.governance.identity import REFERENCE
from pipeline.governance.policy import Policy
from pipeline.operations.redecisions import chunks, controls
from pipeline.operations.steering import outgoing
from pipeline.operations.trail import key_of
from pipeline.streams.state import PartitionState
from pipeline.streams.topology import Lacking, PolicyName, Surroundings, govern

Record = dict[str, Any]
_NO_ID: Final = 0
_WRITTEN: Final = {
    names.APPROVED: "approved-milestone",
    names.ENTITY_STATUS: "entity-status",
    names.DECISIONS: "decision-block",
    names.LINKS: "link",
    names.ALERTS: "alert",
}
_ROUNDS_MAX: Final = 8


class Choice(NamedTuple):
    """Which entities are meant: all conditions that are given hold."""

    entities: frozenset[str] = frozenset()
    """Keys."""
    since_ms: int = 0
    """Something came in for it since then."""
    event_types: frozenset[str] = frozenset()
    """It has one of these."""
    rule: str = ""
    """It has something that this rule of ownership is about."""


class Written(NamedTuple):
    """A record as the topology takes it."""

    topic: str
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] | None = None


@dataclass
class Foreseen:
    """What a re-decision would do."""

    examined: int = 0
    changed: dict[int, list[str]] = field(default_factory=dict)
    """Keys of entities that would be decided otherwise, by partition."""
    approved: list[Record] = field(default_factory=list)
    moved: int = 0
    """Claims whose fate would change."""
    spoke: dict[str, str] = field(default_factory=dict)
    """By milestone: whose word stands until now."""


class UnknownPolicyError(ValueError):
    """A partition is governed by a bundle that is not published any more, or not as it was."""


def choose(
    states: Sequence[PartitionState], policies: Mapping[str, Policy], choice: Choice
) -> dict[int, list[str]]:
    """Keys of the entities that are meant, by partition."""
    chosen: dict[int, list[str]] = {}
    for state in states:
        policy = policies.get(state.policy_version or "")
        about = None if policy is None or not choice.rule else _about(policy, choice.rule)
        keys = [entity.key for entity in state.entities() if _meant(entity, choice, about)]
        if keys:
            chosen[state.partition] = sorted(keys)
    return chosen


def _about(policy: Policy, rule: str) -> frozenset[tuple[str, str]]:
    """Tenant and event type of everything that a rule decides."""
    return frozenset(
        (tenant, event_type)
        for (tenant, event_type, _), found in policy.ownership.items()
        if any(authority.rule == rule for authority in found)
    )


def _meant(entity: Entity, choice: Choice, about: frozenset[tuple[str, str]] | None) -> bool:
    if entity.name.type == REFERENCE or entity.active < choice.since_ms:
        return False
    if choice.entities and entity.key not in choice.entities:
        return False
    has = {occurrence.event_type for occurrence in entity.occurrences.values()}
    if choice.event_types and has.isdisjoint(choice.event_types):
        return False
    return not choice.rule or any((entity.name.tenant, name) in (about or ()) for name in has)


class Preview:
    """Runs re-decisions in memory.

    Args:
        states: of every partition, as restored; changed in place.
        policies: published bundles by version.

    """

    def __init__(self, states: Sequence[PartitionState], policies: Mapping[str, Policy]) -> None:
        self._states = {state.partition: state for state in states}
        self._surroundings = Surroundings(
            partitions=len(states),
            group="preview",
            policies=policies,
            schemas={
                (names.CONTROL, _NO_ID): codec.committed("control"),
                (names.LINKS, _NO_ID): codec.committed("link"),
            },
            ids=dict.fromkeys(_WRITTEN, _NO_ID),
            inputs=frozenset(),
            record_bytes_max=1 << 30,
        )

    def run(self, chosen: Mapping[int, Sequence[str]]) -> Foreseen:
        """Decide the past of entities again and follow what they tell others.

        Raises:
            UnknownPolicyError: the bundle of a partition is not there.

        """
        foreseen = Foreseen(examined=sum(map(len, chosen.values())))
        links: list[tuple[int, bytes | None, bytes | None]] = []
        for number, keys in sorted(chosen.items()):
            changed: set[str] = set()
            foreseen.spoke.update(self._standing(number, keys))
            for portion in chunks(keys):
                for record in outgoing(controls({number: portion}, "", ""), _NO_ID):
                    told = self._govern(number, record.topic, record.key, record.value, foreseen)
                    changed |= told.entities
                    links += told.links
            kept = [key for key in keys if key in changed]
            if kept:
                foreseen.changed[number] = kept
        for _ in range(_ROUNDS_MAX):
            sent, links = links, []
            for number, key, value in sent:
                links += self._govern(number, names.LINKS, key, value, foreseen).links
        return foreseen

    def _standing(self, number: int, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
        state = self._states[number]
        for key in keys:
            for occurrence in state.open(key).occurrences.values():
                if occurrence.stands:
                    yield occurrence.milestone_id, occurrence.platform

    def _govern(
        self, number: int, topic: str, key: bytes | None, value: bytes | None, foreseen: Foreseen
    ) -> _Told:
        state = self._states[number]
        offset = state.positions.get(topic, 0)
        record = Written(topic, offset, state.clock, key, value)
        result = govern(self._surroundings, state, [record])
        if isinstance(result, Lacking):
            raise UnknownPolicyError(_missing(number, result.policies))
        told = _Told(set(), [])
        for output in result.named():
            if output.topic == names.LINKS:
                told.links.append((output.partition, output.key, output.value))
                body = _decoded(output.topic, output.value)
                told.entities.add(body["source"])
            elif output.topic == names.APPROVED:
                body = _decoded(output.topic, output.value)
                told.entities.add(key_of(body))
                foreseen.approved.append(body)
            elif output.topic == names.DECISIONS:
                rows = _decoded(output.topic, output.value)["transitions"]
                told.entities.update(row["entity"] for row in rows)
                foreseen.moved += len(rows)
        return told


class _Told(NamedTuple):
    """What one run did besides what was foreseen: entities that changed, links to others."""

    entities: set[str]
    links: list[tuple[int, bytes | None, bytes | None]]


def _decoded(topic: str, value: bytes | None) -> Record:
    return codec.decode(value or b"", codec.committed(_WRITTEN[topic]))


def _missing(number: int, policies: frozenset[PolicyName]) -> str:
    named = ", ".join(sorted(name.version for name in policies)) or "none"
    return (
        f"partition {number} is governed by bundle {named}, which is not published as it was"
        " activated: publish it again, see `milepost policy status`"
    )


def revisions(approved: Sequence[Record]) -> Iterator[tuple[str, list[Record]]]:
    """Approved records by entity, in the order of the first of each."""
    by_key: dict[str, list[Record]] = {}
    for record in approved:
        by_key.setdefault(key_of(record), []).append(record)
    yield from by_key.items()
