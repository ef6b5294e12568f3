"""A claim: one raw record as governance sees it, and how two claims compare.

Holds the shapes of raw events and the order and equality of statements. Must never know who owns
what.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypedDict

from pipeline.governance.vocabulary import PRECISION_MS


class Reference(TypedDict):
    """Another name of an entity."""

    kind: str
    scope: str
    value: str


class Stop(TypedDict):
    """A place as a platform writes it."""

    number: int | None
    role: str | None
    location: str | None
    name: str | None
    city: str | None
    subdivision: str | None
    country: str | None


class RawEvent(TypedDict):
    """The raw event of `schemas/raw-event.avsc` as a plain dictionary.

    Times are ms UTC; `amount` is an integer of 1/10,000, `quantity.value` of 1/1,000,000.
    """

    event_id: str
    platform: str
    account: str | None
    entity_type: str | None
    entity_id: str | None
    reference: Reference | None
    native_status: str
    native_reason: str | None
    native_qualifier: str | None
    classifier: str
    occurred: int
    occurred_precision: str
    occurred_offset_minutes: int | None
    recorded: int | None
    sequence: int | None
    stop: Stop | None
    leg: str | None
    attempt: str | None
    document: str | None
    warehouse_task: str | None
    quantity: dict[str, Any] | None
    amount: int | None
    currency: str | None
    retracts: str | None
    orders: list[str]
    stops: list[Stop]
    references: list[Reference]
    attributes: dict[str, str]
    shipments: list[str]
    stated_by: str | None
    remark: str | None


class Origin(NamedTuple):
    """Where a record first came in, and when it was appended there (ms UTC)."""

    topic: str
    partition: int
    offset: int
    received: int


class Raw(NamedTuple):
    """A record as it came, kept while it may still end in the dead letter."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


Order = tuple[int, int, int, str]
"""Order of one platform's statements; the greatest is its latest."""


class Claim:
    """One platform's statement, with where it came from and what it may end as."""

    __slots__ = (
        "body",
        "clock_ahead",
        "digest",
        "hops",
        "order",
        "origin",
        "raw",
        "repaired_by",
        "seq",
        "tenant",
        "weight_of_body",
    )

    def __init__(
        self,
        body: RawEvent,
        origin: Origin,
        seq: int,
        digest: bytes,
        tenant: str,
        *,
        raw: Raw | None = None,
        repaired_by: str | None = None,
        hops: int = 0,
    ) -> None:
        self.body = body
        self.origin = origin
        self.seq = seq
        self.digest = digest
        self.tenant = tenant
        self.raw = raw
        self.repaired_by = repaired_by
        self.hops = hops
        self.clock_ahead = False
        self.weight_of_body: int | None = None
        """Reckoned when it is asked for."""
        recorded = body["recorded"]
        received = origin.received
        self.order: Order = (
            received if recorded is None or recorded > received else recorded,
            received,
            body["sequence"] or 0,
            body["event_id"],
        )

    @property
    def mark(self) -> str:
        """By which the record is known again."""
        return mark_of(self.digest)

    @property
    def weight(self) -> int:
        """About how many bytes of state the claim takes."""
        weight, raw = self.weight_of_body, self.raw
        if weight is None:
            weight = self.weight_of_body = weight_of(self.body)
        if raw is None:
            return weight
        size = len(raw.key or b"") + len(raw.value or b"")
        return weight + 2 * (size + sum(len(name) + len(item or b"") for name, item in raw.headers))


def mark_of(digest: bytes) -> str:
    """By which a record with this digest is known again."""
    return digest.hex()[:16]


def weight_of(body: RawEvent) -> int:
    """About how many bytes a raw event takes in state, where it is kept in more than one form."""
    size = stored_bytes(body["remark"] or "")
    for _, text in texts_of(body):
        size += stored_bytes(text)
    return _BASE_BYTES + len(body["stops"]) * _STOP_BYTES + _FORMS * size


