"""What is said of each kind of contested shipment, in a sentence or two.

Must never tell what is not in the case that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from connectors.simulation.platforms import TMS_EU
from connectors.simulation.shown import DELIVERED, TOLERANCE_MS
from connectors.simulation.statement import Record, Statement
from connectors.simulation.world import TENANT, Shipment, World
from pipeline.contract.bundle import Bundle
from pipeline.governance.reasons import Reason
from pipeline.governance.vocabulary import Action, Assurance

_HOUR_MS: Final = 3_600_000


class Case(NamedTuple):
    """What is known of one contested milestone."""

    world: World
    shipment: Shipment
    statement: Statement
    """The one that makes it a case of its kind."""
    said: Sequence[Statement]
    """Everything that was said of the shipment and its order."""
    revisions: Sequence[Record]
    """Of the milestone, in order."""
    story: Sequence[Record]
    """Everything that was approved of the order, then of the shipment."""
    postings: Sequence[Mapping[str, Any]]
    """What the ERP booked of the shipment."""
    old_ms: int | None
    """When the old portal says that it happened; None: it shows nothing."""
    bundle: Bundle

    @property
    def standing(self) -> Record:
        """What stands."""
        return self.revisions[-1]

    @property
    def label(self) -> str:
        """What customers call the milestone."""
        return self.called(self.standing["event_type"])

    def called(self, event_type: str) -> str:
        """What customers call an event type."""
        return self.bundle.label(event_type, TENANT, "en")

    def last(self, event_type: str) -> Record | None:
        """The last revision of an event type."""
        of_type = [record for record in self.story if record["event_type"] == event_type]
        return of_type[-1] if of_type else None

    def booked(self, kind: str) -> bool:
        """Whether the ERP has a posting of a kind for the milestone."""
        return any(
            posting["kind"] == kind
            and posting["body"]["milestone_id"] == self.standing["milestone_id"]
            for posting in self.postings
        )


class Told(NamedTuple):
    """A case in words; what was shown where it is not just the milestone's time."""

    sentence: str
    before: str = ""
    after: str = ""


class Kind(NamedTuple):
    """A kind of contest: whose statement makes it, which milestone shows it, how it is told."""

    about: str
    fault: str
    tells: Callable[[Case], Told | None]
    otherwise: Callable[[Case], Told | None] | None = None
    """How it is told if no shipment can be told the first way."""
    shows: str = ""
    """Event type; empty: the one that the statement is about."""

    def chooses(self, statement: Statement) -> bool:
        """Whether a statement makes its shipment a case of this kind."""
        if self.fault:
            return statement.fault == self.fault and statement.about is not None
        about = statement.about
        return about is not None and about.event_type == self.shows


def at(moment_ms: int) -> str:
    """A moment as people are told it."""
    return datetime.fromtimestamp(moment_ms / 1000, UTC).strftime("%a %H:%M UTC")


def _too_early(case: Case) -> Told | None:
    """The portal and Europe's TMS say shipped at warehouse departure."""
    issued, standing = case.last("goods.issued"), case.standing
    if issued is None or standing["platform"] != TMS_EU:
        return None
    return Told(
        f"When the goods left the warehouse at {at(issued['occurred'])}, tms-eu said SHIPPED"
        f" and the portal told the customer so; the carrier had them only at"
        f" {at(standing['occurred'])}. In Europe SHIPPED means left the warehouse, where wms-3pl"
        f" is the owner, and {case.label} is tms-eu's PICKED_UP: so that is what customers see."
    )


def _silence(case: Case) -> Told | None:
    """A deputy stands in and is then corrected."""
    first, last = case.revisions[0], case.standing
    corrected = last["reason"] == Reason.OWNER_CORRECTED_DEPUTY
    if not corrected or first["assurance"] != Assurance.PROVISIONAL:
        return None
    return Told(
        f"{last['platform']} owns {case.label} there but kept silent, so"
        f" {first['platform']}'s {at(first['occurred'])} was shown, marked provisional and not"
        f" booked; when {last['platform']} spoke, it said {at(last['occurred'])}: revision"
        f" {last['revision']} corrects revision {first['revision']} and only that was booked."
    )


