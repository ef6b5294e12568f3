"""Laws that hold for networks of orders and shipments, however they are read."""

from __future__ import annotations

import dataclasses
import random
from unittest import mock

import orjson
import pytest
from driver_evidence import violations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import FAMILIES, append, differences, fewest, final, in_turn, network, policy, read
from worlds import HOUR_MS, START_MS

from pipeline.contract import codec, names
from pipeline.governance import steering
from pipeline.streams import state as partition_state
from pipeline.streams.entity_bytes import dump, load
from pipeline.streams.state import PartitionState
from pipeline.streams.topology import Governed, govern
from pipeline.testing.driver import TopologyDriver

LONG = settings.default.max_examples > 1_000
SEEDS = st.integers(0, 2**40)
MODES = ("each", "all", "clock", "restart")
law = settings(
    max_examples=settings.default.max_examples // 4,  # a whole network each
    suppress_health_check=[HealthCheck.too_slow],
)
small = settings(law, max_examples=settings.default.max_examples // 10)
NUMBERING = ("ledger_partition", "ledger_seq", "raw_partition", "raw_offset")
"""What of an approved record tells where in the log its claim was."""


def approved(driver):
    """Approved records by entity, without numbering."""
    found = {}
    for record in driver.records(names.APPROVED):
        told = {name: value for name, value in record.items() if name not in NUMBERING}
        found.setdefault((record["entity_type"], record["entity_id"]), []).append(told)
    return found


def written(driver, *topics):
    return [(o.topic, o.partition, o.key, o.value) for o in driver.outputs if o.topic in topics]


@law
@given(SEEDS)
def test_ordering_law_properties(seed):
    rnd = random.Random(seed)
    told = network(rnd, lawful=True)
    one = final(read(told, rnd, mode=rnd.choice(MODES), partitions=rnd.choice((1, 2, 4))))
    other = final(read(told, rnd, mode=rnd.choice(MODES), partitions=rnd.choice((1, 2, 4))))
    assert one == other, explained(told)


def explained(told):
    """The fewest statements that come out in two ways, and how these differ."""

    def ways(network):
        seen = []
        for turn in range(20):
            for mode in MODES[:3]:
                found = final(read(network, random.Random(turn), mode=mode))
                if seen and found != seen[0]:
                    return list(differences(seen[0], found))
                seen.append(found)
        return []

    told = fewest(told, ways)
    return "\n".join([repr(told), *ways(told)])


@pytest.mark.hypothesis
@pytest.mark.timeout(0)
def test_many_interleavings_of_a_large_network(request):
    """`make properties` reads 50 interleavings of 5,000 claims, with its own seed."""
    count, statements = (50, 5_000) if LONG else (5, 1_000)
    seed = int(request.config.getoption("--hypothesis-seed") or 1)
    rnd = random.Random(seed)
    shipments = statements // 25
    size = {"statements": statements, "shipments": shipments}
    told = network(rnd, **size, family="by id", phases=1, lawful=True)
    assert len(told.phases[0].said) > 4
    assert told.size == statements
    wanted = None
    for number in range(count):
        turn = random.Random(seed + number)
        found = final(read(told, turn, mode="all", partitions=4, batch=turn.choice((7, 90, 800))))
        wanted = wanted or found
        different = list(differences(wanted, found))
        assert not different, "\n".join([f"seed {seed}, interleaving {number}", *different])


@law
@given(SEEDS)
def test_conservation_properties(seed):
    rnd = random.Random(seed)
    assert violations(read(network(rnd), rnd, mode=rnd.choice(MODES))) == []


@small
@given(SEEDS)
def test_conservation_after_each_batch_properties(seed):
    rnd = random.Random(seed)
    found = []
    read(network(rnd, statements=8), rnd, after=lambda driver: found.extend(violations(driver)))
    assert found == []


@small
@given(SEEDS)
def test_every_record_again_after_every_prefix_changes_nothing_properties(seed):
    """As it came, later: it has been seen. Replayed with its first time: nobody has to remember."""
    rnd = random.Random(seed)
    told = network(rnd, statements=10, phases=1)
    forgetful = dataclasses.replace(
        policy(told.family), limits=dataclasses.replace(policy(told.family).limits, seen_max=0)
    )
    for governing, again in ((policy(told.family), append), (forgetful, replay)):
        driver = TopologyDriver([governing], partitions=2, start_ms=START_MS - HOUR_MS)
        turns = in_turn(rnd, told.phases[0])
        for number, said in enumerate(turns, 1):
            append(driver, said, said.at_ms)
            refused = {letter.value for letter in driver.raw_records(names.DEAD_LETTER)}
            before = final(driver), written(driver, names.APPROVED)
            for earlier in turns[:number]:
                if encoded(driver, earlier) not in refused:
                    again(driver, earlier)
            after = final(driver), written(driver, names.APPROVED)
            assert before == after, "\n".join([repr(told), *differences(before[0], after[0])])


def encoded(driver, said):
    return codec.encode(dict(said.event), codec.committed("raw-event"), driver.raw_schema_id)


def replay(driver, said):
    """As `milepost dead-letters replay` sends a record through again, with its first time."""
    value = encoded(driver, said)
    topic, number, first = next(
        (topic, partition, record)
        for (topic, partition), log in driver.inputs.items()
        for record in log
        if record.value == value and topic not in {names.REKEYED, names.REPLAY}
    )
    origin = {"topic": topic, "partition": number, "offset": first.offset}
    origin["received"] = first.timestamp_ms
    told = [(names.HEADER_ORIGIN, orjson.dumps(origin)), (names.HEADER_HOPS, b"0")]
    driver.pipe_bytes(names.REPLAY, driver.key_of(said.event).encode(), value, told)


@law
@given(SEEDS)
def test_the_number_of_partitions_does_not_matter_properties(seed):
    """To the byte, where nothing crosses between partitions; the rest is the ordering law's."""
    rnd = random.Random(seed)
    told, turn = apart(network(rnd)), rnd.random()
    one, four = (read(told, random.Random(turn), partitions=count) for count in (1, 4))
    assert approved(one) == approved(four)


def apart(told):
    """The network without references, strays, and what links an entity to others."""
    alone = {"orders": [], "shipments": [], "references": []}
    phases = [
        phase._replace(
            said={
                name: [
                    item._replace(event=item.event | alone, astray=False)
                    for item in said
                    if item.event["reference"] is None
                ]
                for name, said in phase.said.items()
            }
        )
        for phase in told.phases
    ]
    return told._replace(phases=phases)


@law
@given(SEEDS)
def test_restarts_do_not_matter_properties(seed):
    rnd = random.Random(seed)
    told, turn = network(rnd), rnd.random()
    one, other = (read(told, random.Random(turn), mode=mode) for mode in ("each", "restart"))
    assert one.outputs == other.outputs


@law
@given(SEEDS)
def test_how_much_acts_at_once_does_not_matter_properties(seed):
    """Deadlines and claims to be judged again, one a batch: the next tick goes on."""
    rnd = random.Random(seed)
    told, turn, mode = network(rnd, lawful=True), rnd.random(), rnd.choice(MODES)
    one = final(read(told, random.Random(turn), mode=mode))
    with (
        mock.patch.object(partition_state, "DUE_MAX", 1),
        mock.patch.object(steering, "REOPENED_MAX", 1),
    ):
        other = final(read(told, random.Random(turn), mode=mode))
    assert one == other, explained(told)


@law
@given(SEEDS)
def test_where_a_batch_ends_does_not_matter_properties(seed):
    """The same records with the same clock between them, cut anew."""
    rnd = random.Random(seed)
    calls = []

    def noting(surroundings, state, records, *, read_through):
        result = govern(surroundings, state, records, read_through=read_through)
        if isinstance(result, Governed):
            calls.append((surroundings, state.partition, records, read_through, result.named()))
        return result

    with mock.patch("pipeline.testing.driver.govern", noting):
        driver = read(network(rnd), rnd, mode=rnd.choice(MODES[:3]))
    for number, whole in enumerate(driver.states):
        fresh, theirs, mine = PartitionState(number), [], []
        for surroundings, records, read_to, outputs in merged(calls, number):
            theirs += outputs
            first = 0
            while first < len(records):
                end = rnd.randrange(first, len(records)) + 1
                reached = read_to if end == len(records) else {}
                result = govern(surroundings, fresh, records[first:end], read_through=reached)
                mine += result.named()
                first = end
        assert rows(mine) == rows(theirs)
        assert fresh.digest == whole.digest


def merged(calls, partition):
    """Calls of one partition, put together as long as its clock stays: the first one moves it."""
    found = []
    for surroundings, number, records, read_to, outputs in calls:
        if number != partition:
            continue
        if [item[2] for item in found[-2:]] == [read_to] * 2:
            found[-1][1].extend(records)
            found[-1][3].extend(outputs)
        else:
            found.append((surroundings, list(records), read_to, list(outputs)))
    return found


def rows(outputs):
    """Everything that is said, topic by topic: blocks put together, stories as they end."""
    said, stories, decided = {}, {}, {"decisions": [], "transitions": []}
    for output in outputs:
        if output.topic == names.ENTITY_STATUS:
            stories[output.key] = output.value
        elif output.topic == names.DECISIONS:
            block = codec.decode(output.value, codec.committed("decision-block"))
            for name, listed in decided.items():
                listed.extend(block[name])
        else:
            said.setdefault(output.topic, []).append(output)
    for row in decided["decisions"]:
        del row["input"]  # the place of its topic among the block's own
    return decided, said, stories


@law
@given(SEEDS)
def test_status_goes_back_only_with_a_reason_properties(seed):
    rnd = random.Random(seed)
    driver = read(network(rnd), rnd, mode=rnd.choice(MODES))
    catalogue = policy("plain").catalogue
    rank = {(kind.entity_type, kind.status): kind.rank for kind in catalogue.values()}
    rank |= {(k.entity_type, k.partial_status): k.partial_rank for k in catalogue.values()}
    at = {}
    for record in driver.records(names.APPROVED):
        entity = record["entity_type"], record["entity_id"]
        now = rank[record["entity_type"], record["status_after"]] if record["status_after"] else 0
        plans = catalogue[record["event_type"]].sets_plan
        if now < at.get(entity, 0):
            assert record["action"] in {"RETRACT", "CORRECT"} or plans, record
        at[entity] = now


@law
@given(SEEDS)
def test_state_comes_back_as_it_was_at_every_step_properties(seed):
    rnd = random.Random(seed)
    lost = []

    def look(driver):
        for state in driver.states:
            for entity in state.entities():
                written = dump(entity)
                if dump(load(entity.key, written, 0)) != written:
                    lost.append(entity.key)

    read(network(rnd, statements=15), rnd, after=look)
    assert lost == []


@pytest.mark.parametrize("family", FAMILIES)
def test_networks_reach_what_they_are_made_for(family):
    """Or the laws above would say nothing."""
    found = set()
    for seed in range(25):
        rnd = random.Random(seed)
        driver = read(network(rnd, family=family), rnd)
        for block in driver.records(names.DECISIONS):
            found |= {row["reason"] for row in block["decisions"]}
            found |= {row["reason"] for row in block["transitions"]}
    assert found >= {
        "reference_bound", "uncorrelated", "wrong_partition", "awaiting_owner", "owner_silent",
        "owner_corrected", "retracted_by_author", "replaced_by_newer", "restated", "repeated",
        "link_applied", "region_unresolved", "stop_unresolved", "past_redecided",
        "platform_held_back", "platform_released", "policy_activated",
    }  # fmt: skip
    if family == "by occurrence":
        assert found >= {"not_owner_at_occurrence", "owner_changed"}
