"""What a person of the operations desk states, as a raw event of the desk's own platform.

It is judged like any other: by default the desk is a deputy, the last one. Must never decide
whether a person may state something: the policy does.
"""

from __future__ import annotations

import difflib
from typing import Any, Final, NamedTuple

from pipeline.contract import names
from pipeline.contract.bundle import Bundle, PlatformModel
from pipeline.contract.policy_lint_rules import meanings
from pipeline.governance.claims import raw_event
from pipeline.governance.identity import Key, parse_key
from pipeline.governance.policy import IGNORED
from pipeline.governance.reasons import Reason
from pipeline.governance.vocabulary import (
    Cardinality,
    Change,
    Classifier,
    Disposition,
    EntityType,
    Precision,
    Role,
)
from pipeline.operations import trail
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.trail import Entry

Record = dict[str, Any]
RETRACTION = "-"
"""Native status of a record that says nothing but which event it takes back."""
_NUMBER_DIGITS_MAX = 3
_RETRACTIONS: Final = frozenset({Reason.RETRACTED_BY_AUTHOR, Reason.AWAITING_TARGET})


class UnstatableError(ValueError):
    """It can't be stated in this way; the message says how."""


class Said(NamedTuple):
    """What a person says."""

    key: str
    """The entity: tenant/type/id, type/id, or a shipment's id."""
    event_type: str
    retracts: str
    """Event id of a statement of the desk's that is taken back; empty: something is stated."""
    occurred_ms: int
    precision: Precision
    offset_minutes: int | None
    stop: str
    """Site code, or the stop's number; empty: not said."""
    document: str
    estimate: bool
    by: str
    why: str


def statement(bundle: Bundle, said: Said, event_id: str, now_ms: int, name: str = "") -> Record:
    """The raw event.

    Args:
        bundle: in force.
        said: what the person says.
        event_id: of this statement.
        now_ms: when it is recorded, ms UTC.
        name: platform in whose name; empty: the one desk that serves the tenant.

    Raises:
        UnstatableError: no desk speaks for that tenant, or it has no word for the event type.

    """
    key = entity_of(said.key)
    platform = _platform(bundle, key, name)
    status = RETRACTION if said.retracts else _status(bundle, platform, said.event_type)
    if not said.by.strip() or not said.why.strip():
        raise UnstatableError("say who states it and why: --by and --why")
    number = said.stop.isdecimal() and len(said.stop) <= _NUMBER_DIGITS_MAX
    stop = None
    if said.stop:
        empty = dict.fromkeys(("number", "role", "location", "name", "city", "subdivision"))
        stop = {**empty, "country": None}
        stop["number" if number else "location"] = int(said.stop) if number else said.stop
    account = next((code for code, owner in platform.accounts.items() if owner == key.tenant), None)
    return dict(
        raw_event(
            event_id=event_id,
            platform=platform.name,
            account=account,
            entity_type=key.type,
            entity_id=key.id,
            native_status=status,
            classifier=(Classifier.ESTIMATED if said.estimate else Classifier.ACTUAL).value,
            occurred=said.occurred_ms,
            occurred_precision=said.precision.value,
            occurred_offset_minutes=said.offset_minutes,
            recorded=now_ms,
            stop=stop,
            document=said.document or _document(bundle, said.event_type, event_id),
            retracts=said.retracts or None,
            stated_by=said.by.strip(),
            remark=said.why.strip(),
        )
    )


def entity_of(text: str) -> Key:
    """The entity that a person names; a tenant that is left out is empty.

    Raises:
        UnstatableError: it names none.

    """
    kinds = [kind.value for kind in EntityType]
    parts = text.count("/")
    try:
        if parts == 2:
            key = parse_key(text)
        elif parts == 1:
            key = parse_key(f"-/{text}")._replace(tenant="")
        else:
            key = parse_key(f"-/{EntityType.SHIPMENT}/{text}")._replace(tenant="")
    except ValueError:
        raise UnstatableError(f"{text!r} is no entity: {_FORMS}") from None
    if key.type not in kinds:
        raise UnstatableError(f"{key.type!r} is none of {', '.join(kinds)}: {_FORMS}")
    return key


_FORMS = "give acme/shipment/S-1001, order/80001234, or a shipment's id"


class Known(NamedTuple):
    """What the topics tell of an entity that a person names."""

    told: bool
    """Whether anything stands of it, or has stood."""
    stops: list[str]
    """The standing plan's: number, place and role."""
    close: list[str]
    """Keys that look like its own, if nothing was told of it."""