def _misread_clock(case: Case) -> Told | None:
    """A carrier's local times taken for UTC."""
    standing, said = case.standing, case.statement
    apart_ms = abs(said.event["occurred"] - standing["occurred"])
    if case.old_ms != said.event["occurred"] or apart_ms <= TOLERANCE_MS:
        return None
    hours = round((said.event["occurred"] - standing["occurred"]) / _HOUR_MS)
    way = "after" if hours > 0 else "before"
    apart = f"{abs(hours)} hour{'' if abs(hours) == 1 else 's'}"
    return Told(
        f"{said.platform} sent {case.label} as {at(said.event['occurred'])}, {apart} {way}"
        f" {standing['platform']}'s {at(standing['occurred'])}: local times sent as UTC. Rule"
        f" {standing['rule']} makes {standing['platform']} the owner, so its time stands and the"
        f" carrier's is overruled."
    )


def _correction(case: Case) -> Told | None:
    """The owner puts its own error right."""
    first, last = case.revisions[0], case.standing
    owned = last["reason"] == Reason.OWNER_CORRECTED and last["event_type"] == DELIVERED
    if not owned or case.old_ms != first["occurred"]:
        return None
    adjusted = " The ERP had booked the first: it got an adjustment." * case.booked("ADJUSTMENT")
    return Told(
        f"{last['platform']} said {case.label} {at(first['occurred'])} and later put it right:"
        f" {at(last['occurred'])}. It is the owner, so its newer word corrects the older one, as"
        f" revision {last['revision']} of the same milestone.{adjusted}"
    )


def _retraction(case: Case) -> Told | None:
    """The owner takes a delivery back, which the ERP had booked, and says it again once true."""
    return _taken_back(case) if case.booked("REVERSAL") else None


def _taken_back(case: Case) -> Told | None:
    actions = [record["action"] for record in case.revisions]
    first, last = case.revisions[0], case.standing
    once = actions == [Action.ASSERT, Action.RETRACT, Action.ASSERT]
    if not once or case.old_ms != first["occurred"]:
        return None
    wrong = first["source_event_id"]
    by_id = any(item.event["retracts"] == wrong for item in case.said)
    how = f"the event id, {wrong}" if by_id else "the status NOT_DELIVERED"
    erp = (
        "the ERP, which had booked it, got a reversal with the original's key, then a new posting"
        if case.booked("REVERSAL")
        else "the ERP was not told of it yet, so nothing had to be reversed"
    )
    return Told(
        f"{last['platform']} said {case.label} {at(first['occurred'])} in error, took it back by"
        f" {how}, and said it again once it was true. Customers saw it vanish, with the reason;"
        f" {erp}.",
        after=f"{case.label} {at(last['occurred'])}, revision {last['revision']}",
    )


def _reference(case: Case) -> Told | None:
    """A carrier that knows only its own number, and a TMS that says nothing of the delivery."""
    standing = case.standing
    number = case.statement.event["reference"]
    if number is None or standing["assurance"] != Assurance.PROVISIONAL:
        return None
    anonymous = [item for item in case.said if item.event["reference"] == number]
    tender = next(item for item in case.said if number in item.event["references"])
    early = sum(item.sent_ms < tender.sent_ms for item in anonymous)
    return Told(
        f"{standing['platform']} knows this shipment only as {number['kind']} {number['value']}."
        f" What it sent before the tender named that number ({early} of {len(anonymous)} events)"
        f" waited, then all went to the shipment, in order. {tender.platform} never reported the"
        f" delivery, so the carrier's word stands in for it.",
        before=f"no “{case.label}”: events without a shipment number were dropped",
    )


