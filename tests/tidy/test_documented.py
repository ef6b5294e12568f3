"""Every reason, metric, topic and setting is used by the product and stands in the reference."""

from __future__ import annotations

import ast
import re
from typing import get_args

import pytest
from repository import ROOT, listed, product

from pipeline.cli.reference import PAGES
from pipeline.contract import names, topics
from pipeline.governance.reasons import MEANINGS, Reason
from pipeline.settings import PREFIX, Settings
from pipeline.telemetry.metrics import METRICS, MetricName

REFERENCE = ROOT / "docs" / "reference"
COMING_TOPICS = {
    "logistics.discrepancies.v1",
    "logistics.remediation.v1",
}
"""Declared so that a cluster has them, written by what docs/roadmap.md names."""


def page(name: str) -> str:
    return (REFERENCE / name).read_text("utf-8")


def constants(*but: str) -> set[str]:
    return {
        str(node.value)
        for module in product()
        if module.where not in but
        for node in module.nodes(ast.Constant)
    }


def attributes(*but: str) -> set[str]:
    return {
        node.attr
        for module in product()
        if module.where not in but
        for node in module.nodes(ast.Attribute)
    }


@pytest.mark.parametrize("name", PAGES)
def test_a_reference_page_is_current(name):
    assert page(name) == PAGES[name](), "run make docs"


def test_every_reason_is_explained_documented_and_given():
    assert set(MEANINGS) == set(Reason)
    given = attributes("pipeline/governance/reasons.py")
    assert not {reason.value for reason in Reason if f"| `{reason}` |" not in page("reasons.md")}
    assert not {reason.value for reason in Reason if reason.name not in given}


def test_every_metric_is_documented_and_recorded():
    assert set(METRICS) == set(get_args(MetricName))
    recorded = constants("pipeline/telemetry/metrics.py")
    assert not {name for name in METRICS if f"| `{name}` |" not in page("metrics.md")}
    assert not {name for name in METRICS if name not in recorded}


def test_every_topic_is_documented_and_used():
    declared = topics.load()
    policy = "".join(path.read_text("utf-8") for path in (ROOT / "policy").glob("*.yaml"))
    used = attributes("pipeline/contract/names.py")
    constant_of = {value: name for name, value in vars(names).items() if isinstance(value, str)}
    assert not {name for name in declared.names if f"| `{name}` |" not in page("topics.md")}
    idle = {
        name
        for name in declared.names
        if (
            name not in policy
            if name.startswith(names.RAW_PREFIX)
            else constant_of.get(name) not in used | imported_names()
        )
    }
    assert idle == COMING_TOPICS


def imported_names() -> set[str]:
    return {
        alias.name
        for module in product()
        for node in module.nodes(ast.ImportFrom)
        if node.module == "pipeline.contract.names"
        for alias in node.names
    }


def test_every_topic_that_code_names_is_declared():
    named = {
        value
        for value in vars(names).values()
        if isinstance(value, str) and re.fullmatch(r"logistics\..*\.v\d+", value)
    }
    assert named <= set(topics.load().names)


def test_every_setting_is_documented_and_read():
    read = attributes()
    fields = Settings.model_fields
    variables = {PREFIX + name.upper() for name in fields}
    silent = [name for name, field in fields.items() if not field.description]
    assert not silent, f"no description:{listed(silent)}"
    assert not {name for name in variables if f"| `{name}` |" not in page("settings.md")}
    idle = sorted(name for name in fields if name not in read)
    assert not idle, f"settings that nothing reads:{listed(idle)}"


def test_every_setting_that_a_text_names_exists():
    variables = {PREFIX + name.upper() for name in Settings.model_fields}
    unknown = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md"))
        for name in re.findall(rf"\b{PREFIX}[A-Z_]+[A-Z]\b", path.read_text("utf-8"))
        if name not in variables
    ]
    assert not unknown, f"no such setting:{listed(unknown)}"
