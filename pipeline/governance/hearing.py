"""What one platform says of an occurrence: which of its statements is the latest.

A platform that names a stop in two ways has two statements here, put together anew whenever they
are asked for. Must never know an owner.
"""

from __future__ import annotations

from typing import Final

from pipeline.governance.claims import WIDTH, Order, adds, finer, same_time
from pipeline.governance.entity import Occurrence, Spoken
from pipeline.governance.reasons import Reason

IDS_MAX: Final = 4
"""Event ids of replaced and of repeated statements that are kept each, for retractions of them."""


def hear(occurrence: Occurrence, spoken: Spoken) -> tuple[Reason | None, Spoken | None]:
    """Take a platform's statement into the occurrence.

    Args:
        occurrence: changed in place.
        spoken: what the platform says.

    Returns:
        Why it changes nothing (repeated, restated, older), None if it is the platform's latest;
        and the statement whose place it took.

    """
    voices = occurrence.spoken.setdefault(spoken.claim.body["platform"], [])
    event_id = spoken.claim.body["event_id"]
    for known in voices:
        if known.claim.body["event_id"] == event_id:
            return (Reason.REPEATED if _says_same(known, spoken) else Reason.ID_REUSED), None
    before = speaks(voices) if voices else None
    index = next((i for i, known in enumerate(voices) if known.written == spoken.written), None)
    replaced = None
    if index is None:
        voices.append(spoken)
    else:
        known = voices[index]
        known.first_received = min(known.first_received, spoken.first_received)
        again = before is not None and (
            _says_same(before, spoken) or spoken.order < before.order or spoken.retracts
        )
        why = _again(known, spoken, again=again)
        if why is not None:
            if not spoken.retracts:
                if why is Reason.RESTATED:
                    _restate(known, spoken)
                else:
                    _keep(known.replaces, event_id)
            elif why is Reason.OLDER_THAN_CURRENT:
                _spend(known, spoken)
            refine(occurrence, speaks(voices))
            return why, None
        spoken.barrier, spoken.first_received = known.order, known.first_received
        said = known.claim.body["retracts"] or known.claim.body["event_id"]
        for earlier in (*known.replaces, *known.restated, said):
            _keep(spoken.replaces, earlier)
        if spoken.retracts:
            spoken.target_order = known.order
            spoken.order = max(spoken.order, known.order)
        voices[index] = spoken
        replaced = known
    if before is None:
        return None, replaced
    if _says_same(before, spoken):
        spoken.restates = True
        refine(occurrence, speaks(voices))
        return Reason.RESTATED, replaced
    if speaks(voices).claim is not spoken.claim:
        return Reason.OLDER_THAN_CURRENT, replaced
    return None, replaced


def refine(occurrence: Occurrence, spoken: Spoken) -> None:
    """Keep the finest time of what stands, to compare with from now on."""
    if (
        occurrence.stands
        and spoken.claim.body["platform"] == occurrence.platform
        and finer(spoken.precision, occurrence.precision)
        and same_time(spoken.occurred, spoken.precision, occurrence.occurred, occurrence.precision)
    ):
        occurrence.occurred, occurrence.precision = spoken.occurred, spoken.precision


def _keep(ids: list[str], event_id: str | None) -> None:
    """Know an event id again, up to so many of them."""
    if event_id is None or event_id in ids:
        return
    ids.append(event_id)
    del ids[:-IDS_MAX]


def _restate(known: Spoken, spoken: Spoken) -> None:
    """Know an event id under which the same was said again, and when, up to so many of them."""
    known.restated[spoken.claim.body["event_id"]] = spoken.order
    if len(known.restated) > IDS_MAX:
        del known.restated[min(known.restated, key=known.restated.__getitem__)]


def _said_at(known: Spoken, event_id: str) -> Order | None:
    """When the statement was made under an event id; None: not under that one, or taken back."""
    if event_id == known.claim.body["event_id"] and event_id not in known.replaces:
        return known.claim.order
    return known.restated.get(event_id)