def stored_bytes(text: str) -> int:
    """Bytes that a text takes in state, at most: what can't be printed is escaped there."""
    if text.isprintable():
        return len(text) if text.isascii() else len(text.encode())
    return _ESCAPED_BYTES * len(text)


def texts_of(body: RawEvent) -> list[tuple[str, str]]:
    """Every text that state or records repeat, with the field that it is in."""
    found: list[tuple[str, str]] = []
    for name in _TEXTS:
        text = body[name]
        if text:
            found.append((name, text))
    found += [("orders", text) for text in body["orders"]]
    found += [("shipments", text) for text in body["shipments"]]
    if body["quantity"] is not None:
        found.append(("quantity.unit", body["quantity"]["unit"]))
    if body["stop"] is not None:
        _texts_of_stop(found, "stop", body["stop"])
    for stop in body["stops"]:
        _texts_of_stop(found, "stops", stop)
    for reference in body["references"]:
        for field, value in reference.items():
            found.append((f"references.{field}", str(value)))
    return found


def _texts_of_stop(found: list[tuple[str, str]], name: str, stop: Stop) -> None:
    for field, value in stop.items():
        if isinstance(value, str):
            found.append((f"{name}.{field}", value))


_TEXTS: Final = (
    "event_id",
    "native_status",
    "native_reason",
    "native_qualifier",
    "leg",
    "attempt",
    "document",
    "warehouse_task",
    "currency",
    "retracts",
    "stated_by",
)
_BASE_BYTES: Final = 400
_STOP_BYTES: Final = 400
_FORMS: Final = 3
"""The claim itself, what it states, and what is made of it: stop lists, keys of orders."""
_ESCAPED_BYTES: Final = 6
_CONTENT: Final = ("quantity", "amount", "currency", "orders", "stops", "shipments")

WIDTH: Final = {str(precision): width for precision, width in PRECISION_MS.items()}
"""Width of a precision by its wire name, ms."""


def content(body: RawEvent, site: str | None) -> list[Any] | None:
    """What a statement says besides its time; None: nothing, as most.

    Args:
        body: the statement.
        site: where it says it happened, unless the occurrence says so already.

    """
    found: list[Any] = [body[name] or None for name in _CONTENT]
    if body["amount"] == 0:
        found[1] = 0
    found.append(site)
    return None if all(part is None for part in found) else found


def adds(said: list[Any] | None, known: list[Any] | None) -> bool:
    """Whether a content states what another does not.

    Silence on something states nothing, and neither does the first word on where it was.
    """
    if said is None:
        return False
    if known is None:
        return any(part is not None for part in said[:-1])
    *parts, site = said
    *others, place = known
    return (site is not None and place is not None and site != place) or any(
        part is not None and part != other for part, other in zip(parts, others, strict=True)
    )


def same_time(a: int, a_precision: str, b: int, b_precision: str) -> bool:
    """Whether two times are one statement: equal at the coarser of their precisions."""
    width = max(WIDTH[a_precision], WIDTH[b_precision])
    return a == b if width == 1 else a // width == b // width


def within(a: int, a_precision: str, b: int, b_precision: str, tolerance_ms: int) -> bool:
    """Whether two platforms agree: the same time, or no further apart than the tolerance."""
    return abs(a - b) <= tolerance_ms or same_time(a, a_precision, b, b_precision)


def finer(precision: str, other: str) -> bool:
    """Whether a precision is finer than another."""
    return WIDTH[precision] < WIDTH[other]


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
    "shipments": [],
    "stated_by": None,
    "remark": None,
}


def raw_event(**given: Any) -> RawEvent:
    """A raw event with the schema's defaults for what is not given."""
    lists: dict[str, list[Any]] = {
        name: [] for name in ("orders", "stops", "references", "shipments")
    }
    return {**_EMPTY, **lists, "attributes": {}, **given}  # type: ignore[typeddict-item]
