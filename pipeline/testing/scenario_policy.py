"""The policy of a scenario: the shipped bundle with what its file changes, for its tenant and time.

Must never change who owns what.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pipeline.contract.bundle import BrakeModel, Bundle, Rule, SiteModel, load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.policy import Policy
from pipeline.testing.scenario_file import HandoverText, PolicyText, RuleText, Scenario
from pipeline.testing.staging import TENANT, Staging

Record = dict[str, Any]
FIRST: Final = "first"
"""The policy that a scenario starts with: activated again, it is rolled back to."""


def policy_for(scenario: Scenario) -> Policy:
    """The policy of a scenario that has a stack for itself.

    Raises:
        ValueError: the scenario names a rule or deputy that the bundle lacks.

    """
    return compile_policy(_adjusted(_shipped(), scenario.policy, scenario.start.ms(0)))


def later_policy(scenario: Scenario, name: str) -> Policy:
    """A later version of a scenario's policy, under its own name.

    Raises:
        ValueError: the scenario has no policy with this name.

    """
    return compile_policy(later_bundle(scenario, name, Staging(), name))


def later_bundle(scenario: Scenario, name: str, staging: Staging, version: str) -> Bundle:
    """The bundle of a later version of a scenario's policy, staged beside others.

    Raises:
        ValueError: the scenario has no policy with this name.

    """
    changes = scenario.policies.get(name)
    if changes is None:
        raise ValueError(f"the file has no policy {name!r}")
    return staging.bundle(_adjusted(_shipped(), changes, scenario.start.ms(0)), version)


def bundle_for(scenario: Scenario, staging: Staging, version: str) -> Bundle:
    """The bundle of a scenario that is staged beside others, under a version of its own.

    Raises:
        ValueError: the scenario names a rule or deputy that the bundle lacks.

    """
    return staging.bundle(_adjusted(_shipped(), scenario.policy, scenario.start.ms(0)), version)


@functools.cache
def _shipped() -> Bundle:
    return load_bundle()


def _adjusted(bundle: Bundle, changes: PolicyText, start_ms: int) -> Bundle:
    heading: Record = {}
    if changes.waits:
        heading["waits"] = bundle.heading.waits.model_copy(
            update={name: _delta(length) for name, length in changes.waits.items()}
        )
    if changes.horizon is not None:
        heading["tenants"] = {
            name: tenant.model_copy(update={"horizon": _delta(changes.horizon)})
            for name, tenant in bundle.heading.tenants.items()
        }
    if changes.open_claims is not None:
        heading["limits"] = bundle.heading.limits.model_copy(
            update={"open_claims": changes.open_claims}
        )
    if changes.brake is not None:
        heading["brake"] = BrakeModel(**changes.brake.model_dump())
    platforms = [
        platform.model_copy(
            update={
                "watermarks": platform.watermarks or platform.name in changes.watermarks,
                "retracts_by_id": platform.retracts_by_id
                or platform.name in changes.retracts_by_id,
            }
        )
        for platform in bundle.platforms
    ]
    named = changes.rules.keys() | {item.rule for item in changes.handovers}
    if unknown := named - {rule.rule for rule in bundle.rules}:
        raise ValueError(f"the bundle has no rule {', '.join(sorted(unknown))}")
    rules = [_rule(rule, changes.rules.get(rule.rule, RuleText())) for rule in bundle.rules]
    for item in changes.handovers:
        rules = [new for rule in rules for new in _handed_over(rule, item, start_ms)]
    sites = [
        SiteModel(id=name, name=name, tenant=TENANT, **row.model_dump())
        for name, row in changes.sites.items()
    ]
    adjusted = bundle.model_copy(
        update={
            "heading": bundle.heading.model_copy(update=heading),
            "rules": rules,
            "platforms": platforms,
            "sites": [*bundle.sites, *sites],
        }
    )
    for name in changes.without:
        adjusted = _without(adjusted, name)
    return adjusted


def _without(bundle: Bundle, name: str) -> Bundle:
    """The bundle without a platform or an event type; codes that meant it mean nothing."""
    content = bundle.model_dump(by_alias=True)
    platforms, types = content["platforms"], content["event_types"]
    content["platforms"] = [row for row in platforms if row["name"] != name]
    content["event_types"] = [row for row in types if row["name"] != name]
    if len(platforms) + len(types) == len(content["platforms"]) + len(content["event_types"]):
        raise ValueError(f"the bundle has no platform or event type {name}")
    for row in content["event_types"]:
        row["predecessors"] = [before for before in row["predecessors"] if before != name]
    for row in content["rules"]:
        row["event_types"] = [kind for kind in row["event_types"] if kind != name]
        row["deputies"] = [deputy for deputy in row["deputies"] if deputy["platform"] != name]
    for dialect in content["dialects"]:
        dialect["codes"] = {
            code: kept
            for code, meant in dialect["codes"].items()
            if (kept := _meant(meant, without=name))
        }
    return Bundle.model_validate(content)


def _meant(meant: Any, *, without: str) -> Any:
    """What a code means besides an event type."""
    if isinstance(meant, list):
        return [case for case in meant if case["event_type"] != without]
    return None if meant == without else meant


def _rule(rule: Rule, change: RuleText) -> Rule:
    named = {deputy.platform or str(deputy.role): deputy for deputy in rule.deputies}
    if unknown := change.after.keys() - named.keys():
        raise ValueError(f"rule {rule.rule} has no deputy {', '.join(sorted(unknown))}")
    deputies = [
        deputy.model_copy(update={"after": _delta(change.after[who])})
        if who in change.after
        else deputy
        for who, deputy in named.items()
    ]
    tolerance = rule.tolerance if change.tolerance is None else _delta(change.tolerance)
    return rule.model_copy(update={"deputies": deputies, "tolerance": tolerance})


def _handed_over(rule: Rule, handover: HandoverText, start_ms: int) -> list[Rule]:
    if rule.rule != handover.rule:
        return [rule]
    at = datetime.fromtimestamp(handover.at.ms(start_ms) / 1000, UTC)
    after = {
        "rule": f"{rule.rule}-{handover.to}",
        "owner": handover.to,
        "from_": at,
        "handover": handover.mode,
        "grace": _delta(handover.grace),
    }
    return [rule.model_copy(update={"until": at}), rule.model_copy(update=after)]


def _delta(milliseconds: int) -> timedelta:
    return timedelta(milliseconds=milliseconds)