def _spend(known: Spoken, spoken: Spoken) -> None:
    """Of what was said before it was taken back, nothing is left but what was said once more."""
    said = _said_at(known, spoken.claim.body["retracts"] or "")
    if said is None or known.retracts:
        return
    back = max(said, spoken.order)
    for event_id in [name for name, order in known.restated.items() if order < back]:
        del known.restated[event_id]
        _keep(known.replaces, event_id)
    if known.claim.order < back:
        _keep(known.replaces, known.claim.body["event_id"])


def _again(known: Spoken, spoken: Spoken, *, again: bool) -> Reason | None:
    """Whether the platform says the same in the same words, or something older.

    What was taken back stays so until it is said again later; another statement only has to be
    newer than what was taken back.

    Args:
        known: what it said in these words.
        spoken: what it says now.
        again: whether saying the same is a repetition; else it had said something else meanwhile.

    """
    if again and _says_same(known, spoken):
        if finer(spoken.precision, known.precision) and spoken.order > known.barrier:
            known.occurred, known.precision = spoken.occurred, spoken.precision
        if not known.retracts:
            known.order = max(known.order, spoken.order)
        return Reason.RESTATED
    target = spoken.claim.body["retracts"]
    if target is not None:
        said = _said_at(known, target)
        # Said once more after it was taken back: it stands, whichever of the two is read first
        meant = said is not None and max(said, spoken.order) >= known.order
        return None if meant and not known.retracts else Reason.OLDER_THAN_CURRENT
    newest = known.order
    if known.target_order is not None and not _one_time(known, spoken):
        newest = known.target_order
    if spoken.order <= newest:  # the same: what was taken back comes once more
        known.barrier = max(known.barrier, spoken.order)
        return Reason.OLDER_THAN_CURRENT
    return None


def _says_same(known: Spoken, spoken: Spoken) -> bool:
    if known.retracts or spoken.retracts:
        same = known.claim.body["retracts"] == spoken.claim.body["retracts"]
        return same and known.retracts == spoken.retracts
    return _one_time(known, spoken) and not adds(spoken.content, known.content)


def _one_time(a: Spoken, b: Spoken) -> bool:
    """Whether two statements are of one time; a retraction is of the time it takes back."""
    a_at, a_precision = _stated(a)
    b_at, b_precision = _stated(b)
    return same_time(a_at, a_precision, b_at, b_precision)


def _stated(spoken: Spoken) -> tuple[int, str]:
    if spoken.retracts:
        return spoken.subject["occurred"], spoken.subject["occurred_precision"]
    return spoken.occurred, spoken.precision


def speaks(voices: list[Spoken]) -> Spoken:
    """A platform's latest statement, out of all its ways of naming the place.

    Ways that say the same are one statement with the finest of their times, told by the claim that
    was not a restatement. What was taken back counts as of when it had been said.
    """
    if len(voices) == 1:
        return voices[0]
    ordered = sorted(voices, key=lambda item: item.target_order or item.order)
    run = [ordered[-1]]
    for item in reversed(ordered[:-1]):
        if not _one_time(item, run[0]):
            break
        run.insert(0, item)
    said = [item for item in run if not item.retracts]
    back = max((item for item in run if item.retracts), key=_order, default=None)
    if back is not None and (not said or back.order > max(map(_order, said))):
        return back
    head = next((item for item in said if not item.restates), said[0])
    first = min(item.first_received for item in voices)
    if len(said) == 1 and head.first_received == first:
        return head
    finest = min(said, key=lambda item: WIDTH[item.precision])
    told = Spoken(head.claim, head.written, head.region, head.place)
    told.content, told.subject = head.content, head.subject
    told.first_received = first
    told.order = max(map(_order, said))
    told.occurred, told.precision = finest.occurred, finest.precision
    return told


def _order(spoken: Spoken) -> Order:
    return spoken.order
