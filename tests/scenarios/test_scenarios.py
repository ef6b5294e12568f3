"""Every file of this folder, variant by variant, on the in-memory driver."""

from pathlib import Path

import pytest

from pipeline.testing import scenario_file, scenarios

FILES = sorted(Path(__file__).parent.glob("*.yaml"))


def _variants():
    for path in FILES:
        scenario = scenario_file.load(path)
        for variant in scenario.variants:
            yield pytest.param(scenario, variant, id=f"{path.stem}: {variant.name}")


@pytest.mark.parametrize(("scenario", "variant"), list(_variants()))
def test_scenario(scenario, variant):
    problems = scenarios.run(scenario, variant)
    assert not problems, "\n" + "\n".join(problems)
