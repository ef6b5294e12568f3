"""Laws that hold for every world, order of reading, batching, restart and movement of the clock.

Worlds have one tender, deputies, outsiders, corrections, silences, bookings and repeats; what they
lack (retractions, tenders that change) is named in docs/roadmap.md.
"""

from __future__ import annotations

import hashlib
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from worlds import EXAMPLES, POLICY, START_MS, final, in_order, readings, run, topic_of, worlds

from pipeline.contract import names
from pipeline.testing.driver import TopologyDriver

law = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
MODES = st.sampled_from(["each", "all", "clock", "restart"])


@law
@given(st.data())
def test_the_end_does_not_depend_on_the_order_of_reading(data):
    world = data.draw(worlds())
    one = final(run(world, data.draw(readings(world)), mode=data.draw(MODES)))
    other = final(run(world, data.draw(readings(world)), mode=data.draw(MODES)))
    assert one == other, "\n".join(difference(one, other))


@law
@given(st.data())
def test_deciding_any_record_again_changes_nothing(data):
    world = data.draw(worlds())
    turns = data.draw(readings(world))
    driver = run(world, turns)
    said, before = driver.records(names.APPROVED), final(driver)
    for at_ms, event in in_order(world, turns):
        driver.pipe(topic_of(event), event, at_ms=max(at_ms, driver.now_ms))
    assert driver.records(names.APPROVED) == said
    assert final(driver) == before


@law
@given(st.data())
def test_batches_and_restarts_do_not_change_a_byte(data):
    world = data.draw(worlds())
    turns = data.draw(readings(world))
    kept = [
        [(out.key, out.value) for out in run(world, turns, mode=mode).raw_records(names.APPROVED)]
        for mode in ("each", "restart")
    ]
    assert kept[0] == kept[1]


@law
@given(st.data())
def test_every_record_has_one_decision_and_blocks_tile_and_chain(data):
    world = data.draw(worlds())
    driver = run(world, data.draw(readings(world)), mode=data.draw(MODES))
    decided, chain = Counter(), {}
    positions = Counter()
    outputs = driver.raw_records(names.DECISIONS)
    for block, output in zip(driver.records(names.DECISIONS), outputs, strict=True):
        number = block["partition"]
        assert block["previous_hash"] == chain.get(number, "")
        chain[number] = hashlib.sha256(output.value[5:]).hexdigest()
        for covered in block["inputs"]:
            assert covered["first"] == positions[number, covered["topic"]]
            assert not covered["gaps"]
            positions[number, covered["topic"]] = covered["next"]
        for row in block["decisions"]:
            decided[number, block["inputs"][row["input"]]["topic"], row["offset"]] += 1
    assert set(decided.values()) == {1}
    assert len(decided) == sum(positions.values())


@law
@given(st.data())
def test_sequences_and_revisions_count_and_no_status_goes_back_unasked(data):
    world = data.draw(worlds())
    driver = run(world, data.draw(readings(world)), mode=data.draw(MODES))
    sequences, revisions, ranks = Counter(), Counter(), {}
    rank_of = {}
    for policy in driver.policies.values():
        for kind in policy.catalogue.values():
            rank_of |= {kind.status: kind.rank, kind.partial_status: kind.partial_rank}
    for record in driver.records(names.APPROVED):
        entity = (record["tenant"], record["entity_type"], record["entity_id"])
        sequences[entity] += 1
        revisions[record["milestone_id"]] += 1
        assert record["entity_seq"] == sequences[entity]
        assert record["revision"] == revisions[record["milestone_id"]]
        rank = rank_of.get(record["status_after"], 0)
        if (
            record["action"] in {"ASSERT", "CONFIRM"}
            and record["event_type"] != "shipment.tendered"
        ):
            assert rank >= ranks.get(entity, 0)
        ranks[entity] = rank


@law
@given(st.binary(max_size=60), st.binary(max_size=40), st.sampled_from(["tms-na", "carriers"]))
def test_garbage_is_kept_and_never_raises(value, key, topic):
    driver = TopologyDriver([POLICY], partitions=2, start_ms=START_MS)
    driver.pipe_bytes(names.raw_topic(topic), key, value)
    letters = driver.raw_records(names.DEAD_LETTER)
    assert [(letter.key, letter.value) for letter in letters] == [(key, value)]


def difference(one, other):
    """Lines that show where two final states differ."""
    for key in sorted(one.keys() | other.keys()):
        mine, theirs = one.get(key, {}), other.get(key, {})
        for name in mine.keys() | theirs.keys():
            if mine.get(name) != theirs.get(name):
                yield f"{key} {name}: {mine.get(name)} / {theirs.get(name)}"
