"""`milepost policy redecide`: the past decided again under the bundle in force; shown first.

Must never decide anything: the topology does, on copies for a preview, else in the governor.
"""

from __future__ import annotations

import difflib
import functools
import getpass
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from pipeline.cli.listing import iso, terminal_width, wrapped
from pipeline.cli.preview import (
    Choice,
    Foreseen,
    Preview,
    UnknownPolicyError,
    choose,
    revisions,
)
from pipeline.cli.restoring import restored
from pipeline.cli.surroundings import explained, inspected, surroundings
from pipeline.cli.terminal import FOUND, WRONG_USE, Json, document, fail
from pipeline.cli.times import since_ms
from pipeline.contract import names
from pipeline.contract.bundle import digest_of
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.policy import Policy
from pipeline.governance.vocabulary import Action, Assurance
from pipeline.kafka import bundles, clients
from pipeline.kafka.registry import Registry
from pipeline.operations import redecisions, steering
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.steering import Steered
from pipeline.operations.trail import meaning
from pipeline.settings import Settings
from pipeline.streams.state import PartitionState

Record = dict[str, Any]
_SHOWN = 50


def redecide(
    entity: Annotated[
        list[str] | None, typer.Option(help="Key or id of an order or shipment; repeatable.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Those that something came in for since: ISO 8601, or 7d.")
    ] = None,
    event_type: Annotated[
        list[str] | None, typer.Option(help="Those that have this event type; repeatable.")
    ] = None,
    rule: Annotated[
        str, typer.Option(help="Those that this rule of ownership is about, as now in force.")
    ] = "",
    by: Annotated[str | None, typer.Option(help="Who wants it; default: you.")] = None,
    why: Annotated[str, typer.Option(help="Reason, for the record.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Entities to show.")] = _SHOWN,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Every entity.")] = False,
    publish: Annotated[
        bool, typer.Option("--publish", help="Really do it; without it, only show it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Decide the past of entities again under the bundle in force; shows only, unless --publish.

    What would be published is worked out with the governor's own code on
    copies of its state. Only entities that would be decided otherwise are
    decided again; a second run finds nothing.
    """
    if not (entity or since or event_type or rule or everything):
        fail("Say which: --entity, --since, --event-type, --rule, or --all", WRONG_USE)
    if publish and not why.strip():
        fail("--why: say why the past is decided again, for the record", WRONG_USE)
    with explained(), inspected() as evidence:
        settings, where = surroundings()
        states = list(restored(evidence))
        policies = _policies(settings, where.bootstrap)
        choice = Choice(
            _keys(states, entity or ()),
            since_ms(since) if since else 0,
            _event_types(policies, states, event_type or ()),
            _rule(policies, states, rule),
        )
        chosen = choose(states, policies, choice)
        try:
            foreseen = Preview(states, policies).run(chosen)
        except UnknownPolicyError as error:
            fail(str(error), FOUND)
        done: list[Steered] = []
        approved = foreseen.approved
        if publish and foreseen.changed:
            done, approved = _publish(evidence, foreseen, by or getpass.getuser(), why)
        if as_json:
            document(_document(foreseen, approved, done, publish=publish))
        else:
            for line in _told(foreseen, approved, states, limit, publish=publish):
                typer.echo(line)
        if any(item.entry is None for item in done):
            fail(steering.NOT_SHOWN, FOUND)


def _policies(settings: Settings, bootstrap: str) -> dict[str, Policy]:
    """Published bundles, compiled as the governor does it."""
    found = {}
    for version, content in bundles.documents(settings, bootstrap).items():
        try:
            policy = compile_policy(bundles.read(content))
        except ValueError:
            continue  # One that is not in force does no harm; one that is, is told as missing
        found[version] = replace(policy, digest=digest_of(content))
    return found


def _publish(
    evidence: Evidence, foreseen: Foreseen, by: str, why: str
) -> tuple[list[Steered], list[Record]]:
    """Write the control records; what the ledger then says was published."""
    settings, where = surroundings()
    with Registry.of(settings, where.registry_url) as registry:
        schema_id = registry.id_for(names.subject(names.CONTROL), "control")
    ledger_start = steering.ends_of(evidence)
    approved_start = steering.ends_of(evidence, names.APPROVED)
    done = steering.steer(
        evidence,
        redecisions.controls(foreseen.changed, by, why),
        schema_id,
        functools.partial(clients.deliver, clients.producer(settings, where.bootstrap)),
    )
    return done, redecisions.published(evidence, done, ledger_start, approved_start)


def _keys(states: Sequence[PartitionState], asked: Sequence[str]) -> frozenset[str]:
    """Keys of the entities that are named, in full or by their id."""
    if not asked:
        return frozenset()
    known = [entity.key for state in states for entity in state.entities()]
    found: set[str] = set()
    for name in asked:
        tail = "/" + name.replace("%", "%25").replace("/", "%2F").casefold()
        alike = [
            key
            for key in known
            if key.casefold() == name.casefold() or key.casefold().endswith(tail)
        ]
        if not alike:
            ids = {key.rpartition("/")[2]: key for key in known} | {key: key for key in known}
            close = difflib.get_close_matches(name, ids, 1)
            hint = f"; did you mean {ids[close[0]]}?" if close else ""
            fail(f"--entity: nothing is known about {name!r}{hint}", FOUND)
        found.update(alike)
    return frozenset(found)


def _in_force(policies: Mapping[str, Policy], states: Sequence[PartitionState]) -> list[Policy]:
    versions = {state.policy_version for state in states}
    return [policy for version, policy in policies.items() if version in versions]


def _event_types(
    policies: Mapping[str, Policy], states: Sequence[PartitionState], asked: Sequence[str]
) -> frozenset[str]:
    known = {name for policy in _in_force(policies, states) for name in policy.catalogue}
    for name in asked:
        if name not in known:
            fail(f"--event-type: {name!r} is none of {', '.join(sorted(known))}", WRONG_USE)
    return frozenset(asked)


def _rule(policies: Mapping[str, Policy], states: Sequence[PartitionState], rule: str) -> str:
    known = {
        authority.rule
        for policy in _in_force(policies, states)
        for found in policy.ownership.values()
        for authority in found
    }
    if rule and rule not in known:
        fail(f"--rule: {rule!r} is none of {', '.join(sorted(known))}", WRONG_USE)
    return rule


def _document(
    foreseen: Foreseen, approved: Sequence[Record], done: Sequence[Steered], *, publish: bool
) -> Record:
    return {
        "dry_run": not publish,
        "examined": foreseen.examined,
        "entities": [key for keys in foreseen.changed.values() for key in keys],
        "claims": foreseen.moved,
        "actions": dict(Counter(record["action"] for record in approved)),
        "revisions": list(approved),
        "written": [item.document() for item in done],
    }


def _told(
    foreseen: Foreseen,
    approved: Sequence[Record],
    states: Sequence[PartitionState],
    limit: int,
    *,
    publish: bool,
) -> Iterator[str]:
    width = terminal_width() or 80
    versions = ", ".join(sorted({state.policy_version or "none" for state in states}))
    count = sum(map(len, foreseen.changed.values()))
    if not count:
        noun = "entity" if foreseen.examined == 1 else "entities"
        yield f"Under bundle {versions} nothing changes: {foreseen.examined} {noun} examined."
        return
    verb = "were decided" if publish else "would be decided"
    yield f"Under bundle {versions}, {count} of {foreseen.examined} entities {verb} otherwise."
    actions = Counter(record["action"] for record in approved)
    told = ", ".join(f"{number} {action}" for action, number in sorted(actions.items()))
    yield f"Published{'' if publish else ' would be'}: {told or 'nothing'}."
    stories = list(revisions(approved))
    for key, records in stories[:limit]:
        yield ""
        yield key
        for record in records:
            text = _revision(record, foreseen.spoke.get(record["milestone_id"], ""))
            first, *rest = wrapped(text, "    ", width)
            yield f"  {first.lstrip()}"
            yield from rest
    if len(stories) > limit:
        yield ""
        yield f"and {len(stories) - limit} more entities; --limit shows them."
    if not publish:
        yield ""
        yield "Nothing was published. Add --publish and --why to do it."


def _revision(record: Record, spoke: str) -> str:
    """One revision in words."""
    name = f"{record['action']} {record['event_type']} r{record['revision']}"
    stop = record["stop"]
    place = (stop or {}).get("location")
    name += f" at {place}" if place else ""
    if record["action"] == Action.RETRACT:
        said = spoke or record["platform"]
        return f"{name}: what {said} said does not stand; {_lower(record['reason'])}"
    word = "" if record["assurance"] == Assurance.AUTHORITATIVE else ", provisionally"
    now = f"{iso(record['occurred'])} by {record['platform']}{word}"
    rule = f" (rule {record['rule']})" if record["rule"] else ""
    if record["previous_occurred"] is None or record["action"] == Action.ASSERT:
        return f"{name}: {now}{rule}; {_lower(record['reason'])}"
    before = iso(record["previous_occurred"]) + (f" by {spoke}" if spoke else "")
    return f"{name}: {now}{rule}, instead of {before}"


def _lower(reason: str) -> str:
    text = meaning(reason)
    return text[:1].lower() + text[1:]
