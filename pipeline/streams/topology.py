"""The topology: one partition's records and state in, records and state out, bytes at both ends.

The seam of the product: the Faust worker, the test driver, simulation and benchmarks all call
`govern`. It does no I/O: schemas, policies and registry ids are handed in, and what it lacks is
handed back before anything has changed. Must never reach Kafka, Faust or HTTP.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipeline.contract import codec, headers, names
from pipeline.contract.codec import Schema
from pipeline.governance import expiring, kernel, ledger, steering
from pipeline.governance.bounds import ID_CHARACTERS_MAX
from pipeline.governance.identity import REFERENCE, entity_key, partition_of
from pipeline.governance.outputs import Record, Transition, Verdict, status_record
from pipeline.governance.policy import Policy
from pipeline.governance.settlement import DeadLetter, Work
from pipeline.governance.vocabulary import ControlKind
from pipeline.streams import blocks, plainly
from pipeline.streams.arriving import (
    CONTROL,
    Came,
    Decoded,
    SchemaMap,
    Taken,
    as_it_came,
    decode,
    try_decode,
)
from pipeline.streams.state import PartitionState

Produced = tuple[str, int, bytes | None, bytes | None, headers.Headers | None]
"""A record to produce as a bare tuple, as there are many: the fields of `Output` in their order."""


class Output(NamedTuple):
    """A record to produce, for those who read it."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: headers.Headers | None


Place = tuple[str, int, int]
"""Topic, partition and offset of a record."""


@dataclass(frozen=True)
class Surroundings:
    """What a run needs besides records and state; the same for every partition."""

    partitions: int
    group: str
    policies: Mapping[str, Policy]
    schemas: SchemaMap
    ids: Mapping[str, int]
    """Registry id to write each output topic's schema with."""
    inputs: frozenset[str]
    """Every input there is: the clock waits for all of them."""
    record_bytes_max: int
    cloudevents: bool = False
    """Whether approved records have the headers of CloudEvents as well."""
    plainly: bool = True
    """Whether the plain path may judge what it can."""


class PolicyName(NamedTuple):
    """A policy bundle as an activation names it."""

    version: str
    digest: str
    """Empty: it doesn't say. Else no other content governs under this version."""

    def fits(self, policy: Policy | None) -> bool:
        """Whether a policy is the one that is meant."""
        return policy is not None and self.digest in {"", policy.digest}


@dataclass(frozen=True)
class Lacking:
    """What must be looked up before this run can be made; nothing has changed."""

    schemas: Mapping[tuple[str, int], frozenset[str]] = field(default_factory=dict)
    """By topic and id: the inputs whose records wait for it."""
    policies: frozenset[PolicyName] = frozenset()
    no_policy: bool = False
    """No bundle has been activated for this partition yet."""


@dataclass
class Governed:
    """What a run produced; positions and state are already at their new values."""

    outputs: list[Produced] = field(default_factory=list)
    changelog: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    verdicts: dict[tuple[str, str], int] = field(default_factory=dict)
    """How many input records had each disposition and reason, for telemetry."""
    approved_received: list[int] = field(default_factory=list)
    """Received time of the claim behind each approved record."""
    dead_letters: list[DeadLetter] = field(default_factory=list)
    entities: int = 0
    state_bytes: int = 0

    def named(self) -> Iterator[Output]:
        """The outputs, with names for their fields."""
        return map(Output._make, self.outputs)

    def count(self, disposition: str, reason: str, records: int) -> None:
        """Note the verdict on some records."""
        verdict = disposition, reason
        self.verdicts[verdict] = self.verdicts.get(verdict, 0) + records


def govern(
    surroundings: Surroundings,
    state: PartitionState,
    records: Sequence[Taken],
    *,
    ends: Mapping[str, int] | None = None,
    read_through: Mapping[str, int] | None = None,
    lost: Mapping[str, list[ledger.Gap]] | None = None,
) -> Governed | Lacking:
    """Govern a run of records of one partition number.

    Args:
        surroundings: policies, schemas, registry ids, limits.
        state: of that partition; changed in place, unless something is lacking.
        records: in the order taken; per input in order of offsets.
        ends: position reached per input; default: behind its last record.
        read_through: per input, append time up to which it has been read, with these records.
        lost: per input, what retention took before it could be read.

    """
    batch, rows = None, [-1] * len(records)
    if state.plain is not None and surroundings.plainly and not surroundings.cloudevents:
        batch = plainly.look(records, surroundings.record_bytes_max, surroundings.schemas)
        rows = batch.rows()
    came = [
        as_it_came(surroundings.record_bytes_max, state.partition, record)
        for record, row in zip(records, rows, strict=True)
        if row < 0
    ]
    lacking = _lacking(surroundings, state, came)
    if lacking is not None:
        return lacking
    governed = Governed()
    read = [decode(surroundings.schemas, item) for item in came]
    initial = state.policy_version or _first_activation(read)
    left = iter(read)
    decoded = [next(left) if row < 0 else None for row in rows]
    taking = blocks.Taking(records, decoded, batch, rows)
    reached = dict(ends or {})
    for topic, offsets in blocks.offsets(taking, (0, len(records))).items():
        reached[topic] = max(reached.get(topic, 0), offsets[-1] + 1)
    spans = blocks.spans(taking)
    for number, span in enumerate(spans):
        last = number == len(spans) - 1
        _govern_block(
            surroundings,
            state,
            initial,
            taking,
            span,
            governed,
            reached if last else {},
            (read_through or {}) if last else {},
            lost or {},
        )
    governed.changelog.append(state.own_record())
    governed.entities, governed.state_bytes = len(state), state.stored_bytes
    return governed


