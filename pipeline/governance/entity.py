"""The state of one entity: its story so far, what waits, and what it knows of itself.

Plain data. Must never decide anything, nor know how it is stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from pipeline.governance.claims import Claim, Order, RawEvent, Reference, Stop, weight_of
from pipeline.governance.identity import Key, milestone_id, parse_key

NO_ORDER: Final[Order] = (0, 0, 0, "")


class Spoken:
    """What one platform says of an occurrence in one way of naming the place, and its fate.

    A platform that names one stop in two ways (by number, by code) has two of these: another stop
    list may show that it meant two stops.
    """

    __slots__ = (
        "barrier",
        "claim",
        "content",
        "deadline",
        "fate",
        "first_received",
        "occurred",
        "order",
        "place",
        "precision",
        "reason",
        "region",
        "replaces",
        "restated",
        "restates",
        "retracts",
        "subject",
        "target_order",
        "written",
    )

    def __init__(self, claim: Claim, written: str, region: str | None, place: str | None) -> None:
        self.claim = claim
        self.written = written
        """How the platform writes the place, as far as the place depends on the stop list."""
        self.region = region
        """Where it says it happened; None: it doesn't say."""
        self.place = place
        self.content: list[Any] | None = None
        self.subject: RawEvent = claim.body
        """What tells the occurrence: its own record, or the one it takes back."""
        self.first_received = claim.origin.received
        self.order = claim.order
        self.barrier = NO_ORDER
        """The newest of its other statements that are older than this one."""
        self.target_order: Order | None = None
        """Order of the statement it takes back."""
        self.occurred = claim.body["occurred"]
        self.precision = claim.body["occurred_precision"]
        self.replaces: list[str] = []
        """Event ids of statements that it or what it replaced took the place of."""
        self.restated: dict[str, Order] = {}
        """Event ids under which its platform said the same again, and when."""
        self.restates = False
        """Whether it came as another way to say what its platform had said."""
        self.retracts = claim.body["retracts"] is not None
        """Whether it takes a statement back, by its event id or by saying that it is not so."""
        self.fate = ""
        self.reason = ""
        self.deadline: int | None = None

    @property
    def stated(self) -> Order:
        """When the statement was made, however often it was repeated or taken back since."""
        return self.target_order or self.claim.order


class Sealed:
    """The claims of an occurrence as they are stored: opened when somebody asks for them."""

    __slots__ = ("waits", "weight")

    waits: bool
    """Whether one of them has a deadline."""
    weight: int
    """Of all of them, as `Occurrence.weight` tells it."""

    def open(self) -> list[Spoken]:
        """The claims, by platform in the order in which it first spoke."""
        raise NotImplementedError


class Occurrence:
    """The thing that claims can disagree about, and what stands of it."""

    __slots__ = (
        "_spoken",
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
        "published",
        "revision",
        "sealed",
        "seq",
        "stands",
    )

    def __init__(self, event_type: str, discriminator: str, milestone: str) -> None:
        self.event_type = event_type
        self.discriminator = discriminator
        self.milestone_id = milestone
        self.sealed: Sealed | None = None
        self._spoken: dict[str, list[Spoken]] = {}
        self.revision = 0
        self.stands = False
        self.platform = ""
        self.assurance = ""
        self.action = ""
        self.occurred = 0
        """The finest time of what stands, which the next statement is compared with."""
        self.precision = ""
        self.published = 0
        """`occurred` of the newest revision."""
        self.content: list[Any] | None = None
        self.claim_seq = -1
        self.claim_id = ""
        self.seq = 0

    @property
    def name(self) -> str:
        """Its key among the entity's occurrences."""
        return f"{self.event_type}|{self.discriminator}"

    @property
    def event_id(self) -> str | None:
        """Id of the newest revision, if there is one."""
        return f"{self.milestone_id}:{self.revision}" if self.revision else None

    @property
    def spoken(self) -> dict[str, list[Spoken]]:
        """What is said, by platform."""
        sealed = self.sealed
        if sealed is not None:
            self.sealed = None
            for spoken in sealed.open():
                self._spoken.setdefault(spoken.claim.body["platform"], []).append(spoken)
        return self._spoken

    def seal(self, sealed: Sealed) -> None:
        """Put the claims away, as they were just stored."""
        self.sealed, self._spoken = sealed, {}

    def waits(self) -> bool:
        """Whether one of the claims has a deadline."""
        if self.sealed is not None:
            return self.sealed.waits
        for said in self._spoken.values():
            for item in said:
                if item.deadline is not None:
                    return True
        return False

    def weight(self) -> int:
        """About how many bytes of state the claims take."""
        if self.sealed is not None:
            return self.sealed.weight
        weight = 0
        for said in self._spoken.values():
            for item in said:
                weight += _weight(item.claim, item.subject)
        return weight

    def voices(self) -> Iterator[Spoken]:
        """What every platform says, in every way."""
        for said in self.spoken.values():
            yield from said

    def drop(self, spoken: Spoken) -> None:
        """Take a statement out."""
        name = spoken.claim.body["platform"]
        rest = [item for item in self.spoken[name] if item is not spoken]
        if rest:
            self.spoken[name] = rest
        else:
            del self.spoken[name]


