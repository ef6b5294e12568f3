"""What is known of the words that Milepost decides with: reasons, alerts, fates, actions.

Must never hold a meaning: governance has them, `pipeline.operations.remedies` what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from pipeline.contract.names import data_root
from pipeline.governance.alerts import ALERTS, AlertKind
from pipeline.governance.decisions import ACTIONS as RESULTS
from pipeline.governance.flow import STEPS
from pipeline.governance.reasons import MEANINGS, Reason
from pipeline.governance.vocabulary import ACTIONS, FATES
from pipeline.operations import remedies

_SHOWN = 3
REASONS_AND_ALERTS: Final = list(dict.fromkeys([*map(str, Reason), *map(str, AlertKind)]))
BY_FATE: Final = {fate.value: fate for fate in FATES}
BY_ACTION: Final = {action.value: action for action in ACTIONS}


def documents() -> dict[str, Any]:
    """Everything that is known of every word, by kind."""
    kinds = {"reasons": REASONS_AND_ALERTS, "dispositions": BY_FATE, "actions": BY_ACTION}
    return {kind: [describe(name) for name in listed] for kind, listed in kinds.items()}


def describe(word: str) -> dict[str, Any]:
    """Everything that is known of a word, and scenarios that show it."""
    found: dict[str, Any] = {"name": word, "scenarios": list(_scenarios(word))}
    if word in set(Reason):
        reason = Reason(word)
        meaning, remedy = MEANINGS[reason], remedies.remedy(reason)
        found["reason"] = {
            "meaning": meaning.text,
            "class": meaning.failure,
            "retryable": meaning.retryable if meaning.failure else None,
            **remedy._asdict(),
            "steps": [{"step": stage, "fate": fate} for stage, fate in _steps(reason)],
        }
    if word in set(AlertKind):
        alert = ALERTS[AlertKind(word)]
        found["alert"] = alert._asdict()
    if word in BY_FATE:
        found["disposition"] = _fate(word)
    if word in BY_ACTION:
        found["action"] = _action(word)
    return found


def _fate(word: str) -> dict[str, Any]:
    results = [given for (_, after), given in RESULTS.items() if after == word]
    published = {action for given in results for action in given if action is not None}
    return {
        "meaning": FATES[BY_FATE[word]],
        "leaves": [{"step": stage, "reasons": reasons} for stage, reasons in _leaves(word)],
        "publishes": sorted(published),
    }


def _action(word: str) -> dict[str, Any]:
    ways = [way for way, given in RESULTS.items() if word in given]
    published_by = [{"before": before or "read", "after": after} for before, after in ways]
    return {"meaning": ACTIONS[BY_ACTION[word]], "published_by": published_by}


def _leaves(fate: str) -> Iterator[tuple[str, list[str]]]:
    """At which steps of judgement a claim can leave with a fate, and for which reasons."""
    for step in STEPS:
        reasons = [
            reason.value for f, given in step.leaves.items() if f == fate for reason in given
        ]
        if reasons:
            yield step.stage.value, reasons


def _steps(reason: Reason) -> Iterator[tuple[str, str]]:
    """Where in the order of judgement a claim leaves with this reason, and as what."""
    for step in STEPS:
        for fate, reasons in step.leaves.items():
            if reason in reasons:
                yield step.stage.value, fate.value


def _scenarios(word: str) -> Iterator[dict[str, str]]:
    """Variants of scenario files that show it; none where only the wheel is installed."""
    whole = re.compile(rf"\b{re.escape(word)}\b")
    count = 0
    for path in sorted((data_root() / "tests" / "scenarios").glob("*.yaml")):
        text = path.read_text("utf-8")
        if count >= _SHOWN or not whole.search(text):
            continue
        for variant in yaml.safe_load(text)["variants"]:
            if whole.search(str(variant)):
                yield {"file": f"tests/scenarios/{path.name}", "variant": variant["name"]}
                count += 1
                break
