"""What a person of the operations desk is told: how a statement or a retraction was judged.

Must never judge it, nor read a topic.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from pipeline.cli.listing import iso
from pipeline.contract.bundle import Bundle
from pipeline.governance.identity import parse_key
from pipeline.governance.reasons import Reason
from pipeline.governance.vocabulary import Disposition, EntityType
from pipeline.operations import remedies
from pipeline.operations.ops_desk import Known
from pipeline.operations.trail import Entry

_D, _R = Disposition, Reason
_FINAL: Final = frozenset({_D.DEAD_LETTERED, _D.STALE, _D.IGNORED})
"""What became of a statement that leaves nothing to take back."""
_AGAIN: Final[dict[str, str]] = {
    _R.OCCURRED_IN_FUTURE: "State it again with the time at which it happened (--at), or with"
    " --estimate if it is only expected.",
    _R.IMPLAUSIBLE_TIME: "State it again with the time at which it happened: --at.",
}
_UNPLACED: Final[dict[str, tuple[str, str]]] = {
    _R.REGION_UNRESOLVED: (
        "where it happened",
        "A tender with stops ends the wait, or this stated again with a site's code: --stop.",
    ),
    _R.STOP_UNRESOLVED: (
        "which stop is meant",
        "A tender that has the stop ends the wait, or this stated again with the right --stop.",
    ),
}
_TAKEN_BACK: Final[dict[tuple[str, str], str]] = {
    (_D.APPROVED, _R.RETRACTED_BY_AUTHOR): "What it takes back stands no more",
    (_D.STALE, _R.RETRACTED_BY_AUTHOR): "What it takes back did not stand, and will not: nothing"
    " else changes",
    (_D.STALE, _R.OLDER_THAN_CURRENT): "The desk has said something newer since, which counts:"
    " take that back",
    (_D.DUPLICATE, _R.RESTATED): "It was taken back already",
    (_D.CORROBORATED, _R.AGREES_WITH_OWNER): "The owner has taken it back too",
    (_D.OVERRULED, _R.OWNER_RETRACTED): "What it takes back did not stand: the owner had taken it"
    " back",
    (_D.HELD, _R.REGION_UNRESOLVED): "What it takes back waits itself: both are decided together",
    (_D.HELD, _R.STOP_UNRESOLVED): "What it takes back waits itself: both are decided together",
}
"""What a retraction did, by how it was judged; its reason speaks of a statement."""


class Answer(NamedTuple):
    """What a person is told of a statement that was judged."""

    meaning: str
    """What became of it."""
    notes: list[str]
    """Sentences on what it waits for, and what the person may do."""
    refused: bool
    """Whether it was not taken at all."""
    can_be_taken_back: bool


def answer(
    entry: Entry, bundle: Bundle, known: Known | None, detail: str, *, retracts: bool
) -> Answer:
    """What a person is told.

    Args:
        entry: how it was judged.
        bundle: in force.
        known: what is known of the entity; None: nobody asked.
        detail: of its dead letter; empty: there is none.
        retracts: whether it takes something back.

    """
    fate, reason = entry.fate, entry.reason
    meaning = _TAKEN_BACK.get((fate, reason)) if retracts else None
    if retracts and meaning is None and fate == _D.OVERRULED:
        meaning = "What it takes back did not stand: nothing changes"
    notes = []
    if fate == _D.DEAD_LETTERED:
        notes += [f"It was refused: {detail}."] if detail else []
        notes.append(_AGAIN.get(reason) or _todo(reason))
    elif fate == _D.HELD:
        notes += [] if retracts else _waits(entry, reason, bundle)
        notes += [] if known is None else _known(entry.verdict["entity"], known, reason)
    return Answer(
        meaning or entry.meaning,
        notes,
        fate == _D.DEAD_LETTERED,
        not retracts and fate not in _FINAL,
    )


def _waits(entry: Entry, reason: str, bundle: Bundle) -> Iterator[str]:
    until = iso(entry.verdict["deadline"])
    if reason in _UNPLACED:
        what, end = _UNPLACED[reason]
        yield f"It waits until it is known {what}; after {until} it is refused."
        yield end
    elif reason == _R.AWAITING_OWNER:
        rule = next((row for row in bundle.rules if row.rule == entry.verdict["rule"]), None)
        owner = "the owner" if rule is None else f"the owner, {rule.owner},"
        yield f"It waits for {owner} until {until}; then it stands, provisionally."
        yield "The owner's own word ends the wait, and counts instead."
    elif reason == _R.AWAITING_PREDECESSOR:
        kind = next((row for row in bundle.event_types if row.name == entry.event_type), None)
        before = "what comes first" if kind is None else " and ".join(kind.predecessors)
        yield f"It waits until {before} has stood; after {until} it is refused."
    else:
        yield f"It waits until {until}. {_todo(reason)}"


def _todo(reason: str) -> str:
    """What to do about a reason; of one of a newer Milepost nothing is known."""
    return f"{remedies.remedy(Reason(reason)).todo}." if reason in set(Reason) else ""


_FIRST: Final = {
    EntityType.SHIPMENT.value: "nobody has tendered such a shipment",
    EntityType.ORDER.value: "nobody has released such an order",
}


def _known(key: str, known: Known, reason: str) -> Iterator[str]:
    """What is known of the entity, as far as it shows why something waits."""
    if not known.told:
        first = _FIRST.get(parse_key(key).type, "nobody has said anything of it")
        yield f"Nothing that stands is known of {key}: {first}."
        if known.close:
            yield f"Did you mean {' or '.join(known.close)}?"
    elif reason in _UNPLACED and known.stops:
        yield f"The plan of {key} has these stops: {', '.join(known.stops)}."
    elif reason in _UNPLACED:
        yield f"No plan of {key} stands: nobody has said which stops it has."
