"""An entity as plain lists: what state of versions 1 and 2 has, and the rare parts of today's.

Must never know bytes: whoever stores the lists encodes them.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any, Final, cast

from pipeline.governance.claims import Claim, Order, Origin, Raw, RawEvent, Stop, raw_event
from pipeline.governance.entity import (
    Bound,
    Entity,
    Held,
    Linked,
    Occurrence,
    Plan,
    PlannedStop,
    Spoken,
)
from pipeline.governance.occurrence import NO_STOP

STATE_VERSION: Final = 2
_CONTENT_PARTS: Final = 7
_FIELDS_OF_VERSION_1: Final = 19
_UNSAID: Final[tuple[Any, ...]] = (None, "UNRECOGNISED", [], {})
NOT_KEPT: Final = frozenset({"attributes", "account", "entity_type", "entity_id"})
"""Fields of a claim that nothing asks for once it is placed; a held one is still whole in `raw`."""


def load(key: str, plain: list[Any]) -> Entity:
    """The entity that version 1 or 2 wrote.

    Raises:
        ValueError: it was written by a newer Milepost.

    """
    version, *fields = plain
    if not 1 <= version <= STATE_VERSION:
        newest = STATE_VERSION
        raise ValueError(
            f"state of {key} has version {version}, this Milepost reads up to {newest}"
        )
    if len(fields) == _FIELDS_OF_VERSION_1:
        fields = _from_version_1(fields)
    entity = Entity(key)
    (
        entity.generation,
        entity.seq,
        entity.status,
        entity.rank,
        entity.received,
        entity.region,
        entity.link_region,
        entity.start,
        plans,
        entity.orders,
        entity.told,
        entity.told_status,
        linked,
        entity.link_seq,
        entity.references,
        entity.incomplete,
        occurrences,
        held,
        said,
        seen,
        *later,
    ) = fields
    entity.plans = [_load_plan(plan) for plan in plans]
    for source, (seq, status, ended, region, *told) in linked.items():
        item = entity.linked[source] = Linked(seq, status, ended=ended)
        item.region = region
        item.cancelled = told[0] if told else None
    for row in occurrences:
        occurrence = _load_occurrence(entity, row)
        if occurrence.revision:
            entity.said.add(occurrence.event_type)
        if occurrence.stands:
            entity.standing[occurrence.event_type] += 1
    entity.held = [_load_held(row) for row in held]
    entity.said.update(said)
    entity.seen = dict.fromkeys(seen)
    if later:
        entity.inherited, entity.split, entity.children, entity.cancels, entity.binds = later[:5]
        bound, bindings, entity.forgotten = later[5:]
        entity.bound = {key: (since, until) for key, (since, until) in bound.items()}
        entity.bindings = {key: Bound(*row) for key, row in bindings.items()}
    return entity


def dump_rare(entity: Entity) -> list[Any]:
    """What few entities have, as plain lists; `load_rare` gives it back."""
    return [
        entity.link_region,
        [_dump_plan(plan) for plan in entity.plans],
        {
            key: [item.seq, item.status, item.ended, item.region, item.cancelled]
            for key, item in entity.linked.items()
        },
        entity.references,
        entity.incomplete,
        [_dump_held(held) for held in entity.held],
        sorted(entity.said - {o.event_type for o in entity.occurrences.values() if o.revision}),
        entity.inherited,
        entity.split,
        entity.children,
        entity.cancels,
        entity.binds,
        entity.bound,
        {source: list(item) for source, item in entity.bindings.items()},
    ]


def load_rare(entity: Entity, plain: list[Any]) -> None:
    """Give an entity what `dump_rare` told of it."""
    entity.link_region, plans, linked, entity.references, entity.incomplete, held, said, *links = (
        plain
    )
    entity.plans = [_load_plan(plan) for plan in plans]
    for source, (seq, status, ended, region, cancelled) in linked.items():
        item = entity.linked[source] = Linked(seq, status, ended=ended)
        item.region, item.cancelled = region, cancelled
    entity.held = [_load_held(row) for row in held]
    entity.said.update(said)
    entity.inherited, entity.split, entity.children, entity.cancels, entity.binds = links[:5]
    entity.bound = {key: (since, until) for key, (since, until) in links[5].items()}
    entity.bindings = {key: Bound(*row) for key, row in links[6].items()}


def dump_field(name: str, value: Any) -> Any:
    """A list or record of a raw event as plain values that leave out what is not said."""
    if name == "stop":
        return _dump_stop(value)
    if name == "stops":
        return [_dump_stop(stop) for stop in value]
    return value


def load_field(name: str, plain: Any) -> Any:
    """What `dump_field` gave."""
    if name == "stop":
        return _load_stop(plain)
    if name == "stops":
        return [_load_stop(stop) for stop in plain]
    return plain


def load_content(plain: list[Any] | None) -> list[Any] | None:
    """What was said besides the time; early state didn't know yet that it could be shipments."""
    if plain is None:
        return None
    *parts, site = plain
    return [*parts, *[None] * (_CONTENT_PARTS - len(plain)), site]


def _dump_plan(plan: Plan) -> list[Any]:
    stops = [[_dump_stop(item.stop), item.place] for item in plan.stops]
    return [plan.occurred, plan.order, stops, plan.stands]


