"""What an approved revision means for the postings of its entity: pure, no clock, no I/O.

Like the kernel it compares what should be booked with what has been, and the difference is the next
posting: nothing, an original, an adjustment or a reversal. Must never know how entries are stored
or sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from connectors.sinks.entries import Book, Entry, Kind, Standing, State, Taken, Why
from connectors.sinks.postings import SPLIT, Posting, PostingRules, carried
from pipeline.governance.vocabulary import Action


class DecisionError(ValueError):
    """What a person decided about an entry can't be done; the message says why."""


class _Wanted(NamedTuple):
    """What should be booked of one milestone under one rule."""

    heading: dict[str, Any]
    values: dict[str, Any] | None
    held: str
    """Why a person has to release it; empty: nobody has to."""


class _Step(NamedTuple):
    """The difference between what is booked and what should be."""

    kind: Kind
    root: Entry | None
    previous: dict[str, Any] | None


def posting_key(milestone_id: str, revision: int, posting: str) -> str:
    """The Idempotency-Key of a posting: the same after every restart and replay."""
    return f"{milestone_id}:{revision}:{posting}"


def take(
    book: Book, record: Mapping[str, Any], rules: PostingRules, *, posts: bool = True
) -> Taken:
    """Apply one approved revision to the book of its entity.

    Args:
        book: changed in place; changed parts are marked.
        record: an approved milestone.
        rules: the posting rules.
        posts: False before the cut-over: it counts as a prerequisite and is taken for booked by
            other means.

    """
    known = book.standing.get(record["milestone_id"])
    revision = record["revision"]
    if known is not None and revision <= known.revision:
        return Taken.REPEATED
    if Action.UNRECOGNISED in (record["action"], record["assurance"]):
        if rules.of(record["event_type"]):
            words = (
                f"revision {revision} of {record['event_type']} has an action or assurance that"
                " this version does not know: upgrade the sink, book it by hand, withdraw this"
            )
            unreadable(book, record["event_id"], words, {"event_id": record["event_id"]})
        return Taken.UNRECOGNISED
    stands = record["action"] != Action.RETRACT
    if record["generation"] > book.generation:
        _begin_anew(book, record["generation"])
    _note_split(book, record, stands=stands)
    if rules.remembers(record["event_type"]):
        book.standing[record["milestone_id"]] = Standing(
            record["milestone_id"],
            record["event_type"],
            revision,
            stands,
            record["assurance"],
            record["classifier"],
            changed=True,
        )
    for rule in rules.of(record["event_type"]):
        if stands and record["assurance"] not in rule.assurances:
            continue  # what a deputy says neither books nor takes back what the owner said
        wanted = _wanted(rule, record, split=bool(book.split_by))
        _settle(book, rule, rules.endpoint_of(rule), wanted, posts=posts)
    review(book, rules)
    return Taken.APPLIED


def review(book: Book, rules: PostingRules) -> None:
    """Move entries between WAITING and PENDING as prerequisites come to stand or fall.

    One that a rule holds by then is parked instead.
    """
    for entry in book.entries:
        if entry.kind is not Kind.ORIGINAL or not entry.unsent or entry.reason is Why.RELEASED:
            continue
        rule = rules.named(entry.posting)
        missing = [] if rule is None else book.missing(rule.requires)
        if entry.state is State.WAITING and rule is None:
            if entry.reason is not Why.RULE_GONE:
                entry.reason = Why.RULE_GONE
                entry.words = f"no rule is named {entry.posting} any more: release or withdraw it"
                entry.changed = True
        elif entry.state is State.WAITING and not missing and rule and _splits(rule, book):
            entry.move(State.PARKED, Why.HELD_BY_RULE, _held_words([SPLIT]))
        elif entry.state is State.WAITING and not missing:
            entry.move(State.PENDING)
            entry.turn = book.next_turn()
        elif entry.state is State.PENDING and missing and (behind := _behind(book, entry)):
            _give_way(book, entry, behind, rules)  # what comes instead is looked at further on
        elif entry.state is State.PENDING and missing:
            entry.move(State.WAITING, Why.PREREQUISITE, _waits_for(missing))
            entry.turn = None


def _begin_anew(book: Book, generation: int) -> None:
    """Forget what stood under the same id before: it is another story.

    What that one still waited for will never come, and must not be taken from this one.
    """
    book.generation, book.split_by, book.begun = generation, frozenset(), True
    for item in book.standing.values():
        if item.stands:
            item.stands, item.changed = False, True
    for entry in book.entries:
        if entry.state is State.WAITING:
            words = f"the story it belongs to has ended, and it {entry.words}: release or withdraw"
            entry.move(State.PARKED, Why.STORY_ENDED, words)


