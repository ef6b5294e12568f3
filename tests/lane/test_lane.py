"""The lane against a real broker: what it promises, with workers in processes of their own."""

import signal
import time

import pytest
from lane_cluster import until

pytestmark = [pytest.mark.kafka]


def test_inputs_are_added_while_running_and_refused_by_name(cluster):
    orders, late = cluster.topic("orders"), cluster.topic("late")
    cluster.write(orders, 3_000)
    cluster.write(late, 400)
    worker = cluster.start([orders])
    cluster.wait_counted(3_000)

    worker.say(f"inputs {orders} {late}")
    assert worker.wait_for("inputs")["names"] == sorted([orders, late, cluster.control])
    cluster.write(orders, 400)
    cluster.write(late, 100)
    cluster.wait_counted(3_900)

    narrow = cluster.topic("narrow", partitions=2)
    worker.say(f"inputs {orders} {late} {narrow}")
    why = worker.wait_for("refused", 1)["why"]
    assert f"topic '{narrow}' has 2 partitions but '{cluster.control}' has 4" in why
    theirs = cluster.topic("theirs", **{"message.timestamp.type": "CreateTime"})
    worker.say(f"inputs {orders} {late} {theirs}")
    assert (
        f"topic '{theirs}' has message.timestamp.type=CreateTime"
        in (worker.wait_for("refused", 2)["why"])
    )

    worker.say(f"inputs {late}")
    worker.wait_for("inputs", 2)
    cluster.write(orders, 4)
    cluster.write(late, 100)
    cluster.wait_counted(4_000)
    worker.say(f"inputs {orders} {late}")
    cluster.wait_counted(4_004)

    cluster.check_once(4_004)
    assert len(worker.events("assigned")) == 1
    assert worker.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("fault", ["narrow", "theirs", "missing", "uncompacted"])
def test_a_worker_does_not_start_on_topics_that_do_not_fit(cluster, fault):
    inputs = []
    if fault == "narrow":
        inputs = [cluster.topic("narrow", partitions=2)]
    elif fault == "theirs":
        inputs = [cluster.topic("theirs", **{"message.timestamp.type": "CreateTime"})]
    elif fault == "missing":
        inputs = [cluster.name + ".missing"]
    else:
        cluster.changelog = cluster.topic("uncompacted")
    worker = cluster.start(inputs)
    assert worker.process.wait(30) == 78
    assert f"lane: leaving the process (78): topic '{cluster.name}.{fault}'" in worker.log()
    assert "Traceback" not in worker.log()


def test_counts_once_through_kills_at_every_point_and_restores(cluster):
    orders, parcels = cluster.topic("orders"), cluster.topic("parcels")
    written = 0
    for point in ("after_produce", "before_commit", "after_commit", "during_restore"):
        cluster.write(orders, 200)
        cluster.write(parcels, 40)
        written += 240
        worker = cluster.start([orders, parcels], crash=[point])
        assert worker.process.wait(30) == -signal.SIGKILL
    worker = cluster.start([orders, parcels])
    cluster.wait_counted(written)
    assert worker.wait_for("restored")["keys"] > 0
    cluster.check_once(written)


def test_a_worker_joins_and_leaves_in_mid_traffic(cluster):
    orders, parcels = cluster.topic("orders"), cluster.topic("parcels")
    first = cluster.start([orders, parcels], "0")
    first.owns([0, 1, 2, 3])
    cluster.write(orders, 400)
    second = cluster.start([orders, parcels], "1")
    for _ in range(5):
        cluster.write(parcels, 100)
    first.owns([0, 1])
    second.owns([2, 3])
    cluster.write(orders, 400)
    began = time.monotonic()
    assert second.end(signal.SIGTERM) == 0
    first.owns([0, 1, 2, 3])
    # a static member that only closed would keep its place for the session of 20 s
    assert time.monotonic() - began < 10
    cluster.write(parcels, 100)
    cluster.wait_counted(1_400)
    cluster.check_once(1_400)