def known(evidence: Evidence, key: str) -> Known:
    """What is known of an entity.

    Raises:
        UnreachableError: Kafka or the registry is away.

    """
    found: bytes | None = None
    kin, others = key.rpartition("/")[0], set()
    for number in evidence.partitions(names.ENTITY_STATUS):
        span = evidence.span(names.ENTITY_STATUS, number)
        for record in evidence.records(names.ENTITY_STATUS, number, span):
            named = (record.key or b"").decode("utf-8", "replace")
            if named == key:
                found = record.value
            elif named.rpartition("/")[0] == kin:
                others.add(named)
    status = None if found is None else evidence.decode(found, "entity-status")
    if status is None or not status["milestones"]:
        return Known(False, [], difflib.get_close_matches(key, others, trail.CLOSE_MAX, 0.9))
    stops = []
    for stop in status["stops"]:
        parts = (stop["number"], stop["location"] or stop["city"] or stop["name"])
        told = " ".join(str(part) for part in parts if part)
        stops.append(f"{told} ({stop['role']})" if stop["role"] else told)
    return Known(True, stops, [])


def not_to_be_taken_back(evidence: Evidence, retraction: Record, key: str) -> str:
    """Why a retraction would take nothing back, as far as the ledger tells; empty: it may.

    Args:
        evidence: the topics.
        retraction: the raw event.
        key: of the entity it names.

    Raises:
        UnreachableError: Kafka or the registry is away.

    """
    name, event_id = retraction["platform"], retraction["retracts"]

    def wanted(entry: Entry) -> bool:
        row = entry.verdict
        return row["platform"] == name and bool({row["claim"], row["entity"]} & {event_id, key})

    holding = [event_id.encode().lower(), key.encode().lower()]
    entries = trail.entries(evidence, wanted, holding=holding)
    said = [entry for entry in entries if entry.verdict["claim"] == event_id]
    if not said:
        own = [entry for entry in entries if entry.reason not in _RETRACTIONS]
        told = ", ".join(f"{item.verdict['claim']} ({item.event_type})" for item in own)
        about = f"of {key} it has said {told}" if own else f"it has said nothing of {key}"
        return f"{name} has made no statement {event_id}: {about}"
    entry = said[-1]
    about = entry.verdict["entity"]
    if entry.fate == Disposition.DEAD_LETTERED:
        why = trail.meaning(entry.reason)
        return f"{event_id} was refused ({entry.reason}: {why}), so it never stood"
    if about not in {"", key}:
        return f"{event_id} is about {about}, not about {key}"
    if entry.fate == Change.RETRACTED:
        return f"{event_id} has been taken back already"
    if entry.reason in _RETRACTIONS:
        return f"{event_id} took something back itself: state again what was taken back in error"
    return ""


def _platform(bundle: Bundle, key: Key, name: str) -> PlatformModel:
    desks = [row for row in bundle.platforms if row.role is Role.OPS_DESK]
    if name:
        desks = [row for row in desks if row.name == name]
    fit = [
        row for row in desks if not key.tenant or key.tenant in {row.tenant, *row.accounts.values()}
    ]
    if len(fit) == 1:
        return fit[0]
    if not fit:
        whose = f" for tenant {key.tenant}" if key.tenant else ""
        raise UnstatableError(
            f"no platform of role {Role.OPS_DESK}{f' named {name}' if name else ''} speaks{whose}:"
            f" add one to platforms.yaml, see `milepost policy check`"
        )
    names = ", ".join(row.name for row in fit)
    raise UnstatableError(f"several desks could state it ({names}): give --platform")


def _status(bundle: Bundle, platform: PlatformModel, event_type: str) -> str:
    """The desk's word for an event type; a word of its own is taken as it is."""
    dialects = {row.dialect: row for row in bundle.dialects}
    at: str | None = platform.dialect
    words: dict[str, str] = {}
    while at in dialects:
        for status, meaning in dialects[at].codes.items():
            if status not in words and meaning != IGNORED:
                words[status] = meaning if isinstance(meaning, str) else meaning[0].event_type
        at = dialects[at].extends
    if event_type in words:
        return event_type
    for status, meant in words.items():
        if meant == event_type:
            return status
    if event_type in {row.name for row in bundle.event_types}:
        known = ", ".join(sorted(meanings(bundle)[platform.dialect] - {IGNORED}))
        why = f"{platform.name} has no word for {event_type}"
        raise UnstatableError(f"{why}: map one in dialects/{platform.dialect}.yaml; it has {known}")
    raise UnstatableError(f"{event_type!r} is none of {', '.join(sorted(words))}")


def _document(bundle: Bundle, event_type: str, event_id: str) -> str | None:
    """A statement that needs a document is one of its own."""
    for row in bundle.event_types:
        if row.name == event_type and row.cardinality is Cardinality.DOCUMENT:
            return event_id
    return None