def _note_split(book: Book, record: Mapping[str, Any], *, stands: bool) -> None:
    milestone_id = record["milestone_id"]
    splits = stands and bool(record["shipments"])
    if splits != (milestone_id in book.split_by):
        book.split_by ^= {milestone_id}
        book.begun = True


def refuse(book: Book, entry: Entry, rules: PostingRules, reason: Why, words: str) -> None:
    """Park an entry that the ERP does not take.

    Where nothing was booked and a later revision already waits behind it, that one takes its place
    instead, so that a correction heals what was wrong.
    """
    entry.move(State.PARKED, reason, words)
    behind = _behind(book, entry)
    if behind and not entry.maybe_booked:
        _give_way(book, entry, behind, rules)


def release(book: Book, entry: Entry) -> None:
    """Book an entry that waits or is parked all the same, on a person's word.

    Raises:
        DecisionError: it is not waiting for anybody, or is no posting.

    """
    if entry.state not in (State.WAITING, State.PARKED):
        raise DecisionError(f"{entry.key} is {entry.state}: only WAITING or PARKED can be released")
    if entry.kind is Kind.UNREADABLE:
        raise DecisionError(f"{entry.key} can't be booked: {entry.words}")
    entry.move(State.PENDING, Why.RELEASED, "released by hand")
    if entry.turn is None:
        entry.turn = book.next_turn()


def withdraw(book: Book, entry: Entry, rules: PostingRules, words: str, *, booked: bool) -> None:
    """Take an entry that waits or is parked out of the way, on a person's word.

    Args:
        book: of its entity.
        entry: what to withdraw.
        rules: the posting rules.
        words: why.
        booked: the ERP has it by other means; later corrections of it then wait for a person.

    Raises:
        DecisionError: it is neither waiting nor parked.

    """
    if entry.state not in (State.WAITING, State.PARKED):
        raise DecisionError(
            f"{entry.key} is {entry.state}: only WAITING or PARKED can be withdrawn"
        )
    behind = _behind(book, entry)
    if not booked or entry.kind is Kind.UNREADABLE:
        entry.move(State.WITHDRAWN, Why.BY_HAND, words)
        _replace(book, behind, rules)
        return
    entry.move(State.ELSEWHERE, Why.BY_HAND, words)
    root = _original(book.trail(entry.milestone_id, entry.posting))
    for later in behind:
        if root is entry and later.state is State.PENDING:
            later.move(State.PARKED, Why.BOOKED_ELSEWHERE, _booked_elsewhere(root))


def unreadable(book: Book, key: str, words: str, raw: Mapping[str, Any]) -> None:
    """Park a record that can't be understood; it keeps later postings of its entity waiting."""
    if any(entry.key == key for entry in book.entries):
        return
    entry = Entry(key, book.partition, "", 0, "", "", Kind.UNREADABLE, dict(raw))
    entry.turn = book.next_turn()
    entry.move(State.PARKED, Why.UNREADABLE, words)
    book.entries.append(entry)


def _wanted(rule: Posting, record: Mapping[str, Any], *, split: bool) -> _Wanted:
    stands = record["action"] != Action.RETRACT and record["classifier"] in rule.classifiers
    marks = [*record["flags"], *([SPLIT] if split else [])]
    held = [name for name in rule.holds_on if name in marks]
    heading = {
        "tenant": record["tenant"],
        "entity_type": record["entity_type"],
        "entity_id": record["entity_id"],
        "event_type": record["event_type"],
        "milestone_id": record["milestone_id"],
        "revision": record["revision"],
        "entity_seq": record["entity_seq"],
    }
    values = carried(rule, record) if stands else None
    return _Wanted(heading, values, _held_words(held) if held else "")


def _splits(rule: Posting, book: Book) -> bool:
    """Whether the rule holds what it would book of a shipment that is split."""
    return SPLIT in rule.holds_on and bool(book.split_by)


def _held_words(names: Iterable[str]) -> str:
    told = [
        "its shipment was split into others, which are booked themselves"
        if name == SPLIT
        else f"the milestone is flagged {name}"
        for name in names
    ]
    return f"{', and '.join(told)}: release it to book it all the same"


