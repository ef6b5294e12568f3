"""What would become of these events: each taken through every step of a policy, offline.

The real topology gives the outcome and the step where it left; what the steps before found is
asked of the kernel's own functions. Must never reach Kafka, read a clock, or know a rule itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, NamedTuple, cast

from pipeline.contract import names
from pipeline.contract.bundle import LoadedBundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.contract.policy_words import span_ms
from pipeline.governance.claims import Claim, Origin, RawEvent, mark_of
from pipeline.governance.entity import Entity
from pipeline.governance.flow import STEPS, Stage
from pipeline.governance.identity import REFERENCE, entity_key, parse_key, partition_of
from pipeline.governance.occurrence import place_of, site_of
from pipeline.governance.placement import Placed, RefusedError, locate
from pipeline.governance.policy import IGNORED, Platform, Policy, ResolvedDialect
from pipeline.governance.reasons import MEANINGS, Reason
from pipeline.governance.references import owner_of
from pipeline.governance.standing import authority
from pipeline.governance.vocabulary import Disposition
from pipeline.operations.remedies import Remedy, remedy
from pipeline.streams.entity_bytes import dump, load
from pipeline.testing.driver import Place, TopologyDriver
from pipeline.testing.policy_rows import PolicyRows

Record = dict[str, Any]
_Found = tuple[str, list[str]]
_SAY_NOTHING: Final = frozenset({Stage.REPETITION, Stage.TRUST, Stage.REFERENCE})
"""Steps where the reason says it all when a claim leaves there."""
_NARROWED: Final = frozenset({Stage.IDENTITY, Stage.PLAUSIBILITY})
"""Steps where the row that has a claim leave is another than the ones that let it pass."""

_NO_KEY: Final = entity_key("?", "?", "?")


class Step(NamedTuple):
    """What one step of judgement found, and the rows of the policy that it follows."""

    stage: Stage
    found: str
    sources: list[str]
    """File and line."""

    def document(self) -> Record:
        """As one JSON value."""
        return {"step": self.stage.value, "found": self.found, "sources": self.sources}


class Explained(NamedTuple):
    """One event's way: what each step found, and its outcome."""

    event_id: str
    received: int
    """Assumed, ms UTC."""
    steps: list[Step]
    """In order; it left at the last one."""
    disposition: str
    reason: Reason
    deadline: int | None
    """Until when it waits, ms UTC."""
    published: list[Record]
    transitions: list[Record]

    @property
    def meaning(self) -> str:
        """What the reason means."""
        return MEANINGS[self.reason].text

    @property
    def remedy(self) -> Remedy:
        """What to do about it."""
        return remedy(self.reason)

    def document(self) -> Record:
        """As one JSON value."""
        return {
            "event_id": self.event_id,
            "received": self.received,
            "steps": [step.document() for step in self.steps],
            "disposition": self.disposition,
            "reason": self.reason.value,
            "meaning": self.meaning,
            "deadline": self.deadline,
            "remedy": self.remedy._asdict(),
            "published": self.published,
            "transitions": self.transitions,
        }


def explain(loaded: LoadedBundle, events: Sequence[Record], received_ms: int) -> list[Explained]:
    """Take events through the policy, each after the ones before it.

    Args:
        loaded: the policy, with the lines of its files.
        events: raw events as plain dictionaries, ms UTC.
        received_ms: when the first of them is received, ms UTC; each later one a millisecond
            after the one before, which keeps their order.

    """
    policy, rows = compile_policy(loaded.bundle), PolicyRows(loaded)
    driver = TopologyDriver([policy], start_ms=received_ms)
    return [
        _one(driver, policy, rows, event, received_ms + position)
        for position, event in enumerate(events)
    ]


