"""The input of all peers: what it holds, and that every form of the step agrees on it."""

from collections import Counter

import pytest

from benchmarks.peers import full_check, spec, spliced, step, workload
from pipeline.contract import names
from pipeline.governance.identity import partition_of
from pipeline.lane import Record
from pipeline.testing.driver import TopologyDriver

COUNT, RAW_ID, BASE_MS = 3_000, 1, 1_790_000_000_000
NOW_MS = BASE_MS + workload.DAY_MS


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A workload's file and its truth."""
    path = tmp_path_factory.mktemp("workload") / "input.bin"
    return path, workload.write(path, COUNT, RAW_ID, BASE_MS)


def test_the_same_seed_gives_the_same_records():
    first, again = (list(workload.records(200, RAW_ID, BASE_MS)) for _ in range(2))
    assert first == again


def test_a_share_of_every_kind_is_there(written):
    _, truth = written
    shares = {fate: count / COUNT for fate, count in truth["counts"].items()}
    assert shares["undecodable"] == pytest.approx(0.01, abs=0.005)
    assert shares["duplicate"] == pytest.approx(0.05, abs=0.02)
    assert shares["rejected"] == pytest.approx(0.05, abs=0.02)


def test_what_is_written_is_read_back(written):
    path, truth = written
    read = list(workload.read(path))
    assert len(read) == truth["count"] == COUNT
    assert read == [row[:3] for row in workload.records(COUNT, RAW_ID, BASE_MS)]
    assert list(workload.read(path, 7)) == read[:7]


def test_slices_and_decoding_come_to_the_same(written):
    told = spec.spec(RAW_ID)
    records = [
        Record("t", 0, 0, 0, key, value, None) for _, key, value in workload.read(written[0])
    ]
    states, fast = {}, {}
    reference, expected = step.Step(told), ([], [], [], [])
    for record in records:
        fate, new, out = reference.decide(record.value, states.get(record.key))
        if new is not None:
            states[record.key] = new
            expected[3].append((record.key, new))
        if fate != step.DUPLICATE:
            place = {step.APPROVED: 0, step.REJECTED: 1, step.UNDECODABLE: 2}[fate]
            expected[place].append((record.key, record.value if out is None else out))
    assert spliced.Spliced(told).decide(records, fast) == expected
    assert fast == states


def test_cut_and_changed_bytes_are_judged_alike(written):
    told = spec.spec(RAW_ID)
    reference, fast = step.Step(told), spliced.Spliced(told)
    seen = Counter()
    for number, (_, key, value) in enumerate(workload.read(written[0], 60)):
        for at in range(5, len(value), 3):
            for made in (
                value[:at],
                value[:at] + bytes([value[at] ^ 1 << number % 8]) + value[at + 1 :],
            ):
                fate, new, out = reference.decide(made, None)
                states = {}
                told_fast = fast.decide([Record("t", 0, 0, 0, key, made, None)], states)
                assert states.get(key) == new
                assert [out for _, out in told_fast[0]] == ([] if out is None else [out])
                seen[fate] += 1
    assert seen[step.UNDECODABLE]
    assert seen[step.APPROVED]


def test_the_full_path_comes_to_the_fates_that_were_meant(written):
    path, truth = written
    driver = TopologyDriver([spec.policy()], start_ms=NOW_MS)
    for topic, key, value in workload.read(path):
        number = partition_of(key, driver.partitions)
        driver._append(workload.TOPICS[topic], number, key, value, None, NOW_MS)
    driver._settle()
    fates = Counter(
        full_check.FATES.get((row["disposition"], row["reason"]), row["reason"])
        for block in driver.records(names.DECISIONS)
        for row in block["decisions"]
        if block["inputs"][row["input"]]["topic"] in workload.TOPICS
    )
    assert fates == Counter(truth["counts"])
