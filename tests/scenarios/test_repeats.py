"""Every variant once more, in memory: each batch a fresh worker's, each record read twice.

Where a variant goes otherwise because of that, its file says why.
"""

import pytest
from test_scenarios import variants

from pipeline.testing import repeating


@pytest.mark.parametrize(("scenario", "variant"), variants())
def test_with_a_fresh_worker_for_every_batch(scenario, variant):
    problems = repeating.with_fresh_workers(scenario, variant)
    assert not problems, "\n" + "\n".join(problems)


@pytest.mark.parametrize("when", ["at_once", "at_last"])
@pytest.mark.parametrize(("scenario", "variant"), variants())
def test_with_every_record_read_again(scenario, variant, when):
    problems = repeating.with_records_again(scenario, variant, at_once=when == "at_once")
    if when in variant.not_again:
        assert problems, f"it goes the same way: remove `not_again` {when}"
    else:
        assert not problems, "\n" + "\n".join(problems)