def _lacking(
    surroundings: Surroundings, state: PartitionState, came: Sequence[Came]
) -> Lacking | None:
    """What has to be looked up first."""
    schemas, policies = surroundings.schemas, surroundings.policies
    missing: dict[tuple[str, int], set[str]] = {}
    named: set[PolicyName] = set()
    for item in came:
        record = item.record
        if item.fault is not None:
            continue
        found = schemas.get(item.schema)
        if found is None:
            missing.setdefault(item.schema, set()).add(record.topic)
        elif record.topic == names.CONTROL and isinstance(found, Schema):
            control = try_decode(record.value or b"", found, CONTROL)
            if isinstance(control, dict) and control["kind"] == ControlKind.ACTIVATE:
                name = PolicyName(control["policy_version"] or "", control["policy_digest"] or "")
                named |= {name} if name.version else set()
    if missing:
        return Lacking(schemas={name: frozenset(waiting) for name, waiting in missing.items()})
    if state.policy_version is not None:
        named.add(PolicyName(state.policy_version, state.policy_digest))
    elif not named:
        return Lacking(no_policy=True)
    unknown = frozenset(name for name in named if not name.fits(policies.get(name.version)))
    return Lacking(policies=unknown) if unknown else None


def _govern_block(
    surroundings: Surroundings,
    state: PartitionState,
    initial: str,
    taking: blocks.Taking,
    span: tuple[int, int],
    governed: Governed,
    reached: Mapping[str, int],
    read_through: Mapping[str, int],
    lost: Mapping[str, list[ledger.Gap]],
) -> None:
    """Judge the records of one block, let the clock act, write block, outputs and state."""
    policies = surroundings.policies
    work = Work(
        policies[state.policy_version or initial],
        state.partition,
        surroundings.partitions,
        state,
        state.time,
    )
    work.activated, work.trust = state.policy_version is not None, state.trust
    work.reopening = state.reopening
    clock_before, first_seq = state.clock, state.seq
    inputs, index = blocks.tile(state, taking, span, reached, lost)
    rows = _judge(surroundings, state, work, taking, span, governed, index)
    state.time = work.time
    time = state.time.moved(read_through, surroundings.inputs) if read_through else state.time
    if time != state.time or (read_through and state.unfinished):
        steering.carry_on(work)
        for entity in work.touched.values():
            if entity is not None:
                state.schedule(entity)
        state.time = work.time = time = state.read(time)
        for entity in state.due():
            expiring.reach(work, entity)
        for entity in state.silent(functools.partial(kernel.lasting, work.policy)):
            kernel.forget(work, entity)
    if work.activated:
        state.policy_version, state.policy_digest = work.policy.version, work.policy.digest
        state.paused = state.trust.paused(work.policy)
    _write_outputs(surroundings, state, work, governed, _traces(taking.decoded[span[0] : span[1]]))
    state.trim()
    if span[0] == span[1] and not work.transitions and not inputs and clock_before == state.clock:
        return
    block = {
        "partition": state.partition,
        "first_seq": first_seq,
        "policy_version": work.policy.version,
        "clock_before": clock_before,
        "clock_after": state.clock,
        "ahead": [{"topic": topic, "read_to": at} for topic, at in sorted(time.ahead.items())],
        "state_digest": f"{state.digest:032x}",
        "approved_count": state.approved_count,
        "approved_digest": state.approved_digest.hex(),
        "inputs": inputs,
    }
    first, *more = blocks.slices(work.transitions)
    _write_block(surroundings, state, governed, block, rows, span[1] - span[0], first)
    block |= {"first_seq": state.seq, "clock_before": state.clock, "inputs": []}
    for transitions in more:
        _write_block(surroundings, state, governed, block, [], 0, transitions)