def iso(milliseconds: int) -> str:
    """A time for people: UTC, to the second; a number where no calendar has it."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{milliseconds} ms"


@dataclass(frozen=True)
class _Judged:
    """A claim and what the kernel would find in it, before it changes anything."""

    policy: Policy
    rows: PolicyRows
    platform: Platform | None
    entity: Entity
    """A copy of what the claim is about, as it was."""
    claim: Claim
    named: list[str]
    """Its own key, and what that named if it is a reference, one after the other."""

    @property
    def body(self) -> RawEvent:
        """What was said."""
        return self.claim.body

    @cached_property
    def role(self) -> str | None:
        """Role of the stop, as far as it is known."""
        if self.platform is None:
            return None
        return place_of(self.policy, self.platform, self.entity, self.body).role

    @cached_property
    def meant(self) -> ResolvedDialect:
        """What the dialect makes of it; a retraction by id is not read by it."""
        body, platform = self.body, self.platform
        if platform is None or body["retracts"] is not None:
            return ResolvedDialect(None)
        codes = body["native_status"], body["native_reason"], body["native_qualifier"]
        return self.policy.resolve_status(platform, *codes, self.role, body["classifier"])

    @cached_property
    def placed(self) -> Placed | None:
        """Where the kernel puts it; None: it leaves before."""
        if self.platform is None or self.entity.name.type == REFERENCE:
            return None
        try:
            received = self.claim.origin.received
            found = locate(self.policy, self.entity, self.claim, self.platform, received)
        except RefusedError:
            return None
        return found if isinstance(found, Placed) else None


def _one(
    driver: TopologyDriver, policy: Policy, rows: PolicyRows, event: Record, received: int
) -> Explained:
    platform = policy.platforms.get(event["platform"])
    topic = min(platform.topics) if platform else names.raw_topic(event["platform"])
    judged = _judged(driver, policy, rows, event, Origin(topic, 0, 0, received))
    watched = (names.DECISIONS, names.APPROVED, names.DEAD_LETTER)
    marks = {name: len(driver.raw_records(name)) for name in watched}
    place = driver.pipe(topic, event, at_ms=received)
    blocks = driver.records(names.DECISIONS)[marks[names.DECISIONS] :]
    row = _row(blocks, place)
    headers = [dict(i.headers or ()) for i in driver.raw_records(names.DEAD_LETTER)]
    letters = headers[marks[names.DEAD_LETTER] :]
    letter = next((item for item in letters if _at(item, place)), None)
    return Explained(
        event["event_id"],
        received,
        _steps(judged, row, letter),
        row["disposition"],
        Reason(row["reason"]),
        row["deadline"],
        driver.records(names.APPROVED)[marks[names.APPROVED] :],
        [row for block in blocks for row in block["transitions"]],
    )


def _judged(
    driver: TopologyDriver, policy: Policy, rows: PolicyRows, event: Record, origin: Origin
) -> _Judged:
    """What the kernel looks at, following references as it does."""
    named = [_key(driver, event)]
    body = cast("RawEvent", event)
    while True:
        key = named[-1]
        entity = driver.states[partition_of(key.encode(), driver.partitions)].open(key)
        claim = Claim(body, origin, 0, b"", entity.name.tenant)
        if entity.name.type != REFERENCE or len(named) > policy.limits.hops_max:
            break
        owner = owner_of(policy, entity, claim)
        if isinstance(owner, Reason):
            break
        named.append(owner)
    platform = policy.platforms.get(event["platform"])
    return _Judged(policy, rows, platform, load(entity.key, dump(entity), 0), claim, named)


def _key(driver: TopologyDriver, event: Record) -> str:
    """Its key. A claim that has none leaves before anything is known of what it is about."""
    key = driver.key_of(event)
    try:
        parse_key(key)
    except ValueError:
        return _NO_KEY
    return key


def _row(blocks: Sequence[Record], place: Place) -> Record:
    """The last row about a record: its own, or that of what it was sent on as."""
    read = [
        (block["inputs"][row["input"]]["topic"], block["partition"], row)
        for block in blocks
        for row in block["decisions"]
    ]
    own = next(row for topic, number, row in read if (topic, number, row["offset"]) == place)
    sent_on = [row for topic, _, row in read if topic == names.REKEYED]
    return next((row for row in reversed(sent_on) if row["digest"] == own["digest"]), own)


def _at(letter: dict[str, bytes | None], place: Place) -> bool:
    origin = json.loads(letter["milepost.dlq.origin"] or b"{}")
    return (origin["topic"], origin["partition"], origin["offset"]) == place


def _steps(judged: _Judged, row: Record, letter: dict[str, bytes | None] | None) -> list[Step]:
    """What was found at every step up to the one where it left."""
    left = _left(judged, row, letter)
    reason = Reason(row["reason"])
    stages = [step.stage for step in STEPS]
    passed = [
        Step(stage, *found)
        for stage in stages[: stages.index(left)]
        if (found := _found(stage, judged)) is not None
    ]
    text, sources = _found(left, judged) or ("", [])
    if letter is not None:
        text = (letter["milepost.dlq.detail"] or b"").decode()
    elif left in _SAY_NOTHING:
        text = ""
    own = judged.rows.leaving(reason, judged.body["platform"], row["rule"])
    sources = own if own and left in _NARROWED else [*sources, *own]
    return [*passed, Step(left, text, list(dict.fromkeys(sources)))]


def _left(judged: _Judged, row: Record, letter: dict[str, bytes | None] | None) -> Stage:
    """The step where a claim left: the dead letter names it, else the table of steps does."""
    if letter is not None:
        return Stage((letter["milepost.dlq.stage"] or b"").decode())
    fate, reason = Disposition(row["disposition"]), Reason(row["reason"])
    first, *later = (step.stage for step in STEPS if reason in step.leaves.get(fate, ()))
    if not later:
        return first
    seen = mark_of(row["digest"]) in judged.entity.seen
    here = seen if first is Stage.REPETITION else judged.meant.needs_role
    return first if here else later[0]


def _found(stage: Stage, judged: _Judged) -> _Found | None:
    """What a step found, and by which rows; None: it was not asked."""
    find = _FIND.get(stage)
    return None if find is None else find(judged)


def _reference(judged: _Judged) -> _Found:
    known_by = judged.named[1:]
    return f"it names {' → '.join(known_by)}" if known_by else "it names its entity", []


def _identity(judged: _Judged) -> _Found | None:
    platform, body = judged.platform, judged.body
    if platform is None:
        return None
    name = parse_key(judged.named[0])
    rows = judged.rows.platform(platform.name)
    if name.type != REFERENCE and body["entity_id"] != name.id:
        rows = [*rows, *judged.rows.platform(platform.name, "ids", name.type)]
    kind = "reference" if name.type == REFERENCE else name.type
    return f"{platform.name} ({platform.role}) for {name.tenant}: {kind} {name.id}", rows


def _dialect(judged: _Judged) -> _Found | None:
    platform, body, meant = judged.platform, judged.body, judged.meant
    if platform is None or body["retracts"] is not None:
        return None
    said = f"{body['native_status']} in dialect {platform.dialect}"
    rows = judged.rows.code(platform.dialect, body["native_status"])
    if meant.event_type is None:
        why = "depends on the stop's role" if meant.needs_role else "is not mapped"
        return f"{said} {why}", rows
    if meant.event_type == IGNORED:
        return f"{said} is no milestone", rows
    means = f"{said} {'takes back' if meant.retracts else 'means'} {meant.event_type}"
    kind = None if judged.placed is None else judged.placed.kind
    if kind is not None and kind.name != meant.event_type:
        rows = [*rows, *judged.rows.event_type(meant.event_type, "estimate_as")]
        means += f", judged as {kind.name}"
    return means, rows


def _plausibility(judged: _Judged) -> _Found | None:
    if judged.body["retracts"] is not None:
        return None
    tenant, platform = judged.claim.tenant, judged.platform
    ago = judged.claim.origin.received - judged.body["occurred"]
    if ago < 0 and platform is not None:
        may = f"{platform.name}'s clock may be {span_ms(platform.clock_tolerance_ms)} ahead"
        rows = judged.rows.platform(platform.name, "clock_tolerance")
        return f"{_about(-ago)} after receipt; {may}", rows
    looks_back = span_ms(judged.policy.horizons_ms.get(tenant, 0))
    rows = judged.rows.heading("tenants", tenant, "horizon")
    return f"{_about(ago)} before receipt; {tenant} looks back {looks_back}", rows


def _about(milliseconds: int) -> str:
    """A span for people, to its greatest whole unit."""
    for unit in (86_400_000, 3_600_000, 60_000, 1_000):
        if milliseconds >= unit:
            return span_ms(milliseconds - milliseconds % unit)
    return span_ms(milliseconds)


def _occurrence(judged: _Judged) -> _Found | None:
    placed = judged.placed
    if placed is None:
        return None
    kind, place = placed.kind, placed.spoken.place
    taken_back = judged.body["retracts"]
    words = [kind.name] if taken_back is None else [f"takes back {taken_back}, {kind.name}"]
    if place is not None:
        words.append(f"at {place}")
    if placed.discriminator not in {"", place}:
        words.append(f"{kind.cardinality} {placed.discriminator}")
    role = f", role {judged.role}" if judged.role else ""
    rows = judged.rows.site(site_of(place or "")) + judged.rows.event_type(kind.name)
    return " ".join(words) + role, rows


def _ownership(judged: _Judged) -> _Found | None:
    placed, entity = judged.placed, judged.entity
    if placed is None:
        return None
    region = placed.spoken.region
    found = authority(judged.policy, entity, placed.kind, judged.claim, region)
    if isinstance(found, Reason):
        return None
    where = region or entity.region
    deputies = ", ".join(
        f"{name} after {span_ms(silence)}" for name, (_, silence) in found.deputies.items()
    )
    within = f" in {where}" if where else ""
    text = f"rule {found.rule}{within}: owner {found.owner}; deputies {deputies or 'none'}"
    return text, judged.rows.rule(found.rule)


def _sequence(judged: _Judged) -> _Found | None:
    placed = judged.placed
    if placed is None:
        return None
    if not placed.kind.strict:
        return "it waits for no other milestone", []
    first = ", ".join(placed.kind.predecessors)
    return f"after {first}", judged.rows.event_type(placed.kind.name, "predecessors")


_FIND: Final[dict[Stage, Callable[[_Judged], _Found | None]]] = {
    Stage.DECODE: lambda judged: (f"a raw event, on {judged.claim.origin.topic}", []),
    Stage.IDENTITY: _identity,
    Stage.BOUNDS: lambda _: ("every value can be kept", []),
    Stage.REPETITION: lambda _: ("not read before", []),
    Stage.TRUST: lambda _: ("its platform is trusted", []),
    Stage.REFERENCE: _reference,
    Stage.DIALECT: _dialect,
    Stage.PLAUSIBILITY: _plausibility,
    Stage.OCCURRENCE: _occurrence,
    Stage.OWNERSHIP: _ownership,
    Stage.SEQUENCE: _sequence,
}