def _handed_over(case: Case) -> Told | None:
    """Two systems report a departure, and the old portal believes the wrong one."""
    return _two_systems(case) if case.old_ms == case.statement.event["occurred"] else None


def _two_systems(case: Case) -> Told | None:
    """Two systems report a departure around a hand-over: the tender decides whose word counts."""
    standing, other, line_ms = case.standing, case.statement, case.world.handover_ms
    tender = case.last("shipment.tendered")
    if line_ms is None or tender is None:
        return None
    when = f"Tendered {at(tender['occurred'])}"
    line = "Europe's transport went over from tms-eu to tms-na"
    if tender["occurred"] < line_ms:
        told = (
            f"{when}, before {line} ({at(line_ms)}): {standing['platform']} follows it to the end,"
            f" and its {standing['native_status']} is {case.label}. {other.platform}, still on"
            f" trial, sent what was only planned."
        )
    else:
        told = (
            f"{when}, after {line} ({at(line_ms)}): {standing['platform']} owns {case.label} now."
            f" The retired {other.platform} still sent what it had planned; it owned {case.label}"
            f" until then, and is overruled."
        )
    if case.old_ms != other.event["occurred"]:
        told += " The old portal had believed SHIPPED at the warehouse's door before either."
    return Told(told, after=f"{case.label} {at(standing['occurred'])}, by {standing['platform']}")


def _cancelled(case: Case) -> Told | None:
    """An order is cancelled after its pick, and what is delivered all the same is not billed."""
    billed = any(posting["posting"] == "billing-release" for posting in case.postings)
    cancelled = _cancelled_anyway(case)
    if cancelled is None or "after_cancel" not in case.standing["flags"] or billed:
        return None
    return cancelled._replace(
        sentence=f"{cancelled.sentence} Later movements are marked after_cancel, and billing waits"
        f" until a person releases it.",
        before=f"{cancelled.before}, and billed",
        after=f"{cancelled.after}, not billed",
    )


def _cancelled_anyway(case: Case) -> Told | None:
    cancelled = case.last("order.cancelled")
    if cancelled is None:
        return None
    delivered = f"{case.label} {at(case.standing['occurred'])}"
    return Told(
        f"Order {case.shipment.order} was cancelled {at(cancelled['occurred'])}, after its pick,"
        f" and the goods left all the same. A cancellation can't undo what has moved: both stand,"
        f" and an alert went to operations.",
        before=delivered,
        after=f"{delivered}, after a cancellation",
    )


def _refused(case: Case) -> Told | None:
    """A delivery is refused and succeeds at the second attempt."""
    refused, delivered = case.standing, case.last(DELIVERED)
    if delivered is None or delivered["occurred"] < refused["occurred"]:
        return None
    first, second = f"{case.label} {at(refused['occurred'])}", at(delivered["occurred"])
    return Told(
        f"Refused at the door {at(refused['occurred'])}, delivered at the second attempt {second}."
        f" Each attempt is a milestone of its own: the refusal stays in the story and takes"
        f" nothing back.",
        before=f"Delivered {second}; of the refusal not a word",
        after=f"{first}, then Delivered {second}",
    )


KINDS: Final = (
    Kind("shipped too early", "portal_shipped", _too_early),
    Kind("an owner's silence", "stood_in_wrongly", _silence),
    Kind("a clock misread", "local_time", _misread_clock),
    Kind("a correction", "owner_errs", _correction),
    Kind("a retraction", "said_in_error", _retraction, _taken_back),
    Kind("a reference", "pro_only_delivered", _reference),
    Kind("before a hand-over", "trial_feed", _handed_over, _two_systems),
    Kind("after a hand-over", "retired_feed", _handed_over, _two_systems),
    Kind(
        "cancelled after the pick", "cancelled_after_pick", _cancelled, _cancelled_anyway, DELIVERED
    ),
    Kind("refused, and delivered again", "", _refused, shows="delivery.refused"),
)
"""In the order in which they are told."""