class Held:
    """A claim that waits because its occurrence or its owner is not known yet."""

    __slots__ = ("claim", "deadline", "reason", "subject")

    def __init__(self, claim: Claim, subject: RawEvent, reason: str, deadline: int) -> None:
        self.claim = claim
        self.subject = subject
        self.reason = reason
        self.deadline = deadline


class PlannedStop(NamedTuple):
    """A stop of a plan, its place resolved."""

    stop: Stop
    place: str


class Plan(NamedTuple):
    """A stop list, and when the shipment was ordered so."""

    occurred: int
    order: Order
    stops: tuple[PlannedStop, ...]
    stands: bool
    """Whether it is its author's to give; another list may still be what a claim was made by."""


class Linked:
    """What a linked entity told last, and what it has been told."""

    __slots__ = ("cancelled", "ended", "region", "seq", "status")

    def __init__(self, seq: int, status: str, *, ended: bool) -> None:
        self.seq = seq
        self.status = status
        self.ended = ended
        self.region: str | None = None
        """Region that it has been told."""
        self.cancelled: int | None = None
        """Since when it has been told to be cancelled, ms UTC."""


class Bound(NamedTuple):
    """An entity that claims a reference: since when and until when, ms UTC."""

    seq: int
    since: int
    until: int | None


class Entity:
    """One order, shipment, stock item, or a reference under which claims wait."""

    __slots__ = (
        "active",
        "bindings",
        "binds",
        "bound",
        "cancels",
        "children",
        "forgotten",
        "generation",
        "held",
        "incomplete",
        "inherited",
        "key",
        "link_region",
        "link_seq",
        "linked",
        "name",
        "occurrences",
        "orders",
        "plans",
        "rank",
        "received",
        "references",
        "region",
        "said",
        "seen",
        "seq",
        "split",
        "standing",
        "start",
        "status",
        "told",
        "told_status",
    )

    def __init__(self, key: str) -> None:
        self.key = key
        self.name: Key = parse_key(key)
        self.generation = 1
        self.forgotten = False
        """Whether only generation and sequence are left of it."""
        self.active = 0
        """When something last came in for it, ms UTC."""
        self.seq = 0
        self.status = ""
        self.rank = 0
        self.received = 0
        self.region: str | None = None
        self.link_region: dict[str, str] = {}
        self.start: int | None = None
        self.plans: list[Plan] = []
        """Stop lists by which claims are read, the oldest first."""
        self.orders: list[str] = []
        self.told: list[str] = []
        """Orders that have been told of this shipment."""
        self.told_status = ""
        """Status that they have been told."""
        self.linked: dict[str, Linked] = {}
        self.link_seq = 0
        self.inherited: dict[str, list[str]] = {}
        """By shipment that this one was split from, or put together: its orders."""
        self.split: list[str] = []
        """Shipments into which this one was split."""
        self.children: dict[str, list[str | None]] = {}
        """What each of them has been told: region and orders."""
        self.cancels: dict[str, int] = {}
        """Orders of this shipment that were cancelled, and when, ms UTC."""
        self.binds: dict[str, int] = {}
        """Keys of references by which it is known, and since when, ms UTC."""
        self.bound: dict[str, tuple[int, int | None]] = {}
        """What these references have been told: since when and until when."""
        self.bindings: dict[str, Bound] = {}
        """Of a reference: the entities that claim it."""
        self.references: list[Reference] = []
        self.incomplete: list[str] = []
        """Origins of undecodable records that carried this entity's key."""
        self.occurrences: dict[str, Occurrence] = {}
        self.standing: Counter[str] = Counter()
        """How many occurrences of each event type stand."""
        self.said: set[str] = set()
        """Event types of which something has stood, or was said and taken back by its owner."""
        self.held: list[Held] = []
        self.seen: dict[str, None] = {}
        """Digests of the records taken last, the oldest first."""

    @property
    def stops(self) -> tuple[PlannedStop, ...]:
        """The stop list that stands."""
        return next((plan.stops for plan in reversed(self.plans) if plan.stands), ())

    @property
    def region_by_link(self) -> str | None:
        """Region that a linked order gives."""
        return self.link_region[min(self.link_region)] if self.link_region else None

    def occurrence(self, event_type: str, discriminator: str) -> Occurrence:
        """The occurrence, made if this is the first claim on it."""
        name = f"{event_type}|{discriminator}"
        found = self.occurrences.get(name)
        if found is None:
            if self.forgotten:
                self.generation += 1
                self.forgotten = False
            identity = milestone_id(self.key, event_type, discriminator, self.generation)
            found = self.occurrences[name] = Occurrence(event_type, discriminator, identity)
        return found

    def set_standing(self, occurrence: Occurrence, *, stands: bool) -> None:
        """Note whether an occurrence stands."""
        if stands != occurrence.stands:
            self.standing[occurrence.event_type] += 1 if stands else -1
        occurrence.stands = stands

    def touch(self, at: int) -> None:
        """Something has come in for it."""
        self.active = max(self.active, at)

    def forget(self) -> None:
        """Keep generation and sequences: who speaks again begins a new generation; then nothing.

        Links are counted on: whoever hears them takes a lower count for a repetition.
        """
        kept = Entity(self.key)
        if (self.seq or self.link_seq) and not self.forgotten:
            kept.forgotten = True
            kept.generation, kept.seq = self.generation, self.seq
            kept.link_seq, kept.active = self.link_seq, self.active
        self._become(kept)

    def _become(self, other: Entity) -> None:
        """Take over everything of another one with the same key."""
        self.generation = other.generation
        self.forgotten = other.forgotten
        self.active = other.active
        self.seq = other.seq
        self.status = other.status
        self.rank = other.rank
        self.received = other.received
        self.region = other.region
        self.link_region = other.link_region
        self.start = other.start
        self.plans = other.plans
        self.orders = other.orders
        self.told = other.told
        self.told_status = other.told_status
        self.linked = other.linked
        self.link_seq = other.link_seq
        self.inherited = other.inherited
        self.split = other.split
        self.children = other.children
        self.cancels = other.cancels
        self.binds = other.binds
        self.bound = other.bound
        self.bindings = other.bindings
        self.references = other.references
        self.incomplete = other.incomplete
        self.occurrences = other.occurrences
        self.standing = other.standing
        self.said = other.said
        self.held = other.held
        self.seen = other.seen

    def prune(self, occurrence: Occurrence) -> None:
        """Forget an occurrence of which nobody speaks and nothing was published."""
        if not occurrence.revision and not occurrence.spoken:
            self.occurrences.pop(occurrence.name, None)

    def remember(self, claim: Claim, most: int) -> None:
        """Know a record again that comes a second time, up to so many of them."""
        self.seen[claim.mark] = None
        if len(self.seen) > most:
            del self.seen[next(iter(self.seen))]

    def unsee(self, claim: Claim) -> None:
        """A claim in the dead letter is never taken for seen."""
        self.seen.pop(claim.mark, None)

    def open_claims(self) -> int:
        """How many claims wait."""
        return len(self.held) + sum(
            spoken.deadline is not None
            for occurrence in self.occurrences.values()
            if occurrence.waits()
            for spoken in occurrence.voices()
        )

    def weight(self) -> int:
        """About how many bytes of state its claims take."""
        weight = 0
        for held in self.held:
            weight += _weight(held.claim, held.subject)
        for occurrence in self.occurrences.values():
            weight += occurrence.weight()
        return weight

    def deadlines(self) -> Iterator[tuple[int, int]]:
        """When each waiting claim falls due, ms UTC, and its ledger sequence."""
        for held in self.held:
            yield held.deadline, held.claim.seq
        for occurrence in self.occurrences.values():
            if not occurrence.waits():
                continue
            for said in occurrence.spoken.values():
                for spoken in said:
                    if spoken.deadline is not None:
                        yield spoken.deadline, spoken.claim.seq

    def next_deadline(self) -> int | None:
        """When the next waiting claim falls due, ms UTC."""
        if not self.held and not any(item.waits() for item in self.occurrences.values()):
            return None
        return min((deadline for deadline, _ in self.deadlines()), default=None)

    def is_blank(self) -> bool:
        """Whether there is nothing to remember."""
        return not (
            self.occurrences
            or self.held
            or self.linked
            or self.incomplete
            or self.seen
            or self.seq
            or self.link_seq
            or self.binds
            or self.bindings
        )


def _weight(claim: Claim, subject: RawEvent) -> int:
    """Of a claim, and of what it takes back."""
    return claim.weight if subject is claim.body else claim.weight + weight_of(subject)
