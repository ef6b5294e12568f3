"""A real Kafka 4.4.0 is killed until it loses the markers of a decided commit (KAFKA-20734).

The end of `make faults`; alone `pytest -m slow -s tests/faults/test_lost_markers.py`. What was to
be aborted is ended on the way, since an abort tears none of it; the end is a commit that only some
topics know of. Where no kill brings that about, nothing is shown, and it fails.
"""

import json
import logging
import os
import time

import pytest
from lossy_kafka import LossyArena

from pipeline.operations.aborting import NotAbortedError

pytestmark = [pytest.mark.kafka, pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(2_400)]
SEED = 1
MINUTES = float(os.environ.get("MARKER_MINUTES", "15"))


@pytest.fixture(scope="module")
def arena(request):
    if "slow" not in request.config.getoption("-m"):
        pytest.skip("a long run: pytest -m slow")
    logging.disable(logging.CRITICAL)  # clients complain about every kill
    made = LossyArena(SEED)
    try:
        made.open()
        yield made
    finally:
        made.close()
        logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def lost(arena):
    """The transactions of which a commit was decided, and that stay open somewhere."""
    end, kills, aborted = time.monotonic() + MINUTES * 60, 0, 0
    while time.monotonic() < end:
        arena.power_fails()
        kills += 1
        arena.broker().start()
        arena.broker().wait_ready()
        found = arena.hanging()
        decided = [one for one in found if one.state == "PrepareCommit"]
        print(f"kill {kills}: {len(found)} open, of a decided commit {len(decided)}")  # noqa: T201
        arena.heal()
        if decided:
            print(*decided, f"{kills} kills, {aborted} places aborted before", sep="\n")  # noqa: T201
            return decided
        for one in found:
            assert one.safe, one
            arena.end(one)
            aborted += 1
        arena.more(300)
        assert arena.witness.anomalies == []
    pytest.fail(f"no decided commit lost a marker in {kills} kills, {MINUTES:.0f} minutes")


@pytest.fixture(scope="module")
def findings(arena, lost):
    """What doctor finds, while everything runs on."""
    code, told = arena.milepost("doctor", "--json")
    assert code == 1
    return json.loads(told)["findings"]


class TestDoctor:
    def test_names_the_release(self, findings):
        assert any("Kafka 4.4 at" in one["what"] for one in findings)

    def test_names_what_the_broker_wrote_of_skipped_markers(self, findings, lost):
        (found,) = [one for one in findings if "skipped transaction markers" in one["what"]]
        assert any(one.topic in found["what"] for one in lost)

    def test_names_each_partition_and_what_was_decided(self, findings, lost):
        for one in lost:
            place = f"{one.topic}[{one.partition}] has had an open transaction at"
            (found,) = [each for each in findings if each["what"].startswith(place)]
            assert f"{one.transactional_id} PrepareCommit" in found["what"]
            assert found["remedy"].startswith("Do not abort it")


def test_verify_names_the_torn_transaction(arena, lost):
    code, told = arena.milepost("verify", "--json")
    assert code == 1
    torn = [one for one in json.loads(told)["violations"] if one["rule"] == "torn"]
    print(*torn, sep="\n")  # noqa: T201
    places = {(one["topic"], one["partition"], one["offset"]) for one in torn}
    assert places & {(one.topic, one.partition, one.offset) for one in lost}


def test_nothing_aborts_it(arena, lost):
    for one in lost:
        with pytest.raises(NotAbortedError, match="Do not abort it"):
            arena.end(one)
    one = lost[0]
    code, told = arena.milepost("transactions", "abort", f"{one.topic}:{one.partition}", "--go")
    assert (code, "left alone" in told) == (1, True), told
    assert not [one for one in lost if arena.vanished(one)]
