"""What would become of these events: each taken through every step of a policy, offline.

Shows its work with the kernel's own functions and runs the real topology for the outcome. Must
never reach Kafka.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from pipeline.contract import names
from pipeline.contract.bundle import LoadedBundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.contract.policy_words import span_ms
from pipeline.governance.claims import Claim, Origin, RawEvent
from pipeline.governance.entity import Entity
from pipeline.governance.identity import REFERENCE, partition_of
from pipeline.governance.occurrence import place_of
from pipeline.governance.placement import Placed, RefusedError, locate
from pipeline.governance.policy import Platform, Policy
from pipeline.governance.reasons import MEANINGS, Reason
from pipeline.governance.standing import authority
from pipeline.testing.driver import TopologyDriver

Record = dict[str, Any]


class Explained(NamedTuple):
    """One event's way: what each step found, and its outcome."""

    event_id: str
    steps: list[tuple[str, str]]
    sources: dict[str, str]
    """By step: file and line of the policy that it follows."""
    disposition: str
    reason: str
    meaning: str
    published: list[Record]
    transitions: list[Record]

    def document(self) -> Record:
        """As one JSON value."""
        return {
            "event_id": self.event_id,
            "steps": dict(self.steps),
            "sources": self.sources,
            "disposition": self.disposition,
            "reason": self.reason,
            "meaning": self.meaning,
            "published": self.published,
            "transitions": self.transitions,
        }

    def text(self) -> str:
        """For a terminal."""
        lines = [f"{self.event_id}: {self.disposition} ({self.reason}): {self.meaning}."]
        lines += [f"  {step:<12} {found}" for step, found in self.steps]
        if self.sources:
            lines.append(f"  see          {', '.join(self.sources.values())}")
        for record in self.published:
            lines.append(
                f"  published    {record['action']} {record['event_type']}"
                f" r{record['revision']} {record['assurance']},"
                f" occurred {iso(record['occurred'])}, by {record['platform']};"
                f" {record['entity_type']} is now {record['status_after'] or 'without status'}"
            )
        lines += [
            f"  earlier      {row['claim']} of {row['platform']}:"
            f" {row['before']} → {row['after']} ({row['reason']})"
            for row in self.transitions
        ]
        return "\n".join(lines)


def explain(loaded: LoadedBundle, events: Sequence[Record]) -> list[Explained]:
    """Take events through the policy, each after the ones before it.

    Args:
        loaded: the policy, with the lines of its files.
        events: raw events as plain dictionaries, ms UTC.

    """
    policy = compile_policy(loaded.bundle)
    newest = max((event["occurred"] for event in events), default=0)
    driver = TopologyDriver([policy], start_ms=max(newest, _now(events)))
    return [_one(driver, policy, loaded, event) for event in events]


