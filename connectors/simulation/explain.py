"""Three contested shipments of a run, each told in a sentence from what was approved.

Must never invent: every time and name comes from a statement that was sent or a record that was
approved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from connectors.simulation.before import LABELS
from connectors.simulation.platforms import PORTAL, TMS_EU
from connectors.simulation.shown import DELIVERED, SHIPPED, TOLERANCE_MS
from connectors.simulation.statement import Record, Statement
from connectors.simulation.traffic import Traffic
from connectors.simulation.world import TENANT, Shipment
from pipeline.contract.bundle import Bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.reasons import Reason
from pipeline.governance.vocabulary import Assurance, Classifier


class Said(NamedTuple):
    """What one platform said of the contested milestone."""

    platform: str
    native_status: str
    occurred_ms: int
    meaning: str
    """Event type that its dialect gives the status."""
    stands: bool
    agrees: bool
    """Within the tolerance of what stands."""


class Contested(NamedTuple):
    """A shipment about which platforms disagreed, and why Milepost says what it says."""

    shipment: str
    about: str
    sentence: str
    label: str
    """What customers call the milestone."""
    truth_ms: int
    """When it truly happened."""
    said: list[Said]


class _Case(NamedTuple):
    """What is known of one contested milestone."""

    shipment: Shipment
    statement: Statement
    """The one that did not prevail."""
    revisions: list[Record]
    """Of the milestone, in order."""
    bundle: Bundle

    @property
    def standing(self) -> Record:
        """What stands."""
        return self.revisions[-1]

    @property
    def label(self) -> str:
        """What customers call the milestone."""
        return self.bundle.label(self.standing["event_type"], TENANT, "en")


_Teller = Callable[[_Case, list[Record]], str | None]


def contested(traffic: Traffic, bundle: Bundle, approved: Iterable[Record]) -> list[Contested]:
    """One shipment of each kind of contest: too early, silence, a clock misread."""
    stories: dict[str, list[Record]] = {}
    for record in approved:
        if record["tenant"] == TENANT:
            stories.setdefault(record["entity_id"], []).append(record)
    found = []
    for fault, about, teller in _KINDS:
        told = next(_told(traffic, bundle, stories, fault, teller), None)
        if told is not None:
            case, sentence = told
            found.append(_contested(traffic, case, about, sentence))
    return found


def _contested(traffic: Traffic, case: _Case, about: str, sentence: str) -> Contested:
    standing, happened = case.standing, case.statement.about
    return Contested(
        case.shipment.number,
        about,
        sentence,
        case.label,
        standing["occurred"] if happened is None else happened.at_ms,
        _said(traffic, case),
    )


def _said(traffic: Traffic, case: _Case) -> list[Said]:
    """Every platform's last word on the milestone, and what was taken for it."""
    standing = case.standing
    policy = compile_policy(case.bundle)
    found: dict[tuple[str, str], Said] = {}
    for sending in traffic.sendings:
        statement, event = sending.statement, sending.statement.event
        number = str(event["entity_id"]).strip().upper()
        platform = policy.platforms.get(statement.platform)
        if number != case.shipment.number or platform is None or statement.spoiling:
            continue
        if event["classifier"] != Classifier.ACTUAL:
            continue
        meaning = policy.resolve_status(
            platform, event["native_status"], None, None, "PICKUP", event["classifier"]
        ).event_type
        # The old portal's one table for all: only a contest about its SHIPPED needs it
        mistaken = (
            case.statement.platform == PORTAL
            and LABELS.get(event["native_status"]) == standing["event_type"]
        )
        about = None if statement.about is None else statement.about.event_type
        if meaning is None or (standing["event_type"] not in {about, meaning} and not mistaken):
            continue
        stands = event["event_id"] == standing["source_event_id"]
        agrees = abs(event["occurred"] - standing["occurred"]) <= TOLERANCE_MS
        found[statement.platform, event["native_status"]] = Said(
            statement.platform, event["native_status"], event["occurred"], meaning, stands, agrees
        )
    return sorted(found.values(), key=lambda item: item.occurred_ms)