def _settle(book: Book, rule: Posting, endpoint: str, wanted: _Wanted, *, posts: bool) -> None:
    milestone_id, revision = wanted.heading["milestone_id"], wanted.heading["revision"]
    trail = book.trail(milestone_id, rule.posting)
    if trail and _says(trail[-1], wanted, rule):
        return
    while trail and (trail[-1].unsent or (trail[-1].state is State.ELSEWHERE and not posts)):
        words = f"superseded by revision {revision}"
        trail.pop().move(State.WITHDRAWN, Why.SUPERSEDED, words)
    step = _difference(trail, wanted.values, rule)
    if step is None:
        return
    entry = Entry(
        key=posting_key(milestone_id, revision, rule.posting),
        partition=book.partition,
        milestone_id=milestone_id,
        revision=revision,
        posting=rule.posting,
        endpoint=endpoint,
        kind=step.kind,
        reference=None if step.root is None else step.root.key,
        body={},
    )
    heading = {"key": entry.key, "posting": rule.posting, **wanted.heading}
    entry.body = _body(heading, step, wanted.values)
    _place(book, rule, entry, step.root, wanted.held, posts=posts)
    book.entries.append(entry)


def _place(
    book: Book, rule: Posting, entry: Entry, root: Entry | None, held: str, *, posts: bool
) -> None:
    """Give a new entry its first state."""
    if not posts:
        entry.move(State.ELSEWHERE)
    elif root is not None and root.state is State.ELSEWHERE:
        entry.move(State.PARKED, Why.BOOKED_ELSEWHERE, _booked_elsewhere(root))
    elif held and entry.kind is not Kind.REVERSAL:
        entry.move(State.PARKED, Why.HELD_BY_RULE, held)
    elif entry.kind is Kind.ORIGINAL and (missing := book.missing(rule.requires)):
        entry.move(State.WAITING, Why.PREREQUISITE, _waits_for(missing))
    else:
        entry.move(State.PENDING)
        entry.turn = book.next_turn()


def _says(last: Entry, wanted: _Wanted, rule: Posting) -> bool:
    """Whether the last entry of a trail already says what is wanted."""
    if wanted.values is None or last.kind is Kind.REVERSAL:
        return wanted.values is None and last.kind is Kind.REVERSAL
    waits_for_release = last.reason is Why.HELD_BY_RULE
    if last.unsent and waits_for_release != bool(wanted.held) and last.reason is not Why.RELEASED:
        return False
    return rule.same(last.body["values"], wanted.values)


def _difference(
    trail: list[Entry], values: Mapping[str, Any] | None, rule: Posting | None
) -> _Step | None:
    """The posting that leads from what a trail booked to the values that should stand."""
    live = trail[-1] if trail and trail[-1].kind is not Kind.REVERSAL else None
    if live is None:
        return None if values is None else _Step(Kind.ORIGINAL, None, None)
    root = _original(trail)
    booked = live.body["values"]
    if values is None:
        return _Step(Kind.REVERSAL, root, booked)
    same = booked == values if rule is None else rule.same(booked, values)
    return None if same else _Step(Kind.ADJUSTMENT, root, booked)


def _original(trail: list[Entry]) -> Entry | None:
    return next((entry for entry in reversed(trail) if entry.kind is Kind.ORIGINAL), None)


def _behind(book: Book, entry: Entry) -> list[Entry]:
    if entry.kind is Kind.UNREADABLE:
        return []
    trail = book.trail(entry.milestone_id, entry.posting)
    return trail[trail.index(entry) + 1 :]


def _give_way(book: Book, entry: Entry, behind: list[Entry], rules: PostingRules) -> None:
    """Let the last of those behind an entry take its place; nothing of it was booked."""
    entry.move(State.WITHDRAWN, Why.SUPERSEDED, f"superseded by {behind[-1].key}")
    _replace(book, behind, rules)


def _replace(book: Book, behind: list[Entry], rules: PostingRules) -> None:
    """Let the last of some entries stand for all of them, now that what they built on is gone."""
    if not behind:
        return
    *stale, last = behind
    for entry in stale:
        entry.move(State.WITHDRAWN, Why.SUPERSEDED, f"superseded by {last.key}")
    base = [entry for entry in book.trail(last.milestone_id, last.posting) if entry is not last]
    values = None if last.kind is Kind.REVERSAL else last.body["values"]
    step = _difference(base, values, rules.named(last.posting))
    if step is None:
        last.move(State.WITHDRAWN, Why.SUPERSEDED, "nothing is left to book")
        return
    last.kind = step.kind
    last.reference = None if step.root is None else step.root.key
    last.body = _body(last.body, step, values)
    last.changed = True


def _body(
    heading: Mapping[str, Any], step: _Step, values: Mapping[str, Any] | None
) -> dict[str, Any]:
    return {
        **heading,
        "kind": step.kind.value,
        "reference": None if step.root is None else step.root.key,
        "values": values,
        "previous": step.previous,
    }


def _booked_elsewhere(root: Entry) -> str:
    return (
        f"its original was booked by other means, not as {root.key}: change it by hand in the ERP"
        " and withdraw this, or release it if the ERP knows that key"
    )


def _waits_for(missing: list[str]) -> str:
    return "waits until " + " and ".join(missing) + " stands by its owner's word"