def test_what_a_worker_keeps_through_a_rebalance_is_not_read_back(cluster):
    orders = cluster.topic("orders")
    first = cluster.start([orders], "0")
    first.owns([0, 1, 2, 3])
    cluster.write(orders, 400)
    cluster.wait_counted(400)
    second = cluster.start([orders], "1")
    first.owns([0, 1])
    second.owns([2, 3])
    cluster.write(orders, 400)
    cluster.wait_counted(800)
    assert second.end(signal.SIGTERM) == 0
    first.owns([0, 1, 2, 3])
    cluster.write(orders, 400)
    cluster.check_once(1_200)
    read = [event["partitions"] for event in first.events("restored")]
    assert read == [[0, 1, 2, 3], [2, 3]]


def test_what_another_worker_wrote_to_meanwhile_is_read_back(cluster):
    orders = cluster.topic("orders")
    limits = {"session_ms": 6_000, "transaction_timeout_ms": 6_000, "call_limit_s": 5}
    stopped = cluster.start([orders], "0", **limits)
    stopped.owns([0, 1, 2, 3])
    cluster.write(orders, 400)
    cluster.wait_counted(400)
    stopped.process.send_signal(signal.SIGSTOP)
    heir = cluster.start([orders], "1", **limits)
    heir.owns([0, 1, 2, 3])
    cluster.write(orders, 400)
    cluster.wait_counted(800)
    assert heir.end(signal.SIGTERM) == 0
    stopped.process.send_signal(signal.SIGCONT)
    cluster.write(orders, 400)
    cluster.check_once(1_200)
    read = [event["partitions"] for event in stopped.events("restored")]
    assert read == [[0, 1, 2, 3], [0, 1, 2, 3]]


def test_a_zombie_neither_repeats_nor_spoils(cluster):
    orders = cluster.topic("orders")
    limits = {"session_ms": 6_000, "transaction_timeout_ms": 6_000, "call_limit_s": 5}
    # it stops dead with its first transaction written and not committed
    zombie = cluster.start([orders], "0", crash=["before_commit", 1, signal.SIGSTOP], **limits)
    zombie.owns([0, 1, 2, 3])
    cluster.write(orders, 400)
    until(lambda: zombie.status() == "stopped")
    heir = cluster.start([orders], "1", **limits)
    heir.owns([0, 1, 2, 3])
    cluster.write(orders, 400)
    cluster.wait_counted(800)
    zombie.process.send_signal(signal.SIGCONT)
    cluster.write(orders, 400)
    until(lambda: zombie.process.poll() == 75 or heir.owns_now([2, 3]))
    cluster.write(orders, 400)
    cluster.check_once(1_600)


def test_an_outage_holds_one_input_and_nothing_else(cluster, tmp_path):
    orders, parcels = cluster.topic("orders"), cluster.topic("parcels")
    cluster.write(orders, 40)
    mended = tmp_path / "mended"
    cluster.write_one(orders, 1, b"w", f"wait {mended}".encode())
    cluster.write(orders, 400)
    worker = cluster.start([orders, parcels])
    cluster.write(parcels, 400)
    worker.wait_for("deferred", 2)
    # all but partition 1 of the input that waits (a batch is decided whole or not at all)
    cluster.wait_counted(30 + 300 + 400)
    assert not [row for row in cluster.counted() if row[1] == b"w"]
    mended.touch()
    cluster.wait_counted(841)
    cluster.check_once(841)
    assert {event["partition"] for event in worker.events("deferred")} == {1}
    assert len(worker.events("restored")) == 1


def test_offsets_that_are_called_pending_are_waited_for_until_their_log_has_ended_them(cluster):
    orders = cluster.topic("orders")
    cluster.write(orders, 40)
    with cluster.holding_offsets() as predecessor:
        worker = cluster.start([orders], idle=["coordinator"], stall_limit_s=4.0)
        until(lambda: worker.log().count("waiting for stable offsets") > 2)
        assert not worker.events("restored")
        predecessor.commit_transaction(20)
        worker.wait_for("restored")
    assert "by their log no transaction holds the group's offsets" in worker.log()
    cluster.check_once(40)


def test_a_second_worker_in_the_same_slot_ends_the_first_and_says_why(cluster):
    first = cluster.start([])
    first.owns([0, 1, 2, 3])
    second = cluster.start([])
    assert first.process.wait(30) == 75
    assert "give each a slot of its own" in first.log()
    second.owns([0, 1, 2, 3])


