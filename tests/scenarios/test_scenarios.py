"""Every file of this folder, variant by variant, on the in-memory driver."""

from functools import cache
from pathlib import Path

import pytest
from audience import read

from pipeline.testing import scenario_file, scenarios

FILES = sorted(Path(__file__).parent.glob("*.yaml"))


@cache
def variants():
    """Every variant of every file, as a parameter."""
    return [
        pytest.param(scenario, variant, id=f"{path.stem}: {variant.name}")
        for path in FILES
        for scenario in [scenario_file.load(path)]
        for variant in scenario.variants
    ]


@pytest.mark.parametrize(("scenario", "variant"), variants())
def test_scenario(scenario, variant):
    problems = scenarios.run(scenario, variant, readers=read)
    assert not problems, "\n" + "\n".join(problems)