def _told(
    traffic: Traffic,
    bundle: Bundle,
    stories: dict[str, list[Record]],
    fault: str,
    teller: _Teller,
) -> Iterator[tuple[_Case, str]]:
    """Shipments of a kind, with their sentences, in the order of the world."""
    for sending in traffic.sendings:
        statement = sending.statement
        if statement.fault != fault or statement.about is None:
            continue
        number = str(statement.event["entity_id"]).strip().upper()
        shipment, story = traffic.world.shipment(number), stories.get(number, [])
        if shipment is None:
            continue
        revisions = _revisions(story, statement)
        if not revisions:
            continue
        case = _Case(shipment, statement, revisions, bundle)
        sentence = teller(case, story)
        if sentence is not None:
            yield case, sentence


def _revisions(story: list[Record], statement: Statement) -> list[Record]:
    """Revisions of the milestone that a statement is about, at its stop."""
    about = statement.about
    if about is None:
        return []
    of_type = [record for record in story if record["event_type"] == about.event_type]
    milestones = {record["milestone_id"] for record in of_type}
    return of_type if len(milestones) == 1 else []


def _too_early(case: _Case, story: list[Record]) -> str | None:
    """The portal and Europe's TMS say shipped at warehouse departure."""
    issued = [record for record in story if record["event_type"] == "goods.issued"]
    standing = case.standing
    if not issued or standing["platform"] != TMS_EU:
        return None
    return (
        f"When the goods left the warehouse at {_at(issued[-1]['occurred'])}, tms-eu said SHIPPED"
        f" and the portal told the customer so; the carrier had them only at"
        f" {_at(standing['occurred'])}. In Europe SHIPPED means left the warehouse, where wms-3pl"
        f" is the owner, and {case.label} is tms-eu's PICKED_UP: so that is what customers see."
    )


def _silence(case: _Case, _story: list[Record]) -> str | None:
    """A deputy stands in and is then corrected."""
    first, last = case.revisions[0], case.standing
    corrected = last["reason"] == Reason.OWNER_CORRECTED_DEPUTY
    if not corrected or first["assurance"] != Assurance.PROVISIONAL:
        return None
    return (
        f"{last['platform']} owns {case.label} there but kept silent, so"
        f" {first['platform']}'s {_at(first['occurred'])} was shown, marked provisional and not"
        f" booked; when {last['platform']} spoke, it said {_at(last['occurred'])}: revision"
        f" {last['revision']} corrects revision {first['revision']} and only that was booked."
    )


def _misread_clock(case: _Case, _story: list[Record]) -> str | None:
    """A carrier's local times taken for UTC."""
    standing, said = case.standing, case.statement
    followed = standing["event_type"] in {SHIPPED, DELIVERED}
    if not followed or said.platform not in standing["dissent"]:
        return None
    hours = round((said.event["occurred"] - standing["occurred"]) / 3_600_000)
    way = "after" if hours > 0 else "before"
    apart = f"{abs(hours)} hour{'' if abs(hours) == 1 else 's'}"
    return (
        f"{said.platform} sent {case.label} as {_at(said.event['occurred'])}, {apart} {way}"
        f" {standing['platform']}'s {_at(standing['occurred'])}: local times sent as UTC. Rule"
        f" {standing['rule']} makes {standing['platform']} the owner, so its time stands and the"
        f" carrier's is kept beside it as dissent."
    )


def _at(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).strftime("%a %H:%M UTC")


_KINDS: tuple[tuple[str, str, _Teller], ...] = (
    ("portal_shipped", "shipped too early", _too_early),
    ("stood_in_wrongly", "an owner's silence", _silence),
    ("local_time", "a clock misread", _misread_clock),
)
