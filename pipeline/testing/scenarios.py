"""Runs a scenario on a stack and says in which ways the outcome is not the expected one.

The stack may be the in-memory driver or a real Kafka: it stands behind `Stack`. Strict: what is
published or refused besides the expectations is a difference. Must never decide what is right.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

from pipeline.contract import codec, names
from pipeline.governance import ledger
from pipeline.governance.claims import raw_event
from pipeline.governance.identity import entity_key, partition_of
from pipeline.governance.policy import Policy
from pipeline.governance.references import EVENT
from pipeline.governance.vocabulary import ControlKind, Disposition
from pipeline.testing.driver import Place, TopologyDriver, key_of
from pipeline.testing.expectations import Letter, Outcome, Row, compare
from pipeline.testing.readers import Published, Readers, compare_readers
from pipeline.testing.scenario_file import (
    AgainStep,
    ClockStep,
    ControlStep,
    EventStep,
    InputStep,
    Moment,
    Scenario,
    StopText,
    Variant,
)
from pipeline.testing.scenario_policy import FIRST, later_policy, policy_for
from pipeline.testing.staging import TENANT, Staging

Record = dict[str, Any]
_ORDERS_MAX: Final = 200


class Stack(Protocol):
    """What a scenario needs of the thing it runs on; times in ms UTC."""

    partitions: int
    raw_schema_id: int
    policy: Policy
    staging: Staging
    """Tenant and times are the stack's own only below this seam: in, it adds them; out, it takes
    them off again. Bytes, keys and headers pass as they are."""

    def pipe_bytes(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] | None = None,
        partition: int | None = None,
        at_ms: int | None = None,
    ) -> Place:
        """Append a record at this time, and let everything that follows from it happen."""

    def reach(self, at_ms: int) -> None:
        """Let time pass until then."""

    def stop(self) -> None:
        """Stop the worker."""

    def start(self) -> None:
        """Start a fresh worker."""

    def hand_over(self) -> None:
        """Let another worker join, and the one that governs leave."""

    def records(self, topic: str) -> list[Record]:
        """Everything on a governed topic, decoded, in order of production."""

    def letters(self) -> list[Letter]:
        """Every dead letter."""

    def control(self, kind: ControlKind, **told: Any) -> None:
        """Write a control record to every partition; its fields as `schemas/control.avsc`."""

    def activate_later(self, name: str) -> None:
        """Publish another version of the scenario's policy, and activate it everywhere."""

    def unread(self, topic: str, *, stalls: bool) -> None:
        """Let an input be unreadable from here on, or readable again."""


MakeStack = Callable[[Scenario], Stack]
"""A stack for one run, with the scenario's policy in force and its clock at the start."""
Orders = Callable[[Sequence[Any]], Iterable[Sequence[Any]]]
"""The orders in which the steps of a variant that may come in any order are tried."""


class DriverStack(TopologyDriver):
    """The in-memory driver as a stack."""

    def __init__(self, scenario: Scenario) -> None:
        self.policy = policy_for(scenario)
        self.staging = Staging()
        self._scenario = scenario
        super().__init__([self.policy], start_ms=scenario.start.ms(0))

    def activate_later(self, name: str) -> None:
        """Activate another version of the scenario's policy on every partition."""
        policy = self.policy if name == FIRST else later_policy(self._scenario, name)
        self.policies[policy.version] = policy
        self.activate(policy.version)

    def unread(self, topic: str, *, stalls: bool) -> None:
        """Let an input be unreadable from here on, or readable again."""
        if stalls:
            self.stalled.add(topic)
        else:
            self.stalled.discard(topic)
            self.advance(0)

    def hand_over(self) -> None:
        """Let another worker govern: all it knows is in the changelog."""
        self.restart()

    def letters(self) -> list[Letter]:
        """Every dead letter."""
        return [
            Letter(
                output.key,
                output.value,
                {name: value or b"" for name, value in output.headers or ()},
                output.partition,
            )
            for output in self.raw_records(names.DEAD_LETTER)
        ]


def run(
    scenario: Scenario,
    variant: Variant,
    make_stack: MakeStack = DriverStack,
    orders: Orders | None = None,
    readers: Readers | None = None,
) -> list[str]:
    """Run one variant.

    Args:
        scenario: its file.
        variant: which one.
        make_stack: called for each run.
        orders: default: all that keep each platform's own.
        readers: default: none, and what they should be told is not compared.

    Returns:
        How the outcome differs from what is expected; empty: it does not.

    """
    if variant.in_any_order == "false":
        story = play(scenario, variant, make_stack, variant.when)
        outcome = story.outcome()
        found = compare(variant.then, outcome)
        if readers is not None:
            told = readers(story.published())
            found += compare_readers(variant.then, told, outcome.start_ms)
        return found
    problems: list[str] = []
    for number, steps in enumerate((orders or interleavings)(variant.when), 1):
        outcome = play(scenario, variant, make_stack, steps).outcome()
        found = compare(variant.then, outcome, only_story=True)
        order = ", ".join(step.id for step in steps if isinstance(step, EventStep | AgainStep))
        problems += [f"order {number} ({order}): {problem}" for problem in found]
    return problems


