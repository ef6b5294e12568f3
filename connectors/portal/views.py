"""What the portal answers: the forms of its API, which its pages are drawn from too.

Field names are a public contract: they may be added to, never renamed. Must never hold a rule.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

State = Literal["confirmed", "provisional", "corrected", "retracted", "unrecognised"]


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class Freshness(_View):
    """Up to when an answer is known to be complete. It comes from the portal's own store."""

    verified_at: datetime | None = Field(
        description="Newest time up to which everything approved is in the store; null: not known",
        examples=["2026-11-04T10:15:02.120Z"],
    )
    stale: bool = Field(description="Whether that is longer ago than it should be")
    why: str | None = Field(
        description="What keeps it from being fresh, for people",
        examples=["Kafka does not answer, since 2026-11-04 10:15:04 UTC."],
    )


class Moment(_View):
    """A time, and what it is on the clocks of the place."""

    at: datetime = Field(description="UTC", examples=["2026-11-04T10:05:00Z"])
    local: datetime = Field(
        description="The same on the clocks of the place, with its offset",
        examples=["2026-11-04T04:05:00-06:00"],
    )
    zone: str | None = Field(
        description="IANA zone of the place; null: only the source's offset is known",
        examples=["America/Chicago"],
    )
    precision: str = Field(description="DAY, MINUTE, SECOND or MILLISECOND", examples=["MINUTE"])


class Place(_View):
    """Where something happened or will happen."""

    name: str | None = Field(examples=["Dallas distribution centre"])
    city: str | None = Field(examples=["Dallas"])
    subdivision: str | None = Field(examples=["TX"])
    country: str | None = Field(examples=["US"])
    location: str | None = Field(description="Code of the site", examples=["DAL1"])
    stop: int | None = Field(description="Place in the stop list, from 1", examples=[1])
    role: str | None = Field(examples=["ORIGIN"])


class Speaker(_View):
    """Who said it."""

    platform: str = Field(examples=["tms-na"])
    role: str = Field(examples=["TMS"])
    role_label: str = Field(examples=["Transport system"])
    native_status: str = Field(description="In its own words", examples=["SHIPPED"])
    person: str | None = Field(
        description="Who stated it, where a person did; only a portal for staff says so",
        examples=["Ana Perez"],
    )
    remark: str | None = Field(
        description="Why, in that person's words; only a portal for staff says so",
        examples=["the driver phoned"],
    )


class Version(_View):
    """One revision of a milestone, as it was approved."""

    revision: int = Field(description="Counts 1, 2, 3 … without gap", examples=[1])
    action: str = Field(description="ASSERT, CONFIRM, CORRECT or RETRACT", examples=["ASSERT"])
    assurance: str = Field(
        description="AUTHORITATIVE: by its owner. PROVISIONAL: by a deputy while the owner is "
        "silent",
        examples=["AUTHORITATIVE"],
    )
    classifier: str = Field(examples=["ACTUAL"])
    occurred: Moment
    place: Place | None
    by: Speaker
    reason: str = Field(description="Why it was approved, a closed list", examples=["owner_spoke"])
    reason_text: str = Field(examples=["The milestone's owner said so"])
    document: str | None
    quantity: str | None = Field(description="With its unit", examples=["12 pieces, partial"])
    amount: str | None = Field(description="With its currency", examples=["1250.00 USD"])
    repaired: bool = Field(description="A person put the report right before it was judged")
    repaired_by: str | None = Field(
        description="That person; only a portal for staff says so", examples=["Ana Perez"]
    )
    received_at: datetime = Field(description="When the statement reached Kafka")
    published_at: datetime = Field(description="When it was approved: `known_at` compares this")
    applied_at: datetime = Field(description="When this portal first showed it")


class TakenBack(_View):
    """Why a milestone does not stand any more."""

    by: Speaker | None = Field(
        description="Who took it back: whoever had said so, or the owner. Null: nobody did; "
        "`reason` says what changed"
    )
    reason: str = Field(examples=["retracted_by_author"])
    reason_text: str
    at: datetime = Field(description="When that was approved")


