"""The whole governed path in memory: bytes in, bytes out, the clock in the test's hand.

Runs `streams.topology` as production does, over all partitions, with re-keyed records and links
going round. Must never reach Kafka.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pipeline.contract import codec, names
from pipeline.contract.codec import Schema
from pipeline.governance.claims import raw_event
from pipeline.governance.identity import entity_key, normalise, partition_of, reference_key
from pipeline.governance.policy import Policy
from pipeline.governance.reasons import Reason
from pipeline.governance.vocabulary import ControlKind
from pipeline.streams.arriving import Refused
from pipeline.streams.state import PartitionState
from pipeline.streams.topology import Governed, Lacking, Output, Surroundings, govern

SCHEMA_IDS: Final = {
    "raw-event": 1,
    "link": 2,
    "control": 3,
    "approved-milestone": 4,
    "entity-status": 5,
    "decision-block": 6,
    "alert": 7,
}
"""Registry ids in memory, by schema."""
WRITTEN_AS: Final = {
    names.APPROVED: "approved-milestone",
    names.ENTITY_STATUS: "entity-status",
    names.DECISIONS: "decision-block",
    names.LINKS: "link",
    names.ALERTS: "alert",
}
"""Schema of each topic that a worker writes."""
_ROUNDS_MAX = 100


class Place(NamedTuple):
    """Where a record is."""

    topic: str
    partition: int
    offset: int


class DriverRecord(NamedTuple):
    """An input record."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]] | None