def _load_plan(plain: list[Any]) -> Plan:
    occurred, order, stops, stands = plain
    planned = tuple(PlannedStop(_load_stop(stop), at) for stop, at in stops)
    return Plan(occurred, _order(order), planned, stands)


def _from_version_1(fields: list[Any]) -> list[Any]:
    """What version 1 wrote, with what it did not know yet.

    Every plan it kept stood, nothing was noted as said and taken back, and no statement knew which
    ones it had replaced.
    """
    *rest, plans, orders, told, told_status, linked, link_seq = fields[:14]
    references, incomplete, occurrences, held, seen = fields[14:]
    plans = [[*plan, True] for plan in plans]
    occurrences = [
        [*row[:-1], [[*spoken[:12], [], *spoken[12:]] for spoken in row[-1]]] for row in occurrences
    ]
    names = [told, told_status, linked, link_seq, references, incomplete]
    return [*rest, plans, orders, *names, occurrences, held, [], seen]


def _load_occurrence(entity: Entity, row: list[Any]) -> Occurrence:
    occurrence = entity.occurrence(row[0], row[1])
    (
        occurrence.revision,
        occurrence.stands,
        occurrence.platform,
        occurrence.assurance,
        occurrence.action,
        occurrence.occurred,
        occurrence.precision,
        occurrence.published,
        content,
        occurrence.claim_seq,
        occurrence.claim_id,
        occurrence.seq,
        voices,
    ) = row[2:]
    occurrence.content = load_content(content)
    for plain in voices:
        spoken = _load_spoken(plain)
        occurrence.spoken.setdefault(spoken.claim.body["platform"], []).append(spoken)
    return occurrence


def _load_spoken(plain: list[Any]) -> Spoken:
    claim, subject, written, region, place, content, first, order, barrier, target, *rest = plain
    spoken = Spoken(_load_claim(claim), written, region, place)
    spoken.content = load_content(content)
    if subject is not None:
        spoken.subject = _body(subject)
    if first is not None:
        spoken.first_received = first
    if order is not None:
        spoken.order = _order(order)
    if barrier is not None:
        spoken.barrier = _order(barrier)
    spoken.target_order = None if target is None else _order(target)
    occurred, precision, *rest = rest
    if occurred is not None:
        spoken.occurred = occurred
    if precision is not None:
        spoken.precision = precision
    (
        spoken.replaces,
        spoken.restates,
        spoken.fate,
        spoken.reason,
        spoken.deadline,
        *more,
    ) = rest
    if more:
        restated, spoken.retracts = more
        spoken.restated = {event_id: _order(order) for event_id, order in restated.items()}
    return spoken


def _dump_held(held: Held) -> list[Any]:
    own = held.subject is held.claim.body
    subject = None if own else _said(held.subject)
    return [_dump_claim(held.claim), subject, held.reason, held.deadline]


def _load_held(plain: list[Any]) -> Held:
    row, subject, reason, deadline = plain
    claim = _load_claim(row)
    return Held(claim, claim.body if subject is None else _body(subject), reason, deadline)


def _said(body: Any) -> dict[str, Any]:
    said = {
        name: value for name, value in body.items() if value not in _UNSAID and name not in NOT_KEPT
    }
    if body["stop"] is not None:
        said["stop"] = _dump_stop(body["stop"])
    if body["stops"]:
        said["stops"] = [_dump_stop(stop) for stop in body["stops"]]
    return said


def _body(said: dict[str, Any]) -> RawEvent:
    """The raw event of which `_said` kept what it says."""
    body = raw_event(**said)
    if body["stop"] is not None:
        body["stop"] = _load_stop(body["stop"])
    body["stops"] = [_load_stop(stop) for stop in body["stops"]]
    return body


def _dump_stop(stop: Stop) -> dict[str, Any]:
    return {name: value for name, value in stop.items() if value is not None}


def _load_stop(said: Any) -> Stop:
    return cast("Stop", {**NO_STOP, **said})


def _dump_claim(claim: Claim) -> list[Any]:
    raw = claim.raw
    return [
        _said(claim.body),
        list(claim.origin),
        claim.seq,
        claim.digest.hex(),
        claim.tenant,
        claim.repaired_by,
        claim.hops,
        claim.clock_ahead,
        None
        if raw is None
        else [
            _text(raw.key),
            _text(raw.value),
            [[name, _text(value)] for name, value in raw.headers],
        ],
    ]


def _load_claim(plain: list[Any]) -> Claim:
    body, origin, seq, digest, tenant, repaired_by, hops, clock_ahead, raw = plain
    claim = Claim(
        _body(body),
        Origin(*origin),
        seq,
        bytes.fromhex(digest),
        tenant,
        repaired_by=repaired_by,
        hops=hops,
    )
    claim.clock_ahead = clock_ahead
    if raw is not None:
        key, value, headers = raw
        claim.raw = Raw(
            _bytes(key), _bytes(value), tuple((name, _bytes(item)) for name, item in headers)
        )
    return claim


def _order(plain: list[Any]) -> Order:
    return (plain[0], plain[1], plain[2], plain[3])


def _text(value: bytes | None) -> str | None:
    return None if value is None else b64encode(value).decode()


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else b64decode(value)