class Milestone(_View):
    """A milestone: what stands, or why it does not, and what it was before."""

    milestone_id: str
    event_type: str = Field(examples=["departed"])
    label: str = Field(description="What a customer calls it", examples=["Shipped"])
    state: State = Field(
        description="confirmed: by its owner. provisional: by a deputy. corrected: the newest "
        "revision changed it. retracted: taken back. unrecognised: its newest revision says "
        "something that this portal does not understand, so it is no fact"
    )
    stands: bool = Field(description="Whether it may be relied on: not retracted or unrecognised")
    late: bool = Field(description="It was learned after something that comes later")
    entity_seq: int = Field(description="The order of the story", examples=[4])
    generation: int = Field(
        description="Which story under this id it belongs to: an id that is used again after its "
        "first story was forgotten begins another"
    )
    split_into: list[str] = Field(description="Ids of the shipments that it names as parts")
    taken_back: TakenBack | None = Field(description="Null: it was not")
    current: Version
    previous: list[Version] = Field(description="Earlier revisions, the newest first, 50 at most")
    flags: list[str] = Field(examples=[["late"]])
    agree: list[str] = Field(description="Platforms that say the same")
    dissent: list[str] = Field(description="Platforms that say otherwise")
    document: str | None
    quantity: str | None = Field(description="With its unit", examples=["12 pieces, partial"])
    amount: str | None = Field(description="With its currency", examples=["1250.00 USD"])


class Gap(_View):
    """A milestone that should have come before and was never heard of."""

    event_type: str = Field(examples=["goods.issued"])
    label: str = Field(examples=["Left the warehouse"])
    before: str = Field(description="milestone_id of what came after it")


class Stop(_View):
    """A stop of the plan."""

    place: Place
    zone: str | None
    milestone: str | None = Field(description="Label of the newest standing fact there")
    provisional: bool = Field(description="Whether that fact is provisional")
    occurred: Moment | None


class Link(_View):
    """An order of a shipment, or a shipment of an order."""

    tenant: str
    type: str = Field(examples=["order"])
    id: str = Field(examples=["80001234"])
    status: str = Field(examples=["packed"])
    status_label: str = Field(examples=["Packed"])
    href: str | None = Field(
        description="Address in this API; null: it has no page", examples=["/api/orders/80001234"]
    )


class Name(_View):
    """Another name of the entity."""

    kind: str = Field(examples=["PRO"])
    scope: str = Field(examples=["RDLN"])
    value: str = Field(examples=["004711"])


class Status(_View):
    """Where the entity is in its life."""

    code: str = Field(examples=["shipped"])
    label: str = Field(examples=["Shipped"])
    provisional: bool = Field(description="It rests on a provisional statement")
    since: Moment | None = Field(description="When the milestone behind it occurred")
    place: Place | None


class Cancelled(_View):
    """That an order or a transport was cancelled."""

    label: str = Field(examples=["Order cancelled"])
    provisional: bool
    occurred: Moment


class Entity(_View):
    """The story of a shipment or an order."""

    tenant: str = Field(examples=["acme"])
    type: str = Field(examples=["shipment"])
    id: str = Field(examples=["SHP-1001"])
    status: Status
    region: str | None = Field(examples=["NA"])
    incomplete: bool = Field(description="Something about it could not be read; more may be known")
    cancelled: Cancelled | None = Field(
        description="Its cancellation, if one stands; what had moved before keeps its status"
    )
    after_cancel: bool = Field(
        description="Something moved after it or its order had been cancelled: `flags` says what"
    )
    milestones: list[Milestone] = Field(description="Facts, in the order of the story")
    earlier: list[Milestone] = Field(
        description="Facts of an earlier story under the same id, forgotten since"
    )
    expected: list[Milestone] = Field(description="Estimates that nothing has settled yet")
    position: Milestone | None = Field(description="The last reported position")
    missing: list[Gap]
    stops: list[Stop]
    linked: list[Link]
    split_into: list[Link] = Field(description="Shipments that it was split into")
    part_of: list[Link] = Field(description="Shipments that were split into this one and others")
    references: list[Name]
    freshness: Freshness


class Milestones(_View):
    """Milestones as they were known at some time."""

    tenant: str
    type: str
    id: str
    as_of: datetime | None
    known_at: datetime | None
    milestones: list[Milestone]
    freshness: Freshness


class Found(_View):
    """One answer to a search."""

    tenant: str
    type: str
    id: str
    status: str
    status_label: str
    matched: Name = Field(
        description="The name that was found. Its `kind` may also be ID (its own), LINK (of a "
        "linked order or shipment), PART (of one that it was split into), EVENT (an event's id)"
    )
    href: str


class Search(_View):
    """Answers to a search, the best first."""

    query: str
    results: list[Found]
    freshness: Freshness


class Change(_View):
    """An entity changed: data of an event `changed` of the stream."""

    tenant: str
    type: str
    id: str
    status: str
    status_label: str
    href: str
