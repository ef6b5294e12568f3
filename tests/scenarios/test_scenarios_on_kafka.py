"""The files of this folder, variant by variant, on a real Kafka with a governor process.

`make test` takes each file's first variant, and all in which workers, policies, platforms or inputs
come and go; `pytest -m slow` takes the others, whose rules the in-memory driver has shown.
What may be read in any order is appended in one and read as the broker hands it out; the in-memory
driver tries all of them.
"""

from functools import partial

import pytest
from audience import read
from broker_clock import LIBRARY, MISSING
from real_stack import Stage, StagedStack
from test_scenarios import variants

from pipeline.testing import scenario_file, scenarios

PLAIN = scenario_file.EventStep, scenario_file.AgainStep, scenario_file.ClockStep
pytestmark = [pytest.mark.kafka, pytest.mark.skipif(LIBRARY is None, reason=MISSING)]


@pytest.fixture(scope="module")
def stage():
    made = Stage()
    yield made
    made.close()


def chosen():
    """All variants; those that only rules tell apart are for those who ask for them."""
    for parameter in variants():
        scenario, variant = parameter.values
        steps = [*scenario.given, *variant.given, *variant.when]
        steered = any(not isinstance(step, PLAIN) for step in steps)
        if steered or variant is scenario.variants[0]:
            yield parameter
        else:
            yield pytest.param(scenario, variant, id=parameter.id, marks=pytest.mark.slow)


@pytest.mark.parametrize(("scenario", "variant"), list(chosen()))
def test_scenario(request, scenario, variant):
    if request.node.get_closest_marker("slow"):
        request.getfixturevalue("patience")
    if variant.in_memory_only is not None:
        pytest.skip(variant.in_memory_only)
    stage = request.getfixturevalue("stage")
    problems = scenarios.run(
        scenario, variant, partial(StagedStack, stage), orders=scenarios.as_written, readers=read
    )
    assert not problems, "\n" + "\n".join(problems)


def test_the_topics_prove_all_of_it(stage):
    stage.settle()
    assert stage.verify().violations == []
