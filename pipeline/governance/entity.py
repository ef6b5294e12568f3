"""The state of one entity: its story so far, what waits, and what it knows of itself.

Plain data and its round trip through plain lists. Must never decide anything.
"""

from __future__ import annotations

from typing import Any, Final

from pipeline.governance.claims import Claim, Order, Origin, Raw, RawEvent, Reference, Stop
from pipeline.governance.identity import Key, milestone_id, parse_key

STATE_VERSION: Final = 1
_NO_ORDER: Final[Order] = (0, 0, 0, "")


class Spoken:
    """What one platform says of an occurrence: its latest claim and the fate of that claim."""

    __slots__ = (
        "barrier",
        "claim",
        "deadline",
        "fate",
        "first_received",
        "occurred",
        "order",
        "precision",
        "reason",
        "region",
    )

    def __init__(self, claim: Claim, region: str | None) -> None:
        self.claim = claim
        self.region = region
        self.first_received = claim.origin.received
        self.order = claim.order
        self.barrier = _NO_ORDER
        self.occurred = claim.body["occurred"]
        self.precision = claim.body["occurred_precision"]
        self.fate = ""
        self.reason = ""
        self.deadline: int | None = None


class Occurrence:
    """The thing that claims can disagree about, and what stands of it."""

    __slots__ = (
        "action",
        "assurance",
        "claim_id",
        "claim_seq",
        "content",
        "discriminator",
        "event_type",
        "milestone_id",
        "occurred",
        "platform",
        "precision",
        "revision",
        "seq",
        "spoken",
        "stands",
    )

    def __init__(self, event_type: str, discriminator: str, milestone: str) -> None:
        self.event_type = event_type
        self.discriminator = discriminator
        self.milestone_id = milestone
        self.spoken: dict[str, Spoken] = {}
        self.revision = 0
        self.stands = False
        self.platform = ""
        self.assurance = ""
        self.action = ""
        self.occurred = 0
        self.precision = ""
        self.content = ""
        self.claim_seq = -1
        self.claim_id = ""
        self.seq = 0

    @property
    def event_id(self) -> str | None:
        """Id of the newest revision, if there is one."""
        return f"{self.milestone_id}:{self.revision}" if self.revision else None


class Held:
    """A claim that waits because its occurrence is not known yet."""

    __slots__ = ("claim", "deadline", "reason")

    def __init__(self, claim: Claim, reason: str, deadline: int) -> None:
        self.claim = claim
        self.reason = reason
        self.deadline = deadline


class PlannedStop:
    """A stop of the standing plan, its place resolved."""

    __slots__ = ("place", "stop")

    def __init__(self, stop: Stop, place: str) -> None:
        self.stop = stop
        self.place = place


class Entity:
    """One order, shipment, stock item, or a reference under which claims wait."""

    __slots__ = (
        "generation",
        "held",
        "incomplete",
        "key",
        "link_region",
        "link_seq",
        "linked",
        "name",
        "occurrences",
        "orders",
        "rank",
        "received",
        "references",
        "region",
        "seen",
        "seq",
        "start",
        "status",
        "stops",
    )

    def __init__(self, key: str) -> None:
        self.key = key
        self.name: Key = parse_key(key)
        self.generation = 1
        self.seq = 0
        self.status = ""
        self.rank = 0
        self.received = 0
        self.region: str | None = None
        self.link_region: dict[str, str] = {}
        self.start: int | None = None
        self.stops: list[PlannedStop] = []
        self.orders: list[str] = []
        self.linked: dict[str, list[Any]] = {}
        """By key of a linked entity: its last link's sequence and the status it told."""
        self.link_seq = 0
        self.references: list[Reference] = []
        self.incomplete: list[str] = []
        """Origins of undecodable records that carried this entity's key."""
        self.occurrences: dict[str, Occurrence] = {}
        self.held: list[Held] = []
        self.seen: dict[str, None] = {}
        """Source event ids (`platform:id`) taken last, the oldest first."""

    def occurrence(self, event_type: str, discriminator: str) -> Occurrence:
        """The occurrence, made if this is the first claim on it."""
        name = f"{event_type}|{discriminator}"
        found = self.occurrences.get(name)
        if found is None:
            identity = milestone_id(self.key, event_type, discriminator, self.generation)
            found = self.occurrences[name] = Occurrence(event_type, discriminator, identity)
        return found

    def standing(self, event_type: str) -> bool:
        """Whether any occurrence of an event type stands."""
        return any(o.stands and o.event_type == event_type for o in self.occurrences.values())

    def open_claims(self) -> int:
        """How many claims wait."""
        return len(self.held) + sum(
            spoken.deadline is not None
            for occurrence in self.occurrences.values()
            for spoken in occurrence.spoken.values()
        )

    def next_deadline(self) -> int | None:
        """When the next waiting claim falls due, ms UTC."""
        due = [held.deadline for held in self.held]
        for occurrence in self.occurrences.values():
            due.extend(
                spoken.deadline
                for spoken in occurrence.spoken.values()
                if spoken.deadline is not None
            )
        return min(due, default=None)


_EMPTY: Final[RawEvent] = {
    "event_id": "",
    "platform": "",
    "account": None,
    "entity_type": None,
    "entity_id": None,
    "reference": None,
    "native_status": "",
    "native_reason": None,
    "native_qualifier": None,
    "classifier": "UNRECOGNISED",
    "occurred": 0,
    "occurred_precision": "UNRECOGNISED",
    "occurred_offset_minutes": None,
    "recorded": None,
    "sequence": None,
    "stop": None,
    "leg": None,
    "attempt": None,
    "document": None,
    "warehouse_task": None,
    "quantity": None,
    "amount": None,
    "currency": None,
    "retracts": None,
    "orders": [],
    "stops": [],
    "references": [],
    "attributes": {},
}