class TopologyDriver:
    """Pipe records in, move the clock, read what came out.

    Args:
        policies: bundles that may be activated; the first one is, on every partition.
        partitions: of every input.
        start_ms: append time of the first record, ms UTC.
        cloudevents: whether approved records have the headers of CloudEvents.

    """

    def __init__(
        self,
        policies: Iterable[Policy],
        partitions: int = 4,
        start_ms: int = 1_767_225_600_000,
        *,
        cloudevents: bool = False,
    ) -> None:
        self.policies = {policy.version: policy for policy in policies}
        self.partitions = partitions
        self.now_ms = start_ms
        self.outputs: list[Output] = []
        self.states = [PartitionState(number) for number in range(partitions)]
        self.changelog: list[dict[bytes, bytes]] = [{} for _ in range(partitions)]
        """What is kept of it, by partition."""
        self.raw_schema_id = SCHEMA_IDS["raw-event"]
        self.inputs: dict[tuple[str, int], list[DriverRecord]] = {}
        """Everything that was appended, by topic and partition."""
        self._waiting: dict[int, list[DriverRecord]] = {}
        self.stalled: set[str] = set()
        """Inputs that can't be read: what is appended there waits, and so does the clock."""
        self._ticks: dict[int, int] = {}
        self._schemas: dict[tuple[str, int], Schema | Refused] = {}
        self._stopped = False
        self._cloudevents = cloudevents
        self.activate(next(iter(self.policies)))

    def pipe(
        self,
        topic: str,
        event: Mapping[str, Any],
        *,
        key: str | None = None,
        at_ms: int | None = None,
    ) -> Place:
        """Append one raw event, given as a dictionary of `schemas/raw-event.avsc`."""
        body = dict(raw_event(**event))
        value = codec.encode(body, codec.committed("raw-event"), self.raw_schema_id)
        return self.pipe_bytes(topic, (key or self.key_of(body)).encode(), value, at_ms=at_ms)

    def pipe_bytes(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] | None = None,
        partition: int | None = None,
        at_ms: int | None = None,
    ) -> Place:
        """Append one record as it is and let everything that follows from it happen.

        Args:
            topic: an input.
            key: its key.
            value: its value.
            headers: its headers.
            partition: where to append it; default: where its key belongs.
            at_ms: its append time; default: now. Never moves the driver's time back.

        """
        if partition is None:
            partition = partition_of(key or b"", self.partitions)
        at_ms = self.now_ms if at_ms is None else at_ms
        self.now_ms = max(self.now_ms, at_ms)
        place = self._append(topic, partition, key, value, headers, at_ms)
        self._settle()
        return place

    def activate(self, version: str) -> None:
        """Activate a bundle on every partition."""
        digest = self.policies[version].digest
        self.control(ControlKind.ACTIVATE, policy_version=version, policy_digest=digest)

    def advance(self, milliseconds: int) -> None:
        """Let time pass: a tick on every partition, with every input read up to it."""
        self.reach(self.now_ms + milliseconds)

    def reach(self, at_ms: int) -> None:
        """Let the clock move to this time; the driver's own time never goes back."""
        self.now_ms = max(self.now_ms, at_ms)
        for number in range(self.partitions):
            self._control(number, ControlKind.TICK, at_ms)
            self._ticks[number] = max(self._ticks.get(number, 0), at_ms)
        self._settle()

    def stop(self) -> None:
        """Stop the worker: what is appended from now on waits, and the clock with it."""
        self._stopped = True

    def start(self, *, fresh: bool = True) -> None:
        """Start a fresh worker: state from the changelog, then everything that waits.

        Args:
            fresh: else the worker was slow only, and has its state.

        """
        for number in range(self.partitions if fresh else 0):
            self._restore(number)
        self._stopped = False
        self._settle()

    def restart(self) -> None:
        """Drop every state and restore it from the changelog, as a fresh worker does."""
        self.stop()
        self.start()

    def _restore(self, number: int) -> None:
        """Read a partition's state back from the changelog."""
        self.states[number] = PartitionState.restore(number, dict(self.changelog[number]))

    def records(self, topic: str) -> list[dict[str, Any]]:
        """Everything on a governed topic, decoded, in order of production."""
        schema = codec.committed(WRITTEN_AS[topic])
        return [
            codec.decode(output.value or b"", schema)
            for output in self.outputs
            if output.topic == topic
        ]

    def raw_records(self, topic: str) -> list[Output]:
        """Everything on a topic, as it was produced."""
        return [output for output in self.outputs if output.topic == topic]

    def key_of(self, body: Mapping[str, Any]) -> str:
        """Key that a platform would give to this event."""
        return key_of(next(iter(self.policies.values())), body)

    def control(self, kind: ControlKind, **told: Any) -> None:
        """Write a control record to every partition; its fields as `schemas/control.avsc`."""
        for number in range(self.partitions):
            self._control(number, kind, self.now_ms, **told)
        self._settle()

    def _control(self, number: int, kind: ControlKind, at_ms: int, **told: Any) -> None:
        record = {"kind": kind.value, "partition": number, **told}
        value = codec.encode(record, codec.committed("control"), SCHEMA_IDS["control"])
        self._append(names.CONTROL, number, str(number).encode(), value, None, at_ms)

    def _append(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] | None,
        at_ms: int,
    ) -> Place:
        log = self.inputs.setdefault((topic, partition), [])
        offset = len(log)
        given = None if headers is None else list(headers)
        record = DriverRecord(topic, partition, offset, at_ms, key, value, given)
        log.append(record)
        self._waiting.setdefault(partition, []).append(record)
        return Place(topic, partition, offset)

    def _settle(self) -> None:
        """Govern until nothing is left to read; the clock moves to the newest tick read."""
        if self._stopped:
            return
        for _ in range(_ROUNDS_MAX):
            waiting, self._waiting = self._waiting, {}
            ready = False
            for partition, records in sorted(waiting.items()):
                stalled = [record for record in records if record.topic in self.stalled]
                if stalled:
                    self._waiting.setdefault(partition, [])[:0] = stalled
                if len(stalled) < len(records):
                    ready = True
                    self._take(partition, [r for r in records if r.topic not in self.stalled])
            if not ready and not self._carry_on():
                return
        raise RuntimeError("records go round in circles")

    def _carry_on(self) -> bool:
        """Go on where more fell due at once than one batch does; whether anything was to do."""
        unfinished = [state.partition for state in self.states if state.unfinished]
        for number in unfinished:
            self._ticks.setdefault(number, self.now_ms)
            self._take(number, [])
        return bool(unfinished)

    def _take(self, partition: int, records: list[DriverRecord]) -> None:
        result = self._govern(partition, records, self._ticks.get(partition))
        self.outputs.extend(result.named())
        for key, value in result.changelog:
            self.outputs.append(Output(names.CHANGELOG, partition, key, value, None))
            if value is None:
                self.changelog[partition].pop(key, None)
            else:
                self.changelog[partition][key] = value
        for topic, number, to, value, headers in result.outputs:
            if topic in {names.LINKS, names.REKEYED}:
                self._append(topic, number, to, value, headers or (), self.now_ms)

    def _govern(self, partition: int, records: list[DriverRecord], tick: int | None) -> Governed:
        inputs = frozenset().union(
            names.INTERNAL,
            *(p.topics for q in self.policies.values() for p in q.platforms.values()),
        )
        read = {} if tick is None else dict.fromkeys(inputs - self.stalled, tick)
        surroundings = Surroundings(
            partitions=self.partitions,
            group="test",
            policies=self.policies,
            schemas=self._schemas,
            ids={topic: SCHEMA_IDS[name] for topic, name in WRITTEN_AS.items()},
            inputs=inputs,
            record_bytes_max=262_144,
            cloudevents=self._cloudevents,
        )
        while True:
            result = govern(surroundings, self.states[partition], records, read_through=read)
            if isinstance(result, Governed):
                return result
            self._look_up(result)

    def _look_up(self, lacking: Lacking) -> None:
        if not lacking.schemas:
            raise RuntimeError(f"the test lacks {lacking}")
        by_id = {number: name for name, number in SCHEMA_IDS.items()}
        for topic, number in lacking.schemas:
            name = by_id.get(number)
            known = name is not None and name == _input_schema(topic)
            self._schemas[topic, number] = (
                codec.committed(name) if known and name else _refused(name, number)
            )


def key_of(policy: Policy, body: Mapping[str, Any]) -> str:
    """Key that a platform gives to an event which it states correctly under this policy."""
    platform = policy.platforms.get(body["platform"])
    tenant = "unknown"
    rules: tuple[str, ...] = ()
    if platform is not None:
        tenant = platform.tenant or platform.accounts.get(body["account"] or "") or tenant
        rules = platform.id_rules.get(body["entity_type"] or "", ())
    if body["entity_id"]:
        kind, name = str(body["entity_type"]), normalise(body["entity_id"], rules)
        return entity_key(tenant, kind, name)
    reference = body["reference"] or {"kind": "?", "scope": "", "value": "?"}
    return reference_key(tenant, reference["kind"], reference["scope"], reference["value"])


def _input_schema(topic: str) -> str:
    return {names.LINKS: "link", names.CONTROL: "control"}.get(topic, "raw-event")


def _refused(name: str | None, number: int) -> Refused:
    if name is None:
        return Refused(Reason.UNKNOWN_SCHEMA, f"id {number}")
    return Refused(Reason.SCHEMA_NOT_ALLOWED, f"id {number} is {name}")