def iso(milliseconds: int) -> str:
    """A time for people: UTC, to the second."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _now(events: Sequence[Record]) -> int:
    return max((event["recorded"] or 0 for event in events), default=0)


def _one(driver: TopologyDriver, policy: Policy, loaded: LoadedBundle, event: Record) -> Explained:
    steps = _steps(driver, policy, loaded, event)
    platform = policy.platforms.get(event["platform"])
    topic = min(platform.topics) if platform else names.raw_topic(event["platform"])
    marks = {name: len(driver.records(name)) for name in (names.DECISIONS, names.APPROVED)}
    driver.pipe(topic, event)
    blocks = driver.records(names.DECISIONS)[marks[names.DECISIONS] :]
    rows = [row for block in blocks for row in block["decisions"]]
    row = next(
        (row for row in rows if row["claim"] == event["event_id"] or not row["claim"]), rows[0]
    )
    moved = [row for block in blocks for row in block["transitions"]]
    letters = driver.raw_records(names.DEAD_LETTER)
    if row["disposition"] == "dead_lettered" and letters:
        headers = dict(letters[-1].headers or [])
        steps.append(("refused", (headers["milepost.dlq.detail"] or b"").decode()))
    if row["deadline"] is not None:
        steps.append(("held until", iso(row["deadline"])))
    return Explained(
        event["event_id"],
        steps,
        _sources(loaded, event, dict(steps), row["event_type"]),
        row["disposition"],
        row["reason"],
        MEANINGS[Reason(row["reason"])].text,
        driver.records(names.APPROVED)[marks[names.APPROVED] :],
        moved,
    )


def _steps(
    driver: TopologyDriver, policy: Policy, loaded: LoadedBundle, event: Record
) -> list[tuple[str, str]]:
    platform = policy.platforms.get(event["platform"])
    if platform is None:
        return [("platform", f"{event['platform']} is not in bundle {policy.version}")]
    key = driver.key_of(event)
    steps = [("platform", f"{platform.name}, {platform.role}"), ("key", key)]
    entity = driver.states[partition_of(key.encode(), driver.partitions)].open(key)
    body = cast("RawEvent", event)
    origin = Origin(min(platform.topics), 0, 0, driver.now_ms)
    claim = Claim(body, origin, 0, b"", entity.name.tenant)
    placed = _placed(policy, entity, claim, platform)
    place = place_of(policy, platform, entity, body)
    where = (placed and placed.spoken.place) or place.canonical or "not known"
    steps.append(("place", f"{where}, role {place.role or 'not known'}"))
    meant = policy.resolve_status(
        platform,
        body["native_status"],
        body["native_reason"],
        body["native_qualifier"],
        place.role,
        body["classifier"],
    )
    said = f"{body['native_status']} in dialect {platform.dialect}"
    if meant.event_type is None:
        why = "depends on the stop's role" if meant.needs_role else "is not mapped"
        return [*steps, ("dialect", f"{said} {why}")]
    steps.append(("dialect", f"{said} means {meant.event_type}"))
    if placed is not None:
        region = placed.spoken.region or entity.region
        steps.append(("region", region or "stated nowhere"))
        steps.append(("authority", _authority(policy, loaded, entity, claim, placed)))
    return steps


def _sources(
    loaded: LoadedBundle, event: Record, steps: dict[str, str], event_type: str
) -> dict[str, str]:
    """Where the policy says so: file and line by step."""
    bundle = loaded.bundle
    rows: dict[str, tuple[str, str, list[str], str]] = {
        "platform": (
            "platforms.yaml",
            "platforms",
            [row.name for row in bundle.platforms],
            event["platform"],
        ),
        "place": (
            "sites.yaml",
            "sites",
            [row.id for row in bundle.sites],
            steps.get("place", "").partition(",")[0].partition("#")[0],
        ),
        "event type": (
            "catalogue.yaml",
            "event_types",
            [row.name for row in bundle.event_types],
            event_type,
        ),
    }
    found = {}
    for step, (file, section, names_there, name) in rows.items():
        if name in names_there:
            document = loaded.documents[file]
            line = document.line((section, names_there.index(name)))
            found[step] = f"{document.file}:{line}"
    platform = bundle.platform(event["platform"])
    if platform is not None:
        found |= _code(loaded, platform.dialect, event["native_status"])
    return found


def _code(loaded: LoadedBundle, dialect: str, status: str) -> dict[str, str]:
    """Where a dialect, or what it extends, maps a code."""
    files = {
        document.content["dialect"]: document
        for file, document in loaded.documents.items()
        if file.startswith("dialects/")
    }
    extends = {row.dialect: row.extends for row in loaded.bundle.dialects}
    at: str | None = dialect
    while at is not None and at in files:
        document = files[at]
        if ("codes", status) in document.lines:
            return {"dialect": f"{document.file}:{document.line(('codes', status))}"}
        at = extends[at]
    return {}


def _placed(policy: Policy, entity: Entity, claim: Claim, platform: Platform) -> Placed | None:
    """Where the kernel puts a claim; None: it waits, ends or is refused before that."""
    if entity.name.type == REFERENCE:
        return None
    try:
        found = locate(policy, entity, claim, platform, claim.origin.received)
    except RefusedError:
        return None
    return found if isinstance(found, Placed) else None


def _authority(
    policy: Policy, loaded: LoadedBundle, entity: Entity, claim: Claim, placed: Placed
) -> str:
    found = authority(policy, entity, placed.kind, claim, placed.spoken.region)
    if isinstance(found, Reason):
        return MEANINGS[found].text
    deputies = ", ".join(
        f"{name} after {span_ms(silence)}" for name, (_, silence) in found.deputies.items()
    )
    rules = [rule.rule for rule in loaded.bundle.rules]
    file = loaded.documents["ownership.yaml"]
    where = f"{file.file}:{file.line(('rules', rules.index(found.rule)))}"
    return f"rule {found.rule} ({where}): owner {found.owner}; deputies {deputies or 'none'}"