def play(
    scenario: Scenario, variant: Variant, make_stack: MakeStack, steps: Sequence[Any]
) -> Story:
    """Let a variant's steps happen, in this order, after what is given."""
    story = Story(make_stack(scenario), scenario.start.ms(0))
    story.take([*scenario.given, *variant.given])
    story.mark()
    story.take(steps)
    return story


def interleavings(steps: Sequence[Any]) -> Iterator[list[Any]]:
    """Every order of reading that keeps each platform's own order; time passes afterwards.

    Raises:
        ValueError: there are too many, or the steps do more than speak.

    """
    voices: dict[str, list[EventStep]] = {}
    events, after = _apart(steps)
    for step in events:
        voices.setdefault(step.from_, []).append(step)
    found = list(_merge(list(voices.values())))
    if len(found) > _ORDERS_MAX:
        raise ValueError(f"{len(found)} orders; {_ORDERS_MAX} at most are tried")
    for order in found:
        yield ["worker stops", *order, "worker starts", *after]


def as_written(steps: Sequence[Any]) -> Iterator[list[Any]]:
    """One order: appended as written while nobody reads, then read as the stack hands it out.

    Raises:
        ValueError: the steps do more than speak.

    """
    events, after = _apart(steps)
    yield ["worker stops", *events, "worker starts", *after]


def _apart(steps: Sequence[Any]) -> tuple[list[EventStep], list[Any]]:
    events: list[EventStep] = []
    after: list[Any] = []
    for step in steps:
        if isinstance(step, EventStep) and not after:
            events.append(step)
        elif isinstance(step, ClockStep):
            after.append(step)
        else:
            raise ValueError("in_any_order takes events, then the clock")
    return events, after


def _merge(queues: list[list[EventStep]]) -> Iterator[list[EventStep]]:
    waiting = [queue for queue in queues if queue]
    if not waiting:
        yield []
    for queue in waiting:
        rest = [other[1:] if other is queue else other for other in waiting]
        for tail in _merge(rest):
            yield [queue[0], *tail]


class _Sent(NamedTuple):
    """A record that a step appended."""

    place: Place
    at_ms: int
    key: bytes
    value: bytes
    received_ms: int
    """When its bytes first came in."""
    headers: list[tuple[str, bytes | None]]


