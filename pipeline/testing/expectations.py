"""Compares what a scenario expects with what happened, difference by difference.

Expected values are texts; each is read as what the actual value is. Must never run anything.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from pipeline.contract import codec
from pipeline.testing.scenario_file import DeadLetterText, StoryText, Then, moment

Record = dict[str, Any]
TIMES: Final = frozenset(
    {"occurred", "recorded", "received", "previous_occurred", "updated", "deadline"}
)
"""Fields of decoded records that hold a time, ms UTC."""
_APPROVED_FIELDS: Final = frozenset(
    field["name"] for field in codec.definition("approved-milestone")["fields"]
)
_TRANSITION: Final = re.compile(r"(\w+)\s*(?:→|->)\s*(\w+)\s+(\w+)")


class Letter(NamedTuple):
    """A dead letter."""

    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]
    partition: int
    """Of the dead-letter topic."""


class Row(NamedTuple):
    """A decision of the ledger, and the claim it is about."""

    claim: str | None
    partition: int
    seq: int
    decision: Record


class Outcome(NamedTuple):
    """What happened."""

    start_ms: int
    new: list[str]
    """Claims whose decisions are compared."""
    rows: list[Row]
    transitions: list[tuple[int, Record]]
    """By partition."""
    approved: list[Record]
    letters: list[tuple[str, Letter]]
    """By claim."""
    sent: dict[str, tuple[bytes, bytes]]
    """Key and value of each claim's record."""
    stories: list[Record]
    alerts: list[Record]


def compare(then: Then, outcome: Outcome, *, only_story: bool = False) -> list[str]:
    """Every way in which the outcome is not the expected one."""
    problems = list(_stories(then.story, outcome))
    if only_story:
        others = (then.decided, then.later, then.approved, then.dead_letters, then.alerts)
        if any(others) or then.portal is not None or then.erp is not None:
            problems.append("in_any_order compares the story alone: remove the other expectations")
        return problems
    return [
        *_decisions(then.decided, outcome),
        *_transitions(then.later, outcome),
        *_approved(then.approved, outcome),
        *_letters(then.dead_letters, outcome),
        *_alerts(then.alerts, outcome),
        *problems,
    ]


def _decisions(expected: Mapping[str, str | list[str]], outcome: Outcome) -> Iterator[str]:
    """Each new claim's dispositions: one for its record, one more for each time it was re-keyed."""
    for name in outcome.new:
        found = [
            _decision_text(row.decision, outcome.start_ms)
            for row in outcome.rows
            if row.claim == name
        ]
        if name not in expected:
            yield f"decided: {name} is {', then '.join(found)}, and nothing is expected of it"
            continue
        wanted = expected[name]
        texts = [wanted] if isinstance(wanted, str) else wanted
        fits = len(texts) == len(found) and all(
            _fits_decision(text, row, outcome.start_ms)
            for text, row in zip(
                texts, (row for row in outcome.rows if row.claim == name), strict=True
            )
        )
        if not fits:
            yield f"decided: {name} is {', then '.join(found)}, expected {', then '.join(texts)}"
    for name in expected.keys() - set(outcome.new):
        yield f"decided: there is no claim {name} in `when`"


def _fits_decision(text: str, row: Row, start_ms: int) -> bool:
    decision = row.decision
    head, _, until = text.partition(" until ")
    if until and moment(until.strip()).ms(start_ms) != decision["deadline"]:
        return False
    words = head.split()
    return words == [decision["disposition"], decision["reason"]][: len(words)] and bool(words)


def _decision_text(decision: Record, start_ms: int) -> str:
    text = f"{decision['disposition']} {decision['reason']}"
    if decision["deadline"] is not None:
        text += f" until {_after(decision['deadline'], start_ms)}"
    return text


def _transitions(expected: list[dict[str, str]], outcome: Outcome) -> Iterator[str]:
    names = {(row.partition, row.seq): row.claim for row in outcome.rows}
    found = []
    for partition, row in outcome.transitions:
        cause = "clock" if row["cause"] == -1 else names.get((partition, row["cause"])) or "link"
        claim = names.get((partition, row["seq"])) or "?"
        move = claim, (row["before"], row["after"], row["reason"]), cause
        found.append((partition, move))
    wanted = []
    for item in expected:
        rest = dict(item)
        by = rest.pop("by", None)
        if len(rest) != 1:
            yield f"later: {item} should be one claim and what became of it"
            return
        [(claim, text)] = rest.items()
        parts = _TRANSITION.fullmatch(text.strip())
        if parts is None:
            yield f"later: {text!r} should read: before → after reason"
            return
        wanted.append((claim, parts.groups(), by))
    if _in_order(found, wanted, _fits_transition) is None:
        moves = [move for _, move in found]
        yield f"later: {_moves(moves)}; expected {_moves(wanted)}"