def raw_event(**given: Any) -> RawEvent:
    """A raw event with the schema's defaults for what is not given."""
    return {**_EMPTY, "orders": [], "stops": [], "references": [], "attributes": {}, **given}  # type: ignore[typeddict-item]


def dump(entity: Entity) -> list[Any]:
    """The entity as plain lists, numbers, texts and bytes-as-hex: what the changelog keeps."""
    return [
        STATE_VERSION,
        entity.generation,
        entity.seq,
        entity.status,
        entity.rank,
        entity.received,
        entity.region,
        entity.link_region,
        entity.start,
        [[planned.place, planned.stop] for planned in entity.stops],
        entity.orders,
        entity.linked,
        entity.link_seq,
        entity.references,
        entity.incomplete,
        [_dump_occurrence(occurrence) for occurrence in entity.occurrences.values()],
        [[_dump_claim(held.claim), held.reason, held.deadline] for held in entity.held],
        list(entity.seen),
    ]


def load(key: str, plain: list[Any]) -> Entity:
    """The entity that `dump` gave.

    Raises:
        ValueError: it was written by a newer Milepost.

    """
    version, *fields = plain
    if version != STATE_VERSION:
        raise ValueError(f"state of {key} has version {version}, this Milepost reads up to 1")
    entity = Entity(key)
    (
        entity.generation,
        entity.seq,
        entity.status,
        entity.rank,
        entity.received,
        entity.region,
        entity.link_region,
        entity.start,
        stops,
        entity.orders,
        entity.linked,
        entity.link_seq,
        entity.references,
        entity.incomplete,
        occurrences,
        held,
        seen,
    ) = fields
    entity.stops = [PlannedStop(stop, place) for place, stop in stops]
    for row in occurrences:
        occurrence = _load_occurrence(entity, row)
        name = f"{occurrence.event_type}|{occurrence.discriminator}"
        entity.occurrences[name] = occurrence
    entity.held = [Held(_load_claim(claim), reason, due) for claim, reason, due in held]
    entity.seen = dict.fromkeys(seen)
    return entity


def _dump_occurrence(occurrence: Occurrence) -> list[Any]:
    return [
        occurrence.event_type,
        occurrence.discriminator,
        occurrence.revision,
        occurrence.stands,
        occurrence.platform,
        occurrence.assurance,
        occurrence.action,
        occurrence.occurred,
        occurrence.precision,
        occurrence.content,
        occurrence.claim_seq,
        occurrence.claim_id,
        occurrence.seq,
        [
            [
                _dump_claim(spoken.claim),
                spoken.region,
                spoken.first_received,
                spoken.order,
                spoken.barrier,
                spoken.occurred,
                spoken.precision,
                spoken.fate,
                spoken.reason,
                spoken.deadline,
            ]
            for spoken in occurrence.spoken.values()
        ],
    ]


def _load_occurrence(entity: Entity, row: list[Any]) -> Occurrence:
    event_type, discriminator = row[:2]
    identity = milestone_id(entity.key, event_type, discriminator, entity.generation)
    occurrence = Occurrence(event_type, discriminator, identity)
    (
        occurrence.revision,
        occurrence.stands,
        occurrence.platform,
        occurrence.assurance,
        occurrence.action,
        occurrence.occurred,
        occurrence.precision,
        occurrence.content,
        occurrence.claim_seq,
        occurrence.claim_id,
        occurrence.seq,
        all_spoken,
    ) = row[2:]
    for plain, region, first, order, barrier, *rest in all_spoken:
        spoken = Spoken(_load_claim(plain), region)
        spoken.first_received = first
        spoken.order = (order[0], order[1], order[2], order[3])
        spoken.barrier = (barrier[0], barrier[1], barrier[2], barrier[3])
        spoken.occurred, spoken.precision, spoken.fate, spoken.reason, spoken.deadline = rest
        occurrence.spoken[spoken.claim.body["platform"]] = spoken
    return occurrence


def _dump_claim(claim: Claim) -> list[Any]:
    body = {
        name: value
        for name, value in claim.body.items()
        if value is not None and value not in ("UNRECOGNISED", [], {})
    }
    raw = claim.raw
    return [
        body,
        list(claim.origin),
        claim.seq,
        claim.digest.hex(),
        claim.tenant,
        claim.repaired_by,
        claim.hops,
        claim.clock_ahead,
        None
        if raw is None
        else [
            _hex(raw.key),
            _hex(raw.value),
            [[name, _hex(value)] for name, value in raw.headers],
        ],
    ]


def _load_claim(plain: list[Any]) -> Claim:
    body, origin, seq, digest, tenant, repaired_by, hops, clock_ahead, raw = plain
    claim = Claim(
        raw_event(**body),
        Origin(*origin),
        seq,
        bytes.fromhex(digest),
        tenant,
        repaired_by=repaired_by,
        hops=hops,
    )
    claim.clock_ahead = clock_ahead
    if raw is not None:
        key, value, headers = raw
        claim.raw = Raw(
            _unhex(key), _unhex(value), tuple((name, _unhex(item)) for name, item in headers)
        )
    return claim


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _unhex(value: str | None) -> bytes | None:
    return None if value is None else bytes.fromhex(value)
