"""The outcome of a run: what was promised and whether it was kept, and the same facts before and
after.

Plain values made from what was followed. Must never read Kafka or print anything.
"""

from __future__ import annotations

import bisect
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from connectors.simulation.explain import Contested
from connectors.simulation.follow import Fate, Followed, Place, percentile
from connectors.simulation.publish import Sent
from connectors.simulation.shown import DELIVERED, Measures
from connectors.simulation.statement import Record
from connectors.simulation.traffic import MARKS
from connectors.simulation.world import World
from pipeline.contract.bundle import Bundle
from pipeline.governance.vocabulary import Action, Assurance, Cardinality

BOUNDS_MS: Final = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)


class Promise(NamedTuple):
    """Something that Milepost promises, and whether this run kept it."""

    name: str
    kept: bool
    detail: str


class FaultRow(NamedTuple):
    """A fault, how many statements it touched, and how many of them ended as they should."""

    name: str
    words: str
    statements: int
    as_expected: int
    ends: dict[str, int]


class Outcome(NamedTuple):
    """Everything that is told about a run."""

    seed: int
    events: int
    shipments: int
    samples: int
    """Approved milestones from the real sample files."""
    before: Measures
    after: Measures
    dispositions: list[tuple[str, str, int]]
    """Disposition, reason and number of raw records, as first judged, the most frequent first."""
    provisional: int
    """Milestones that a deputy stood in for while the owner kept silent."""
    taken_back: int
    """Milestones that their owner took back."""
    reversals: int
    """Postings of the ERP that were reversed under the original's key."""
    adjustments: int
    bound: int
    """Claims that knew only a reference and were sent on to what it names."""
    latency_ms: dict[str, int | None]
    latency_histogram: list[tuple[int, int]]
    """Upper bound in ms and number of approved records, from the bound before."""
    verify: dict[str, Any]
    erp: dict[str, Any]
    faults: list[FaultRow]
    contested: list[Contested]
    promises: list[Promise]
    fingerprint: str
    seconds: dict[str, float]

    @property
    def owners_errors(self) -> int:
        """Statements with which an owner erred and that it never corrected."""
        return sum(row.statements for row in self.faults if row.name == "owner_mistaken")

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return all(promise.kept for promise in self.promises)

    def document(self) -> Record:
        """As one JSON value."""
        return self._asdict() | {
            "kept": self.kept,
            "before": self.before._asdict(),
            "after": self.after._asdict(),
            "dispositions": [
                {"disposition": name, "reason": reason, "records": count}
                for name, reason, count in self.dispositions
            ],
            "faults": [row._asdict() for row in self.faults],
            "contested": [
                item._asdict() | {"said": [said._asdict() for said in item.said]}
                for item in self.contested
            ],
            "promises": [item._asdict() for item in self.promises],
        }


def dispositions(followed: Followed) -> list[tuple[str, str, int]]:
    """Raw records by disposition and reason, the most frequent first."""
    return [(*fate, count) for fate, count in followed.first.most_common()]


def latency(followed: Followed) -> dict[str, int | None]:
    """Milliseconds from the append of the raw record to that of the approved one."""
    ordered = followed.latencies_ms()
    return {
        "p50": percentile(ordered, 0.50),
        "p99": percentile(ordered, 0.99),
        "records": len(ordered),
    }


def latency_histogram(followed: Followed) -> list[tuple[int, int]]:
    """How many approved records took how long; the last bound is beyond all of them."""
    ordered = followed.latencies_ms()
    bounds = [*BOUNDS_MS, max(BOUNDS_MS[-1], *ordered[-1:], 0) + 1]
    passed = [bisect.bisect_left(ordered, bound) for bound in bounds]
    return [
        (bound, upto - before)
        for bound, before, upto in zip(bounds, [0, *passed], passed, strict=False)
    ]


def fault_rows(sent: Sequence[Sent], ends: Mapping[Place, Fate]) -> list[FaultRow]:
    """How the statements of each fault ended."""
    found: dict[str, Counter[Fate]] = defaultdict(Counter)
    for item in sent:
        fate = ends.get((item.position.topic, item.position.partition, item.position.offset))
        if item.sending.statement.fault and fate is not None:
            found[item.sending.statement.fault][fate] += 1
    rows = []
    for name, counted in sorted(found.items()):
        right = {(fate, str(reason)) for fate, reason in MARKS[name].meets}
        as_expected = sum(count for fate, count in counted.items() if fate in right)
        told = {": ".join(fate): count for fate, count in counted.most_common()}
        rows.append(FaultRow(name, MARKS[name].words, counted.total(), as_expected, told))
    return rows