def _fits_transition(mine: Any, theirs: Any) -> bool:
    return bool(mine[:2] == theirs[:2] and theirs[2] in {None, mine[2]})


def _in_order(
    found: Iterable[tuple[int, Any]], wanted: Iterable[Any], fits: Callable[[Any, Any], bool]
) -> list[Any] | None:
    """What was found, in the order of what is wanted; None: it is something else.

    Each partition keeps its order; there is none between partitions.

    Args:
        found: each with its partition.
        wanted: in one of the orders in which it may come.
        fits: whether one that was found is one that is wanted.

    """
    queues: dict[int, deque[Any]] = {}
    for partition, item in found:
        queues.setdefault(partition, deque()).append(item)
    taken = []
    for item in wanted:
        queue = next((queue for queue in queues.values() if queue and fits(queue[0], item)), None)
        if queue is None:
            return None
        taken.append(queue.popleft())
    return None if any(queues.values()) else taken


def _moves(moves: list[Any]) -> str:
    texts = [
        f"{claim}: {what[0]} → {what[1]} {what[2]} (by {cause or 'anything'})"
        for claim, what, cause in moves
    ]
    return "; ".join(texts) or "nothing"


def _approved(expected: list[Record], outcome: Outcome) -> Iterator[str]:
    """Per entity complete and in order; of each record the named fields."""
    wanted: dict[str, list[Record]] = {}
    for item in expected:
        fields = dict(item)
        kind = next((k for k in ("shipment", "order", "stock") if k in fields), None)
        if kind is None:
            yield f"approved: {item} should name its shipment, order or stock"
            return
        entity = f"{kind} {fields.pop(kind)}"
        unknown = fields.keys() - _APPROVED_FIELDS - {"location"}
        if unknown:
            yield f"approved: an approved record has no field {', '.join(sorted(unknown))}"
            return
        wanted.setdefault(entity, []).append(fields)
    found: dict[str, list[Record]] = {}
    for record in outcome.approved:
        found.setdefault(f"{record['entity_type']} {record['entity_id']}", []).append(record)
    for entity in sorted(wanted.keys() | found.keys()):
        mine, theirs = found.get(entity, []), wanted.get(entity, [])
        if len(mine) != len(theirs):
            texts = [_record_text(record, outcome.start_ms) for record in mine]
            yield (
                f"approved: {entity} has {len(mine)} records, expected {len(theirs)}: "
                f"{'; '.join(texts) or 'none'}"
            )
            continue
        for number, (record, fields) in enumerate(zip(mine, theirs, strict=True), 1):
            for difference in differences(record, fields, outcome.start_ms):
                yield f"approved: {entity}, record {number}: {difference}"


def _record_text(record: Record, start_ms: int) -> str:
    return (
        f"{record['event_type']} r{record['revision']} {record['action']} {record['assurance']}"
        f" by {record['platform']} at {_after(record['occurred'], start_ms)} ({record['reason']})"
    )


def _letters(expected: list[DeadLetterText], outcome: Outcome) -> Iterator[str]:
    by_partition = [(letter.partition, (claim, letter)) for claim, letter in outcome.letters]
    found = _in_order(by_partition, expected, lambda mine, theirs: mine[0] == theirs.claim)
    if found is None:
        texts = [
            f"{claim} ({letter.headers['milepost.dlq.reason'].decode()}:"
            f" {letter.headers['milepost.dlq.detail'].decode()})"
            for claim, letter in outcome.letters
        ]
        wanted = ", ".join(item.claim for item in expected) or "none"
        yield f"dead_letters: {'; '.join(texts) or 'none'}; expected {wanted}"
        return
    for item, (claim, letter) in zip(expected, found, strict=True):
        if (letter.key, letter.value) != outcome.sent[claim]:
            yield f"dead_letters: {claim} is not byte for byte what came in"
        told = {"class": item.class_, "reason": item.reason, "stage": item.stage}
        told["retryable"] = item.retryable
        for name, text in told.items():
            actual = letter.headers[f"milepost.dlq.{name}"].decode()
            if text is not None and text != actual:
                yield f"dead_letters: {claim} has {name} {actual}, expected {text}"
        detail = letter.headers["milepost.dlq.detail"].decode()
        if item.detail is not None and item.detail not in detail:
            yield f"dead_letters: {claim} says {detail!r}, expected {item.detail!r} in it"