def _judge(
    surroundings: Surroundings,
    state: PartitionState,
    work: Work,
    taking: blocks.Taking,
    span: tuple[int, int],
    governed: Governed,
    index: Mapping[str, int],
) -> list[bytes]:
    """Judge the records of one block, each in its turn; their rows of the ledger, encoded."""
    at, last = span
    rows: list[bytes] = []
    block = codec.committed("decision-block")
    while at < last:
        if taking.rows[at] >= 0 and work.activated and not work.reopening:
            judged = _judge_plainly(surroundings, state, work, taking, (at, last), governed, index)
            back = judged.wanted is not None and state.give_back(
                plainly.tables(work.policy), judged.wanted, work
            )
            if judged.at > at:
                rows.append(judged.rows)
            if judged.at > at or back:
                at = judged.at
                continue
        item = taking.decoded[at]
        if item is None:
            record = taking.records[at]
            came = as_it_came(surroundings.record_bytes_max, state.partition, record)
            item = taking.decoded[at] = decode(surroundings.schemas, came)
        verdict = _take(work, item, state.seq, surroundings.policies)
        decision = _decision(item, verdict, index[item.record.topic])
        rows.append(codec.encode_item(decision, block, "decisions"))
        governed.count(verdict.disposition, verdict.reason, 1)
        state.seq += 1
        at += 1
    return rows


def _judge_plainly(
    surroundings: Surroundings,
    state: PartitionState,
    work: Work,
    taking: blocks.Taking,
    span: tuple[int, int],
    governed: Governed,
    index: Mapping[str, int],
) -> Any:
    """Judge claims until one is not plain."""
    written = _writing(surroundings)
    judged = plainly.judge(work, state.plain, written, taking.batch, span, state.seq, index)
    for disposition, reason, count in judged.verdicts:
        governed.count(disposition, reason, count)
    governed.approved_received.extend(judged.received)
    state.took_plainly(judged.touched, judged.deadlines)
    state.seq += judged.at - span[0]
    return judged


def _writing(surroundings: Surroundings) -> Any:
    ids = surroundings.ids
    return plainly.writing(
        ids[names.APPROVED], ids[names.LINKS], ids[names.ENTITY_STATUS], surroundings.partitions
    )


def _write_block(
    surroundings: Surroundings,
    state: PartitionState,
    governed: Governed,
    block: Record,
    rows: list[bytes],
    count: int,
    transitions: list[Transition],
) -> None:
    """Encode a block, which names the one before it."""
    linked = {
        "block": state.block,
        "previous_hash": state.chain,
        "transitions": [transition._asdict() for transition in transitions],
    }
    schema, block_id = codec.committed("decision-block"), surroundings.ids[names.DECISIONS]
    value = codec.encode_with(block | linked, schema, block_id, "decisions", rows, count)
    state.chain = ledger.chain_hash(value[5:])
    state.block += 1
    name = str(state.partition).encode()
    governed.outputs.append((names.DECISIONS, state.partition, name, value, None))


def _first_activation(decoded: list[Decoded]) -> str:
    """A partition without a policy is governed by the first that the control topic activates."""
    for item in decoded:
        control = item.control or {"kind": "", "policy_version": None}
        if control["kind"] == ControlKind.ACTIVATE and control["policy_version"]:
            return str(control["policy_version"])
    return ""


def _take(work: Work, item: Decoded, seq: int, policies: Mapping[str, Policy]) -> Verdict:
    if item.arrival is not None:
        return kernel.take(work, item.arrival, seq)
    if item.link is not None:
        return kernel.take_link(work, item.link, seq)
    written_ms = item.record.timestamp_ms
    return steering.take_control(work, item.control or {}, written_ms, seq, policies)


def _decision(item: Decoded, verdict: Verdict, index: int) -> Record:
    arrival, record = item.arrival, item.record
    return {
        "input": index,
        "offset": record.offset,
        "disposition": verdict.disposition,
        "reason": verdict.reason,
        "rule": verdict.rule,
        "entity": verdict.entity,
        "event_type": verdict.event_type,
        "milestone_id": verdict.milestone_id,
        "revision": verdict.revision,
        # A record that was refused for the length of its ids must not make a block too large
        "platform": _cut(verdict.platform),
        "claim": _cut(verdict.claim),
        "occurred": verdict.occurred,
        "received": record.timestamp_ms if arrival is None else arrival.origin.received,
        "deadline": verdict.deadline,
        "digest": ledger.digest(record.value) if arrival is None else arrival.digest,
    }


