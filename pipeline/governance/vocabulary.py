"""The closed word lists of governance.

Words are defined in the semantics reference; wire names are these values. Must never know how any
of them is decided.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What kind of system a platform is."""

    ERP = "ERP"
    TMS = "TMS"
    WMS = "WMS"
    CARRIER = "CARRIER"
    PORTAL = "PORTAL"
    OPS_DESK = "OPS_DESK"


class EntityType(StrEnum):
    """What a story is about."""

    ORDER = "order"
    SHIPMENT = "shipment"
    STOCK = "stock"


class Domain(StrEnum):
    """Which part of the business an event type belongs to."""

    INTENT = "intent"
    EXECUTION = "execution"
    TRANSPORT = "transport"
    FINANCE = "finance"


class Cardinality(StrEnum):
    """How many occurrences of an event type one entity can have, and so what tells them apart."""

    ONCE = "once"
    STOP = "stop"
    LEG = "leg"
    ATTEMPT = "attempt"
    DOCUMENT = "document"
    STREAM = "stream"


class Classifier(StrEnum):
    """Whether a claim speaks of a fact or of an expectation (DCSA's ACT, EST, PLN, REQ)."""

    UNRECOGNISED = "UNRECOGNISED"
    ACTUAL = "ACTUAL"
    ESTIMATED = "ESTIMATED"
    PLANNED = "PLANNED"
    REQUESTED = "REQUESTED"


class Precision(StrEnum):
    """How exact a source's time is."""

    UNRECOGNISED = "UNRECOGNISED"
    DAY = "DAY"
    MINUTE = "MINUTE"
    SECOND = "SECOND"
    MILLISECOND = "MILLISECOND"


PRECISION_MS: Final = {
    Precision.UNRECOGNISED: 1,
    Precision.DAY: 86_400_000,
    Precision.MINUTE: 60_000,
    Precision.SECOND: 1_000,
    Precision.MILLISECOND: 1,
}
"""Width of each precision, ms."""


class Disposition(StrEnum):
    """The immutable fate of one input record, written when it is read."""

    APPROVED = "approved"
    PROVISIONAL = "provisional"
    CORROBORATED = "corroborated"
    DUPLICATE = "duplicate"
    HELD = "held"
    OVERRULED = "overruled"
    STALE = "stale"
    REROUTED = "rerouted"
    DEAD_LETTERED = "dead_lettered"
    APPLIED = "applied"
    IGNORED = "ignored"


class Change(StrEnum):
    """What later becomes of a held, provisional or approved claim, besides a disposition."""

    CONFIRMED = "confirmed"
    CORRECTED = "corrected"
    RETRACTED = "retracted"


FATES: Final[dict[Disposition | Change, str]] = {
    Disposition.APPROVED: "The word of whoever decides it: it stands, or takes back what stood",
    Disposition.PROVISIONAL: "A deputy's word stands while the owner is silent",
    Disposition.CORROBORATED: "Says the same as what stands",
    Disposition.DUPLICATE: "Its platform has said it before",
    Disposition.HELD: "Waits, until its deadline, for what is not known or not said yet",
    Disposition.OVERRULED: "Recorded, but another's word counts",
    Disposition.STALE: "Came too late to count",
    Disposition.REROUTED: "Sent on to where it belongs, and judged there",
    Disposition.DEAD_LETTERED: "Could not be governed: kept as it came, to be repaired or replayed",
    Disposition.APPLIED: "A link or a control record that did what it says",
    Disposition.IGNORED: "Says nothing that is governed",
    Change.CONFIRMED: "Stood provisionally until its owner said the same",
    Change.CORRECTED: "Counted until something else was said in its place",
    Change.RETRACTED: "Stood until it was taken back",
}
"""What each fate of a claim says to a person."""


class Action(StrEnum):
    """What a revision on the approved topic does."""

    UNRECOGNISED = "UNRECOGNISED"
    ASSERT = "ASSERT"
    CONFIRM = "CONFIRM"
    CORRECT = "CORRECT"
    RETRACT = "RETRACT"


ACTIONS: Final[dict[Action, str]] = {
    Action.ASSERT: "This stands; after a RETRACT, it is stated anew",
    Action.CONFIRM: "The owner says what its deputy had said",
    Action.CORRECT: "It was otherwise; the record says what it had been",
    Action.RETRACT: "It does not stand any more",
}
"""What each revision says to its readers; the unrecognised one is never written."""


class Assurance(StrEnum):
    """Who vouches for a revision: its owner, or a deputy in the owner's silence."""

    UNRECOGNISED = "UNRECOGNISED"
    AUTHORITATIVE = "AUTHORITATIVE"
    PROVISIONAL = "PROVISIONAL"


class Flag(StrEnum):
    """What a reader of an approved milestone should know besides."""

    LATE = "late"
    INCOMPLETE = "incomplete"
    AFTER_CANCEL = "after_cancel"
    REPAIRED = "repaired"
    CLOCK = "clock"


class ControlKind(StrEnum):
    """What a control record does to its partition."""

    TICK = "TICK"
    ACTIVATE = "ACTIVATE"
    SUSPEND = "SUSPEND"
    RELEASE = "RELEASE"
    WATERMARK = "WATERMARK"
    REDECIDE = "REDECIDE"


class LinkKind(StrEnum):
    """What crosses from one entity to another."""

    SHIPMENT_OF_ORDER = "SHIPMENT_OF_ORDER"
    REGION_OF_SHIPMENT = "REGION_OF_SHIPMENT"
    REFERENCE = "REFERENCE"
    CANCEL = "CANCEL"
    SPLIT = "SPLIT"
