"""The order of judgement is what the table says: no claim leaves elsewhere, no exit is idle."""

import pytest
from test_reasons import BUNDLE, CASES, SCENARIOS, TMS, Story, first_order

from pipeline.contract import codec, names
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.flow import STEPS, Stage
from pipeline.testing import scenario_file, scenario_policy, scenarios

EXITS = {
    (step.stage.value, disposition.value, reason.value)
    for step in STEPS
    for disposition, reasons in step.leaves.items()
    for reason in reasons
}
CLAIMS = ("logistics.raw.", names.REKEYED, names.REPLAY)


def out_of_bounds():
    story = Story()
    story.say(TMS, "tms-na", "POD", amount=1)
    return story


def about_another_kind_of_entity():
    story = Story()
    story.say(TMS, "tms-na", "SHIPPED", entity_type="order", entity_id="80001")
    return story


def with_an_origin_that_is_none():
    story = Story()
    event = codec.encode(dict(story.event("tms-na", "POD")), codec.committed("raw-event"), 1)
    header = [(names.HEADER_ORIGIN, b"{}")]
    story.driver.pipe_bytes(names.REPLAY, b"acme/shipment/S1", event, header)
    return story


def of_a_platform_that_the_next_policy_lacks():
    story = Story()
    story.say(TMS, "tms-na", "SHIPPED")
    heading = BUNDLE.heading.model_copy(update={"version": "without"})
    platforms = [item for item in BUNDLE.platforms if item.name != "tms-na"]
    changed = BUNDLE.model_copy(update={"heading": heading, "platforms": platforms})
    story.driver.policies["without"] = compile_policy(changed)
    story.driver.activate("without")
    return story


MORE = (
    out_of_bounds,
    about_another_kind_of_entity,
    with_an_origin_that_is_none,
    of_a_platform_that_the_next_policy_lacks,
)


@pytest.fixture(scope="module")
def drivers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenario_policy, "load_bundle", lambda: BUNDLE)
        made = [case().driver for case in (*CASES, *MORE)]

        def recorded(scenario):
            made.append(scenarios.DriverStack(scenario))
            return made[-1]

        for path in sorted(SCENARIOS.glob("*.yaml")):
            scenario = scenario_file.load(path)
            for variant in scenario.variants:
                scenarios.run(scenario, variant, recorded, first_order)
        yield made


def verdicts(drivers):
    for driver in drivers:
        for block in driver.records(names.DECISIONS):
            for row in block["decisions"]:
                if block["inputs"][row["input"]]["topic"].startswith(CLAIMS):
                    yield row["disposition"], row["reason"]


def letters(drivers):
    for driver in drivers:
        for letter in driver.raw_records(names.DEAD_LETTER):
            told = dict(letter.headers)
            yield told["milepost.dlq.stage"].decode(), told["milepost.dlq.reason"].decode()


def test_every_claim_leaves_by_an_exit_of_the_table(drivers):
    known = {(disposition, reason) for _, disposition, reason in EXITS}
    assert set(verdicts(drivers)) <= known


def test_every_dead_letter_names_the_step_that_the_table_says(drivers):
    known = {(stage, reason) for stage, fate, reason in EXITS if fate == "dead_lettered"}
    found = {(stage, reason) for stage, reason in letters(drivers) if stage != Stage.HOLD}
    assert found == known


def test_no_exit_is_idle(drivers):
    found = set(verdicts(drivers))
    for driver in drivers:
        for block in driver.records(names.DECISIONS):
            found |= {(row["after"], row["reason"]) for row in block["transitions"]}
    assert {one for one in EXITS if one[1:] not in found} == set()


def test_every_step_is_in_the_table_once():
    stages = [step.stage for step in STEPS]
    assert len(set(stages)) == len(stages)
    assert set(stages) == set(Stage) - {Stage.HOLD}
