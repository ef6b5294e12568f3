"""What each variant publishes, every field of it; scenarios name the fields that matter.

`pytest tests/scenarios/test_records.py --update-records` writes `records/` anew: read the
difference.
"""

import json
from pathlib import Path

import pytest
from test_scenarios import FILES

from pipeline.contract import names
from pipeline.testing import scenario_file, scenarios

RECORDS = Path(__file__).parent / "records"
UNSAID = (None, [], {}, "", False)
LEFT_OUT = frozenset({"event_id", "raw_digest", "policy_version"})
"""Said by other fields, or other with every change of a schema or of the policy."""


def told(record):
    return {
        name: value
        for name, value in sorted(record.items())
        if name not in LEFT_OUT and value not in UNSAID
    }


def published(path):
    """By variant, each approved record in full."""
    scenario = scenario_file.load(path)
    found = {}
    for variant in scenario.variants:
        if variant.in_any_order == "false":
            stacks = []

            def made(scenario, stacks=stacks):
                stacks.append(scenarios.DriverStack(scenario))
                return stacks[-1]

            scenarios.run(scenario, variant, made)
            records = stacks[-1].records(names.APPROVED)
            found[variant.name] = [told(record) for record in records]
    return json.loads(json.dumps(found, default=str))


def written(found):
    """JSON with a record a line."""
    lines = [
        f" {json.dumps(name, ensure_ascii=False)}: [\n"
        + ",\n".join(f"  {json.dumps(record, ensure_ascii=False)}" for record in records)
        + "\n ]"
        for name, records in found.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_field_is_as_it_was(path, request):
    found = published(path)
    kept = RECORDS / f"{path.stem}.json"
    if request.config.getoption("--update-records"):
        RECORDS.mkdir(exist_ok=True)
        kept.write_text(written(found), "utf-8")
    assert json.loads(kept.read_text("utf-8")) == found, "read the difference: --update-records"


def test_nothing_is_kept_of_a_scenario_that_is_gone():
    assert {path.stem for path in RECORDS.glob("*.json")} == {path.stem for path in FILES}