def conservation(sent: Sequence[Sent], followed: Followed) -> Promise:
    """Every record that Kafka acknowledged has exactly one decision."""
    places = Counter(item.place for item in followed.judged.values())
    missing = sum(
        (item.position.topic, item.position.partition, item.position.offset) not in places
        for item in sent
    )
    twice = sum(count > 1 for count in places.values())
    detail = f"{len(sent):,} events sent, {missing} without a decision, {twice} with two"
    return Promise("Every event has exactly one disposition", not missing and not twice, detail)


def once(approved: Iterable[Record]) -> Promise:
    """Each revision of each milestone is there once, and none is left out."""
    revisions: dict[str, list[int]] = defaultdict(list)
    stories: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    count = 0
    for record in approved:
        count += 1
        revisions[record["milestone_id"]].append(record["revision"])
        entity = record["tenant"], record["entity_type"], record["entity_id"]
        stories[entity].append(record["entity_seq"])
    broken = sum(
        numbers != list(range(1, len(numbers) + 1))
        for numbers in (*revisions.values(), *stories.values())
    )
    detail = (
        f"{count:,} revisions of {len(revisions):,} milestones of {len(stories):,} orders and"
        f" shipments, {broken} repeated or out of order"
    )
    return Promise("Each approved revision appears once, in order", not broken, detail)


def booked_once(erp: Mapping[str, Any]) -> Promise:
    """The ERP booked no business effect twice."""
    doubles = erp["double_postings"] + erp["double_effects"]
    detail = f"{erp['postings']:,} postings, {doubles} of them double"
    return Promise("The ERP books each business effect once", not doubles, detail)


def books_agree(approved: Iterable[Record], postings: Iterable[Mapping[str, Any]]) -> Promise:
    """Whatever the ERP has booked of a delivery is what stands, after every correction."""
    standing = {
        record["milestone_id"]: record
        for record in approved
        if record["event_type"] == DELIVERED and record["assurance"] == Assurance.AUTHORITATIVE
    }
    live: dict[tuple[str, str], Mapping[str, Any]] = {}
    for posting in postings:
        place = posting["body"]["milestone_id"], posting["posting"]
        if posting["kind"] == "REVERSAL":
            live.pop(place, None)
        elif place[0] in standing:
            live[place] = posting
    wrong = sum(
        standing[milestone]["action"] == Action.RETRACT
        or _ms(posting["body"]["values"]["occurred"]) != standing[milestone]["occurred"]
        for (milestone, _), posting in live.items()
    )
    detail = f"{len(live):,} postings of deliveries, {wrong} of them not as the milestone stands"
    return Promise("What the ERP has booked is what stands", not wrong, detail)


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def verified(report: Mapping[str, Any]) -> Promise:
    """`milepost verify` finds nothing."""
    violations = len(report["violations"])
    detail = (
        f"{report['records']:,} input records in {report['blocks']:,} ledger blocks,"
        f" {violations} violations"
    )
    clean = bool(report["clean"]) and not report["pending"]
    return Promise("milepost verify is clean", clean, detail)


def fingerprint(world: World, bundle: Bundle, approved: Iterable[Record]) -> str:
    """One text for the final outcomes: the same seed gives the same, whenever it runs.

    Times count from the world's present. Streams (estimates, positions) are left out: what they
    passed through depends on who was read first.
    """
    streams = {row.name for row in bundle.event_types if row.cardinality is Cardinality.STREAM}
    last = {
        record["milestone_id"]: record for record in approved if record["event_type"] not in streams
    }
    lines = sorted(
        "|".join(
            (
                record["tenant"],
                record["entity_type"],
                record["entity_id"],
                record["event_type"],
                record["document"] or "",
                str(record["action"] != Action.RETRACT),
                record["assurance"],
                record["platform"],
                record["source_event_id"],
                str(record["occurred"] - world.now_ms),
            )
        )
        for record in last.values()
        if world.shipment(record["entity_id"]) or record["entity_type"] == "order"
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