def test_an_agents_exception_ends_the_process_with_its_stacks(cluster):
    orders = cluster.topic("orders")
    worker = cluster.start([orders])
    worker.owns([0, 1, 2, 3])
    cluster.write_one(orders, 2, b"k", b"boom")
    assert worker.process.wait(30) == 75
    assert "lane: leaving the process (75): agent" in worker.log()
    assert "RuntimeError('boom')" in worker.log()
    assert "Current thread" in worker.log()
    assert cluster.counted() == []


def test_a_decision_that_can_never_be_written_ends_the_process_by_name(cluster):
    orders = cluster.topic("orders")
    worker = cluster.start([orders])
    worker.owns([0, 1, 2, 3])
    cluster.write_one(orders, 2, b"k", b"later")
    cluster.write_one(orders, 2, b"k", b"huge 2000000")
    for attempt in range(1, 6):  # what else there is commits in between
        worker.wait_for("deferred", attempt)
        cluster.write_one(orders, 0, b"k", b"x")
        cluster.wait_counted(attempt)
    assert worker.process.wait(30) == 75
    assert "5 tries of the same were aborted" in worker.log()
    assert f"record of 2000000 bytes for {cluster.out} 2" in worker.log()
    assert len(worker.events("aborted")) == len(worker.events("restored")) == 5
    assert cluster.check_no_repeats() == 5


def test_what_retention_took_is_told_and_never_skipped_in_silence(cluster):
    orders, late = cluster.topic("orders"), cluster.topic("late")
    cluster.write(orders, 40)
    worker = cluster.start([orders])
    cluster.wait_counted(40)
    assert worker.end(signal.SIGTERM) == 0
    cluster.write(orders, 40)
    cluster.forget(orders, 1, 15)
    cluster.write(late, 40)
    cluster.forget(late, 2, 4)
    worker = cluster.start([orders, late])
    cluster.wait_counted(40 + 35 + 36)
    gaps = cluster.wait_told(b"gap", lambda rows: len(rows) == 2)
    assert {(row[0], row[2].decode()) for row in gaps} == {
        (1, f"{orders} 10 15 retention"),
        (2, f"{late} 0 4 retention"),
    }
    assert "offsets 10 to 14 were gone before they were read" in worker.log()
    assert worker.end(signal.SIGTERM) == 0


def test_a_deadline_is_met_by_a_tick_once_everything_before_it_was_read(cluster, tmp_path):
    orders, parcels = cluster.topic("orders"), cluster.topic("parcels")
    worker = cluster.start([orders, parcels])
    worker.owns([0, 1, 2, 3])
    due = int(time.time() * 1000) + 800
    cluster.write_one(orders, 3, b"k", b"due %d" % due)
    # a first tick may only tell what time it is
    clocks = cluster.wait_told(b"clock", lambda rows: any(int(row[2]) >= due for row in rows))
    assert {row[0] for row in clocks} == {3}
    assert next(at for row in clocks if (at := int(row[2])) >= due) < due + 5_000
    assert {row[2].split()[0].decode() for row in cluster.told(b"read")} == {
        orders,
        parcels,
        cluster.control,
    }

    # an input that waits holds the whole up, the others are read through
    mended = tmp_path / "mended"
    cluster.write_one(parcels, 3, b"w", f"wait {mended}".encode())
    worker.wait_for("deferred")
    due = int(time.time() * 1000) + 300
    cluster.write_one(orders, 3, b"k", b"due %d" % due)
    cluster.wait_told(
        b"read",
        lambda rows: any(int(r[2].split()[1]) >= due and orders.encode() in r[2] for r in rows),
    )
    assert int(cluster.told(b"clock")[-1][2]) < due
    mended.touch()
    cluster.wait_told(b"clock", lambda rows: int(rows[-1][2]) >= due)
    cluster.check_once(3)


def test_regular_ticks_read_through_an_idle_partition_and_its_transaction_markers(cluster):
    orders = cluster.topic("orders")
    cluster.start([orders], tick_interval_s=0.5)
    cluster.wait_told(b"clock", lambda rows: {row[0] for row in rows} == {0, 1, 2, 3})
    cluster.write_in_transaction(orders, 8)
    written = int(time.time() * 1000)
    cluster.wait_told(
        b"clock",
        lambda rows: {row[0] for row in rows if int(row[2]) > written} == {0, 1, 2, 3},
    )
    cluster.check_once(8)