def _alerts(expected: list[str], outcome: Outcome) -> Iterator[str]:
    """Each alert by its kind and what it is about; once, however often it is told."""
    found: dict[str, str] = {}
    for record in outcome.alerts:
        about = record["entity"] or record["platform"] or ""
        subject = about.partition("/")[2].replace("/", " ") or about
        found[record["alert_id"]] = f"{record['kind']} {subject}".strip()
    if sorted(found.values()) != sorted(expected):
        wanted = "; ".join(expected) or "none"
        yield f"alerts: {'; '.join(found.values()) or 'none'}; expected {wanted}"


def _stories(expected: Mapping[str, StoryText], outcome: Outcome) -> Iterator[str]:
    newest = {f"{story['entity_type']} {story['entity_id']}": story for story in outcome.stories}
    for entity, wanted in expected.items():
        story = newest.get(entity)
        if story is None:
            yield f"story: {entity} has none; there are {', '.join(sorted(newest)) or 'none'}"
            continue
        plain: Record = wanted.model_dump(exclude_none=True, exclude={"milestones", "linked"})
        for difference in differences(story, plain, outcome.start_ms):
            yield f"story: {entity}: {difference}"
        if wanted.linked is not None:
            linked = {item["key"]: item["status"] for item in story["linked"]}
            if linked != wanted.linked:
                yield f"story: {entity}: linked is {linked}, expected {wanted.linked}"
        if wanted.milestones is not None:
            for problem in _milestones(story, wanted.milestones, outcome.start_ms):
                yield f"story: {entity}: {problem}"


def _milestones(story: Record, expected: Mapping[str, Record], start_ms: int) -> Iterator[str]:
    found: dict[str, list[Record]] = {}
    for item in story["milestones"]:
        name = " ".join(part for part in (item["event_type"], item["location"]) if part)
        found.setdefault(name, []).append(item)
    named = sorted(found)
    if named != sorted(expected):
        yield f"milestones are {', '.join(named)}; expected {', '.join(sorted(expected))}"
        return
    for name, fields in expected.items():
        for item in found[name]:
            for difference in differences(item, fields, start_ms):
                yield f"{name}: {difference}"


def differences(actual: Record, expected: Mapping[str, Any], start_ms: int) -> Iterator[str]:
    """In which of the expected fields a record is otherwise than the texts say."""
    for name, text in expected.items():
        if name == "location" and "stop" in actual:
            value = actual["stop"] and actual["stop"]["location"]
        elif name in actual:
            value = actual[name]
        else:
            yield f"there is no field {name}; there are {', '.join(sorted(actual))}"
            continue
        if not _equal(name, value, text, start_ms):
            shown = _after(value, start_ms) if name in TIMES and value is not None else value
            yield f"{name} is {shown}, expected {text}"


def _equal(name: str, value: Any, text: Any, start_ms: int) -> bool:
    if isinstance(text, Mapping):
        return isinstance(value, dict) and not list(differences(value, text, start_ms))
    if isinstance(text, list):
        return isinstance(value, list) and sorted(map(str, value)) == sorted(text)
    if value is None or text == "none":
        return value is None and text == "none"
    if name in TIMES:
        return bool(value == moment(text).ms(start_ms))
    if isinstance(value, bool):
        return bool(text == str(value).lower())
    if name == "amount":
        return bool(value == codec.scaled(text, codec.AMOUNT_SCALE))
    if name == "value":
        return bool(value == codec.scaled(text, codec.QUANTITY_SCALE))
    return bool(text == str(value))


def _after(at_ms: int, start_ms: int) -> str:
    """A time as files write it, relative to the start."""
    rest = abs(at_ms - start_ms) // 1000
    text = ""
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if rest >= seconds:
            text += f"{rest // seconds}{unit}"
            rest %= seconds
    return f"{'-' if at_ms < start_ms else '+'}{text or '0'}"
