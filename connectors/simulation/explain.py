"""One contested shipment of each kind of a run: what was said of it, by whom, and what was shown.

The sentences are in `tellers`. Must never invent: every time and name comes from a statement that
was sent, a record that was approved or a posting that was booked.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from connectors.simulation.before import LABELS
from connectors.simulation.hard_cases import pro_number
from connectors.simulation.shown import TOLERANCE_MS, Shown
from connectors.simulation.statement import Record, Statement
from connectors.simulation.tellers import KINDS, Case, Kind, Told, at
from connectors.simulation.traffic import Traffic
from connectors.simulation.world import TENANT, Shipment
from pipeline.contract.bundle import Bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.vocabulary import Action, Assurance, Classifier


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
    stood: str
    """What became of it if it stood for a while: corrected, taken back."""


class Contested(NamedTuple):
    """A shipment about which platforms disagreed, and why Milepost says what it says."""

    shipment: str
    about: str
    sentence: str
    before: str
    """What the old portal showed in the end."""
    after: str
    """What the governed one shows."""
    label: str
    """What customers call the milestone."""
    truth_ms: int
    """When it truly happened."""
    said: list[Said]


class _Evidence:
    """Everything that is known of a run, by shipment."""

    def __init__(
        self,
        traffic: Traffic,
        bundle: Bundle,
        approved: Iterable[Record],
        old: Shown,
        postings: Iterable[Mapping[str, Any]],
    ) -> None:
        self.bundle, self.old, self.world = bundle, old, traffic.world
        names: dict[str, Shipment] = {}
        for shipment in traffic.world.shipments:
            names[shipment.number] = names[shipment.order] = shipment
            names[pro_number(shipment)["value"]] = shipment
        self.said: dict[str, list[Statement]] = defaultdict(list)
        for sending in traffic.sendings:
            event = sending.statement.event
            name = event["entity_id"] or event["reference"]["value"]
            found = names.get(str(name).strip().upper().lstrip("0"))
            if found is not None:
                self.said[found.number].append(sending.statement)
        self.stories: dict[str, list[Record]] = defaultdict(list)
        for record in approved:
            if record["tenant"] == TENANT:
                self.stories[record["entity_id"]].append(record)
        self.postings: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for posting in postings:
            self.postings[posting["entity"]].append(posting)

    def cases(self, kind: Kind) -> Iterator[Case]:
        """Shipments of a kind, in the order of the world."""
        for shipment in self.world.shipments:
            for statement in filter(kind.chooses, self.said[shipment.number]):
                case = self._case(kind, shipment, statement)
                if case is not None:
                    yield case

    def _case(self, kind: Kind, shipment: Shipment, statement: Statement) -> Case | None:
        """What a statement is about, if that is a single milestone of the shipment."""
        about = statement.about
        event_type = kind.shows or (about.event_type if about is not None else "")
        story = self.stories[shipment.number]
        revisions = [record for record in story if record["event_type"] == event_type]
        if len({record["milestone_id"] for record in revisions}) != 1:
            return None
        old = self.old.milestones.get((shipment.number, event_type, ""))
        return Case(
            self.world,
            shipment,
            statement,
            self.said[shipment.number],
            revisions,
            [*self.stories[shipment.order], *story],
            self.postings[f"{TENANT}/shipment/{shipment.number}"],
            old[-1].occurred_ms if old else None,
            self.bundle,
        )


def contested(
    traffic: Traffic,
    bundle: Bundle,
    approved: Iterable[Record],
    old: Shown,
    postings: Iterable[Mapping[str, Any]],
) -> list[Contested]:
    """One shipment of each kind of contest that the run had.

    Args:
        traffic: what was sent.
        bundle: policy of the run.
        approved: decoded records of the approved topic, each partition in order.
        old: what the old portal showed.
        postings: the governed ERP's books.

    """
    evidence = _Evidence(traffic, bundle, approved, old, postings)
    found = []
    for kind in KINDS:
        told = next(_told(evidence, kind, kind.tells), None)
        if told is None and kind.otherwise is not None:
            told = next(_told(evidence, kind, kind.otherwise), None)
        if told is not None:
            found.append(told)
    return found


def _told(
    evidence: _Evidence, kind: Kind, tells: Callable[[Case], Told | None]
) -> Iterator[Contested]:
    """Shipments of a kind that can be told and that are shown otherwise than before."""
    for case in evidence.cases(kind):
        told = tells(case)
        if told is None:
            continue
        before, after = told.before or _before(case), told.after or _after(case)
        if before != after:
            yield _contested(case, kind, told.sentence, before, after)


def _contested(case: Case, kind: Kind, sentence: str, before: str, after: str) -> Contested:
    truth = case.shipment.truth(case.standing["event_type"])
    truth_ms = case.standing["occurred"] if truth is None else truth.at_ms
    said = _said(case)
    return Contested(
        case.shipment.number, kind.about, sentence, before, after, case.label, truth_ms, said
    )


def _before(case: Case) -> str:
    return f"no “{case.label}”" if case.old_ms is None else f"{case.label} {at(case.old_ms)}"


def _after(case: Case) -> str:
    standing = case.standing
    provisional = ", provisional" if standing["assurance"] == Assurance.PROVISIONAL else ""
    return f"{case.label} {at(standing['occurred'])}{provisional}"


def _said(case: Case) -> list[Said]:
    """Every platform's words on the milestone, and what became of them."""
    standing = case.standing
    policy = compile_policy(case.bundle)
    stood = _stood(case.revisions)
    found: dict[tuple[str, str, int], Said] = {}
    for statement in case.said:
        event = statement.event
        platform = policy.platforms.get(statement.platform)
        if platform is None or statement.spoiling or event["classifier"] != Classifier.ACTUAL:
            continue
        meant = policy.resolve_status(
            platform, event["native_status"], None, None, "PICKUP", event["classifier"]
        )
        if meant.event_type is None or meant.retracts or event["retracts"]:
            continue
        # What the old portal's one table for all takes for this milestone, and believes
        mistaken = (
            event["occurred"] == case.old_ms
            and LABELS.get(event["native_status"]) == standing["event_type"]
        )
        about = None if statement.about is None else statement.about.event_type
        if standing["event_type"] not in {about, meant.event_type} and not mistaken:
            continue
        minute = event["occurred"] // 60_000
        found[statement.platform, event["native_status"], minute] = Said(
            statement.platform,
            event["native_status"],
            event["occurred"],
            meant.event_type,
            event["event_id"] == standing["source_event_id"],
            abs(event["occurred"] - standing["occurred"]) <= TOLERANCE_MS,
            stood.get(event["event_id"], ""),
        )
    return sorted(found.values(), key=lambda item: item.occurred_ms)


def _stood(revisions: Sequence[Record]) -> dict[str, str]:
    """By event id: what became of statements that stood and stand no more."""
    became = {Action.CORRECT.value: "corrected", Action.RETRACT.value: "taken back"}
    return {
        earlier["source_event_id"]: became[later["action"]]
        for earlier, later in itertools.pairwise(revisions)
        if later["action"] in became
    }