def _cut(text: str) -> str:
    return text[:ID_CHARACTERS_MAX]


def _traces(chunk: Iterable[Decoded | None]) -> dict[Place, bytes]:
    """The trace that each claim of the block came with, by where the claim first came in."""
    found: dict[Place, bytes] = {}
    for item in chunk:
        arrival = None if item is None else item.arrival
        if arrival is not None and arrival.raw.headers:
            trace = headers.trace_of(arrival.raw.headers)
            if trace is not None:
                found[arrival.origin[:3]] = trace
    return found


def _headers_of(
    surroundings: Surroundings, record: Record, key: bytes, traces: Mapping[Place, bytes]
) -> headers.Headers:
    """Headers of an approved record: four always, CloudEvents by option, the claim's trace."""
    told = headers.approved(
        record["action"], record["assurance"], record["event_type"], record["tenant"]
    )
    if surroundings.cloudevents:
        told = told + headers.cloud_event(record, key)
    if traces:
        place = record["raw_topic"], record["raw_partition"], record["raw_offset"]
        trace = traces.get(place)
        if trace is not None:
            told = [*told, (names.HEADER_TRACE, trace)]
    return told


def _write_outputs(
    surroundings: Surroundings,
    state: PartitionState,
    work: Work,
    governed: Governed,
    traces: Mapping[Place, bytes],
) -> None:
    """Encode everything the block has to say, each record on the partition where it belongs."""
    outputs, ids, own = governed.outputs, surroundings.ids, state.partition
    approved = codec.committed("approved-milestone")
    values: list[bytes] = []
    for record in work.approved:
        if isinstance(record, tuple):
            outputs.append(record)
            values.append(record[3])
            continue
        key = _key_of(record)
        value = codec.encode(record, approved, ids[names.APPROVED])
        told = _headers_of(surroundings, record, key, traces)
        outputs.append((names.APPROVED, own, key, value, told))
        values.append(value)
        governed.approved_received.append(record["received"])
    state.count_approved(values)
    governed.dead_letters.extend(work.dead_letters)
    for letter in work.dead_letters:
        letter_key, kept, told = headers.dead_letter(
            letter.raw,
            letter.origin,
            letter.reason,
            letter.stage,
            letter.detail,
            work.policy.version,
            surroundings.group,
        )
        outputs.append((names.DEAD_LETTER, own, letter_key, kept, told))
    for reroute in work.reroutes:
        key = reroute.key.encode()
        target = partition_of(key, surroundings.partitions)
        sent = headers.forwarded(reroute.raw, key, reroute.origin, reroute.hops)
        outputs.append((names.REKEYED, target, key, reroute.raw.value, sent))
    link = codec.committed("link")
    for record in work.links:
        if isinstance(record, tuple):
            outputs.append(record)
            continue
        key = record["target"].encode()
        value = codec.encode(record, link, ids[names.LINKS])
        target = partition_of(key, surroundings.partitions)
        outputs.append((names.LINKS, target, key, value, None))
    warning = codec.committed("alert")
    for record in work.alerts:
        key = record["alert_id"].encode()
        value = codec.encode(record, warning, ids[names.ALERTS])
        outputs.append((names.ALERTS, own, key, value, None))
    _write_stories(surroundings, state, work, governed)
    plain = [name for name, entity in work.touched.items() if entity is None]
    saved = state.save_plainly(plain) if plain else {}
    for name, entity in work.touched.items():
        if entity is not None:
            governed.changelog.append(state.save(entity))
            continue
        written_key, written_value, born = saved[name]
        governed.changelog.append((written_key, written_value))
        if born is not None:
            state.ask(name, born)


def _write_stories(
    surroundings: Surroundings, state: PartitionState, work: Work, governed: Governed
) -> None:
    """Encode the status of every entity whose story has changed."""
    if not work.told:
        return
    status_id, own = surroundings.ids[names.ENTITY_STATUS], state.partition
    story = codec.committed("entity-status")
    plain = [name for name in work.told if work.touched.get(name, state) is None]
    known: dict[str, bytes] = {}
    if plain:
        written = _writing(surroundings)
        stories = state.plain.status(plainly.tables(work.policy), written, plain)
        known = dict(zip(plain, stories, strict=True))
    for name in work.told:
        value = known.get(name)
        if value is None:
            entity = state.open(name)
            work.touched[name] = entity
            if entity.name.type == REFERENCE:
                continue
            value = codec.encode(status_record(work.policy, entity), story, status_id)
        governed.outputs.append((names.ENTITY_STATUS, own, name.encode(), value, None))


def _key_of(record: Record) -> bytes:
    return entity_key(record["tenant"], record["entity_type"], record["entity_id"]).encode()
