"""Wherever the product records a metric, it does so as the table says."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

import pytest

import connectors
import pipeline
from pipeline.telemetry.metrics import METRICS, Kind

KINDS = {
    "add": Kind.COUNTER,
    "set": Kind.GAUGE,
    "forget": Kind.GAUGE,
    "record": Kind.HISTOGRAM,
    "spread": Kind.HISTOGRAM,
}


class Use(NamedTuple):
    where: str
    name: str
    method: str
    attributes: frozenset[str]


def uses() -> list[Use]:
    found = []
    for package in (pipeline, connectors):
        root = Path(package.__file__).parent
        for path in sorted(root.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in KINDS
                    and node.args
                    and isinstance(node.args[0], ast.Constant)
                    and str(node.args[0].value).startswith("milepost_")
                ):
                    where = f"{path.relative_to(root.parent)}:{node.lineno}"
                    names = frozenset(str(keyword.arg) for keyword in node.keywords)
                    found.append(Use(where, node.args[0].value, node.func.attr, names))
    return found


@pytest.mark.parametrize("use", uses(), ids=lambda use: f"{use.name}@{use.where}")
def test_a_metric_is_recorded_as_declared(use):
    metric = METRICS[use.name]
    assert metric.kind is KINDS[use.method]
    if use.method == "forget":
        assert use.attributes <= set(metric.attributes)
    else:
        assert use.attributes == set(metric.attributes)
