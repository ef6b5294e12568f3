"""Every file of this folder, variant by variant, on a real Kafka with a governor process.

What may be read in any order is appended in one and read as the broker hands it out; the in-memory
driver tries all of them.
"""

from functools import partial

import pytest
from audience import read
from broker_clock import LIBRARY, MISSING
from real_stack import Stage, StagedStack
from test_scenarios import variants

from pipeline.testing import scenarios

pytestmark = [pytest.mark.kafka, pytest.mark.skipif(LIBRARY is None, reason=MISSING)]


@pytest.fixture(scope="module")
def stage():
    made = Stage()
    yield made
    made.close()


@pytest.mark.parametrize(("scenario", "variant"), variants())
def test_scenario(stage, scenario, variant):
    if variant.in_memory_only is not None:
        pytest.skip(variant.in_memory_only)
    problems = scenarios.run(
        scenario, variant, partial(StagedStack, stage), orders=scenarios.as_written, readers=read
    )
    assert not problems, "\n" + "\n".join(problems)


def test_the_topics_prove_all_of_it(stage):
    stage.settle()
    assert stage.verify().violations == []