class Story:
    """One run: takes steps, remembers what each appended."""

    def __init__(self, stack: Stack, start_ms: int) -> None:
        self._stack = stack
        self._policy = stack.policy
        self._staging = stack.staging
        self._later_ms = stack.staging.later_ms
        self._start_ms = start_ms
        self._now_ms = start_ms
        self._stopped = False
        self._sent: dict[str, _Sent] = {}
        self._before: dict[str, int] = {}
        self._known: frozenset[str] = frozenset()

    def take(self, steps: Sequence[Any]) -> None:
        """Let the steps happen, one after the other."""
        for step in steps:
            if isinstance(step, ClockStep):
                self._pass(step.clock)
            elif isinstance(step, EventStep):
                self._say(step)
            elif isinstance(step, AgainStep):
                self._repeat(step)
            elif isinstance(step, ControlStep):
                self._steer(step)
            elif isinstance(step, InputStep):
                topic = self._topic(step.unread or step.read or "")
                self._stack.unread(topic, stalls=step.unread is not None)
            else:
                self._worker(step)

    def mark(self) -> None:
        """From here on, what happens is compared."""
        for topic in (names.APPROVED, names.DECISIONS, names.ALERTS):
            self._before[topic] = len(self._stack.records(topic))
        self._before[names.DEAD_LETTER] = len(self._stack.letters())
        self._known = frozenset(self._sent)

    def published(self) -> Published:
        """What readers of the governed topics get to see."""
        return Published(
            self._stack.records(names.APPROVED),
            self._stack.records(names.ENTITY_STATUS),
            self._before[names.APPROVED],
        )

    def outcome(self) -> Outcome:
        """What there is to compare."""
        rows: list[Row] = []
        sent_on: list[Row] = []
        transitions: list[tuple[int, Record]] = []
        moved: set[tuple[int, int]] = set()
        for number, block in enumerate(self._stack.records(names.DECISIONS)):
            partition = block["partition"]
            for seq, decision in enumerate(block["decisions"], block["first_seq"]):
                topic = block["inputs"][decision["input"]]["topic"]
                claim = self._claim_at(Place(topic, partition, decision["offset"]))
                row = Row(claim, partition, seq, decision)
                (sent_on if topic == names.REKEYED else rows).append(row)
            for row_moved in block["transitions"]:
                if number >= self._before[names.DECISIONS]:
                    transitions.append((partition, row_moved))
                if row_moved["after"] == Disposition.REROUTED:
                    moved.add((partition, row_moved["seq"]))
        rows += self._named_by_bytes(rows, sent_on, moved)
        letters = self._stack.letters()[self._before[names.DEAD_LETTER] :]
        return Outcome(
            start_ms=self._start_ms,
            new=[name for name in self._sent if name not in self._known],
            rows=rows,
            transitions=transitions,
            approved=self._stack.records(names.APPROVED)[self._before[names.APPROVED] :],
            letters=[(self._named(letter), letter) for letter in letters],
            sent={name: (sent.key, sent.value) for name, sent in self._sent.items()},
            stories=self._stack.records(names.ENTITY_STATUS),
            alerts=self._stack.records(names.ALERTS)[self._before[names.ALERTS] :],
        )

    def _claim_at(self, place: Place) -> str | None:
        return next((name for name, sent in self._sent.items() if sent.place == place), None)

    def _named_by_bytes(
        self, rows: list[Row], sent_on: list[Row], moved: set[tuple[int, int]]
    ) -> Iterator[Row]:
        """Re-keyed records, each of a claim with its bytes that was sent on.

        Args:
            rows: decisions about what the steps appended.
            sent_on: decisions about re-keyed records.
            moved: partition and sequence of claims that were sent on after they had waited.

        """

        def leaves(row: Row) -> bool:
            gone = row.decision["disposition"] == Disposition.REROUTED
            return gone or (row.partition, row.seq) in moved

        due = Counter(row.claim for row in rows if leaves(row))
        for row in sent_on:
            candidates = [
                name
                for name, sent in self._sent.items()
                if ledger.digest(sent.value) == row.decision["digest"]
                and sent.received_ms == row.decision["received"]
            ]
            name = next((name for name in candidates if due[name] > 0), None)
            named = row._replace(claim=name)
            due[name] += leaves(named) - 1
            yield named

    def _named(self, letter: Letter) -> str:
        origin = json.loads(letter.headers["milepost.dlq.origin"])
        for name, sent in self._sent.items():
            if sent.place == Place(origin["topic"], origin["partition"], origin["offset"]):
                return name
        return f"{origin['topic']}/{origin['partition']}/{origin['offset']}"

    def _pass(self, until: Moment) -> None:
        self._now_ms = max(self._now_ms, until.ms(self._start_ms))
        self._stack.reach(self._now_ms)

    def _arrive(self, at: Moment | None) -> int:
        """Append time of a step; the clock moves on its own to when something is appended."""
        at_ms = self._now_ms if at is None else at.ms(self._start_ms)
        if at_ms > self._now_ms and not self._stopped:
            self._pass(Moment(absolute_ms=at_ms))
        self._now_ms = max(self._now_ms, at_ms)
        return at_ms

    def _say(self, step: EventStep) -> None:
        if step.id in self._sent:
            raise ValueError(f"two claims are named {step.id}")
        at_ms = self._arrive(step.at)
        event = self._event(step, at_ms)
        topic = step.topic or self._topic(step.from_)
        key = self._key(step, event).encode()
        if step.garbage is not None:
            value = step.garbage.encode()
        else:
            value = codec.encode(event, codec.committed("raw-event"), self._stack.raw_schema_id)
        partition = partition_of(key, self._stack.partitions)
        if step.partition == "wrong":
            partition = (partition + 1) % self._stack.partitions
        headers: list[tuple[str, bytes | None]] = []
        received_ms = at_ms
        if step.mends is not None:
            first = self._known_as(step.mends)
            topic, received_ms = names.REPLAY, first.received_ms
            headers = [self._origin(first), (names.HEADER_REPAIRED_BY, b"scenario")]
        place = self._stack.pipe_bytes(topic, key, value, headers or None, partition, at_ms)
        self._sent[step.id] = _Sent(place, at_ms, key, value, received_ms, headers)

    def _repeat(self, step: AgainStep) -> None:
        at_ms = self._arrive(step.at)
        first = self._known_as(step.again or step.replay or "")
        topic, headers, value = first.place.topic, [*first.headers], first.value
        if step.replay is not None:
            topic, headers = names.REPLAY, [self._origin(first)]
        if step.by is not None:
            value = self._edited(step, value)
            headers.append((names.HEADER_REPAIRED_BY, step.by.encode()))
        partition = partition_of(first.key, self._stack.partitions)
        place = self._stack.pipe_bytes(topic, first.key, value, headers or None, partition, at_ms)
        received_ms = first.received_ms if topic == names.REPLAY else at_ms
        self._sent[step.id] = _Sent(place, at_ms, first.key, value, received_ms, headers)

    def _known_as(self, name: str) -> _Sent:
        if name not in self._sent:
            raise ValueError(f"no claim is named {name}")
        return self._sent[name]

    def _origin(self, first: _Sent) -> tuple[str, bytes | None]:
        """Header of a record that is sent through again from the dead letter."""
        origin = {**first.place._asdict(), "received": first.received_ms + self._later_ms}
        return names.HEADER_ORIGIN, json.dumps(origin).encode()

    def _edited(self, step: AgainStep, value: bytes) -> bytes:
        """A claim's value with what a person put right."""
        schema = codec.committed("raw-event")
        event = codec.decode(value, schema)
        if step.status is not None:
            event["native_status"] = step.status
        if step.happened is not None:
            event["occurred"] = step.happened.ms(self._start_ms) + self._later_ms
        return codec.encode(event, schema, self._stack.raw_schema_id)

    def _steer(self, step: ControlStep) -> None:
        if step.activate is not None:
            self._stack.activate_later(step.activate)
            return
        told: Record = {"issued_by": "scenario", "why": "as the file says"}
        if step.redecide:
            kind = ControlKind.REDECIDE
            subjects = (name.split() for name in step.redecide)
            keys = [entity_key(TENANT, type_, name) for type_, name in subjects]
            told["entities"] = [self._staging.key(key) for key in keys]
        elif step.watermark is not None and step.complete_to is not None:
            kind = ControlKind.WATERMARK
            complete_to = step.complete_to.ms(self._start_ms) + self._later_ms
            told |= {
                "platform": self._staging.platform(step.watermark),
                "complete_to": complete_to,
            }
        else:
            kind = ControlKind.SUSPEND if step.suspend else ControlKind.RELEASE
            told["platform"] = self._staging.platform(step.suspend or step.release or "")
        self._stack.control(kind, **told)

    def _worker(self, step: str) -> None:
        if step == "another worker takes over":
            self._stack.hand_over()
            return
        if step != "worker starts":
            self._stack.stop()
            self._stopped = True
        if step != "worker stops":
            self._stack.start()
            self._stopped = False

    def _key(self, step: EventStep, event: Record) -> str:
        if step.key is not None:
            return self._staging.key(step.key)
        return key_of(self._policy, event)

    def _topic(self, platform: str) -> str:
        known = self._policy.platforms.get(self._staging.platform(platform))
        return names.raw_topic(platform) if known is None else min(known.topics)

    def _event(self, step: EventStep, at_ms: int) -> Record:
        """The raw event of a step."""
        kind, name = step.entity() or (None, None)
        happened = step.happened or Moment(absolute_ms=at_ms)
        recorded = step.recorded or Moment(absolute_ms=at_ms)
        name_of_platform = self._staging.platform(step.from_)
        platform = self._policy.platforms.get(name_of_platform)
        accounts = [] if platform is None else list(platform.accounts)
        quantity = step.quantity and {
            **step.quantity.model_dump(),
            "value": codec.scaled(step.quantity.value, codec.QUANTITY_SCALE),
        }
        amount, _, currency = (step.amount or "").partition(" ")
        event = raw_event(
            event_id=step.event_id or step.id,
            platform=name_of_platform,
            account=step.account or (accounts[0] if accounts else None),
            entity_type=kind,
            entity_id=name,
            reference=None if step.reference is None else self._reference(step.reference),
            native_status=step.status,
            native_reason=step.reason,
            native_qualifier=step.qualifier,
            classifier=step.classifier,
            occurred=happened.ms(self._start_ms) + self._later_ms,
            occurred_precision=step.precision,
            occurred_offset_minutes=happened.offset_minutes,
            recorded=recorded.ms(self._start_ms) + self._later_ms,
            sequence=step.sequence,
            stop=None if step.stop is None else _stop(step.stop),
            leg=step.leg,
            attempt=step.attempt,
            document=step.document,
            warehouse_task=step.task,
            quantity=quantity,
            amount=codec.scaled(amount, codec.AMOUNT_SCALE) if amount else None,
            currency=currency or None,
            retracts=step.retracts,
            shipments=step.shipments,
            stated_by=step.by,
            remark=step.remark,
            orders=step.orders,
            stops=[_stop(stop) for stop in step.stops],
            references=[self._reference(reference) for reference in step.references],
        )
        return dict(event)

    def _reference(self, text: str) -> Record:
        """`PRO:RDLN:123`, `LOAD:L1`, or `EVENT:tms-na:E1`, whose scope is a platform."""
        parts = text.split(":")
        kind, scope, value = (parts[0], "", parts[1]) if len(parts) == 2 else parts
        scope = self._staging.platform(scope) if kind == EVENT else scope
        return {"kind": kind, "scope": scope, "value": value}


def _stop(stop: StopText) -> Record:
    return stop.model_dump()
