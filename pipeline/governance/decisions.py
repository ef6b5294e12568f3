"""Which disposition or transition gives which action: one table, from which the reference is drawn.

A row of the ledger may publish one revision or none. Must never decide anything: tests hold every
row of every run against it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pipeline.governance.vocabulary import Action, Change, Disposition

NEW: Final = ""
"""Fate of a record before it is read."""
NOTHING: Final = None

_D, _A = Disposition, Action
_STATED: Final = (_A.ASSERT, _A.CORRECT, _A.RETRACT)

ACTIONS: Final[dict[tuple[str, str], frozenset[Action | None]]] = {
    (NEW, _D.APPROVED): frozenset({NOTHING, _A.CONFIRM, *_STATED}),
    (NEW, _D.PROVISIONAL): frozenset({_A.ASSERT, _A.CORRECT}),
    (NEW, _D.OVERRULED): frozenset({NOTHING, _A.RETRACT}),
    (NEW, _D.CORROBORATED): frozenset({NOTHING, _A.RETRACT}),
    (NEW, _D.HELD): frozenset({NOTHING, _A.RETRACT}),
    (NEW, _D.DUPLICATE): frozenset({NOTHING}),
    (NEW, _D.STALE): frozenset({NOTHING}),
    (NEW, _D.REROUTED): frozenset({NOTHING}),
    (NEW, _D.DEAD_LETTERED): frozenset({NOTHING}),
    (NEW, _D.APPLIED): frozenset({NOTHING}),
    (NEW, _D.IGNORED): frozenset({NOTHING}),
    (_D.HELD, _D.HELD): frozenset({NOTHING}),
    (_D.HELD, _D.APPROVED): frozenset({NOTHING, _A.CONFIRM, *_STATED}),
    (_D.HELD, _D.PROVISIONAL): frozenset({_A.ASSERT, _A.CORRECT}),
    (_D.HELD, _D.CORROBORATED): frozenset({NOTHING}),
    (_D.HELD, _D.OVERRULED): frozenset({NOTHING, _A.RETRACT}),
    (_D.HELD, _D.DUPLICATE): frozenset({NOTHING}),
    (_D.HELD, _D.STALE): frozenset({NOTHING}),
    (_D.HELD, _D.REROUTED): frozenset({NOTHING}),
    (_D.HELD, _D.DEAD_LETTERED): frozenset({NOTHING}),
    (_D.PROVISIONAL, Change.CONFIRMED): frozenset({NOTHING, _A.CONFIRM}),
    (_D.PROVISIONAL, Change.CORRECTED): frozenset({NOTHING, _A.CORRECT}),
    (_D.PROVISIONAL, Change.RETRACTED): frozenset({NOTHING, _A.RETRACT}),
    (_D.APPROVED, Change.CORRECTED): frozenset({NOTHING}),
    (_D.APPROVED, Change.RETRACTED): frozenset({NOTHING, _A.RETRACT}),
}
"""By fate before and after: what the row may publish."""

AFRESH: Final = frozenset(
    {
        _D.APPROVED, _D.PROVISIONAL, _D.CORROBORATED, _D.OVERRULED, _D.STALE, _D.DUPLICATE,
        Change.CONFIRMED, Change.CORRECTED, Change.RETRACTED,
    }
)  # fmt: skip
"""Fates that a change of region, start or stop list may open again."""
_AFRESH_TO: Final[dict[str, frozenset[Action | None]]] = {
    _D.APPROVED: frozenset({_A.CONFIRM, *_STATED}),
    _D.PROVISIONAL: frozenset({_A.ASSERT, _A.CORRECT}),
    _D.HELD: frozenset({NOTHING}),
    _D.OVERRULED: frozenset({_A.RETRACT}),
    Change.RETRACTED: frozenset({_A.RETRACT}),
}


def allowed(before: str, after: str) -> frozenset[Action | None]:
    """What a row may publish; empty: there is no such row."""
    found = ACTIONS.get((before, after), frozenset())
    return found | _AFRESH_TO.get(after, frozenset()) if before in AFRESH else found


def table() -> Iterator[str]:
    """The table in Markdown, line by line."""
    yield "| before | after | publishes |"
    yield "| --- | --- | --- |"
    for (before, after), actions in ACTIONS.items():
        yield f"| {before or 'read'} | {after} | {_named(actions)} |"
    for after, actions in _AFRESH_TO.items():
        yield f"| any but held, judged afresh | {after} | {_named(actions)} |"


def _named(actions: frozenset[Action | None]) -> str:
    named = sorted(f"`{action.value}`" for action in actions if action is not None)
    return ", ".join([*named, *(["nothing"] if None in actions else [])])
