"""A worker that makes no progress while it could ends itself and says why; all others go on."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from lane_cluster import Cluster, until

from pipeline.lane.stalls import LOOKS
from pipeline.local.stack import LocalStack

pytestmark = [pytest.mark.kafka]

LIMIT_S = 4


def left_by_the_watchdog(worker, why):
    assert worker.process.wait(60) == 75
    log = worker.log()
    assert f"lane: leaving the process (75): watchdog: {why}" in log
    # stacks of all threads: the one that leaves, and others
    assert "Current thread 0x" in log
    assert "\nThread 0x" in log
    return log


def test_an_agent_that_hangs_ends_the_process_with_its_stacks(cluster):
    orders = cluster.topic("orders")
    worker = cluster.start([orders], stall_limit_s=LIMIT_S)
    worker.owns([0, 1, 2, 3])
    cluster.write_one(orders, 2, b"k", b"hang")
    log = left_by_the_watchdog(worker, "no progress in 'agent'")
    assert "counter_app.py" in log.split("leaving the process")[1]
    assert cluster.counted() == []


def test_an_input_that_is_left_unread_ends_the_process_whatever_else_goes_on(cluster):
    orders, parcels = cluster.topic("orders"), cluster.topic("parcels")
    worker = cluster.start([orders, parcels], stall_limit_s=LIMIT_S)
    cluster.write(orders, 40)
    cluster.wait_counted(40)
    worker.say(f"leave {orders}")
    worker.wait_for("left", 4)
    cluster.write(orders, 40)
    written = 80

    def gone():
        nonlocal written
        cluster.write(parcels, 4)
        written += 4
        return worker.process.poll() is not None

    until(gone, 60, "leaving")
    log = left_by_the_watchdog(worker, f"nothing was read for {LIMIT_S} s")
    for partition in range(4):
        assert f"{orders}[{partition}]: position 10, a record at 10, end 20, lag 10" in log
    assert f"{parcels}[" not in log
    cluster.start([orders, parcels])
    cluster.check_once(written)


def test_joining_a_group_that_waits_for_nobody_ends_the_process(cluster):
    worker = cluster.start([], stall_limit_s=LIMIT_S, idle=["join"])
    left_by_the_watchdog(worker, f"joining for {LIMIT_S} s, though the group waits for nobody")


def test_a_state_that_is_left_unread_ends_the_process(cluster):
    orders = cluster.topic("orders")
    first = cluster.start([orders])
    cluster.write(orders, 40)
    cluster.wait_counted(40)
    assert first.end(signal.SIGTERM) == 0
    worker = cluster.start([orders], stall_limit_s=LIMIT_S, idle=["restore"])
    log = left_by_the_watchdog(worker, "no progress in 'changelog'")
    assert "nothing comes from the changelog, where another consumer reads" in log


def test_offsets_that_are_stable_for_others_only_end_the_process(cluster):
    worker = cluster.start([], stall_limit_s=LIMIT_S, idle=["offsets"])
    log = left_by_the_watchdog(worker, "no progress in 'stable offsets'")
    assert "the group's offsets are stable, and this consumer is not told so" in log


def test_a_worker_that_has_nothing_to_read_is_left_alone(cluster, tmp_path):
    """Idle, behind markers of transactions, behind an open one, and put off."""
    idle, marked, held, waiting = (
        cluster.topic(name) for name in ("idle", "marked", "held", "waiting")
    )
    mended = tmp_path / "mended"
    worker = cluster.start([idle, marked, held, waiting], stall_limit_s=LIMIT_S, tick_interval_s=1)
    cluster.write(idle, 8)
    cluster.write_in_transaction(marked, 8)
    cluster.write_one(waiting, 1, b"w", f"wait {mended}".encode())
    cluster.wait_counted(16)
    holder = open_transaction(cluster, held, 8)
    cluster.write(held, 8)
    # ticks go on: the control topic is read through several times the limit
    long_after = int(time.time() * 1000) + 4 * LIMIT_S * 1000
    name = cluster.control.encode()
    cluster.wait_told(
        b"read",
        lambda rows: any(name in row[2] and int(row[2].split()[1]) > long_after for row in rows),
        60,
    )
    assert len(cluster.counted()) == 16
    assert len(worker.events("assigned")) == 1
    mended.touch()
    holder.commit_transaction(20)
    cluster.check_once(16 + 1 + 16)
    assert worker.end(signal.SIGTERM) == 0


def test_a_restore_waits_for_somebodys_open_transaction(cluster):
    orders = cluster.topic("orders")
    holder = open_transaction(cluster, cluster.changelog, 4)
    worker = cluster.start([orders], stall_limit_s=LIMIT_S)
    waiting = "waiting for an open transaction in the changelog"
    # a quarter of the limit apart
    until(lambda: worker.log().count(waiting) >= 8, 60, waiting)
    holder.abort_transaction(20)
    worker.owns([0, 1, 2, 3])
    cluster.write(orders, 40)
    cluster.check_once(40)


def test_a_restore_waits_for_a_transaction_that_is_pending_on_the_offsets(cluster):
    orders = cluster.topic("orders")
    holder = open_transaction(cluster, orders, 4)
    group = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": cluster.name})
    place = TopicPartition(orders, 2, 0)
    holder.send_offsets_to_transaction([place], group.consumer_group_metadata(), 20)
    group.close()
    worker = cluster.start([orders], stall_limit_s=LIMIT_S)
    waiting = "waiting for stable offsets"
    # a quarter of the limit apart
    until(lambda: worker.log().count(waiting) >= 6, 60, waiting)
    holder.abort_transaction(20)
    worker.owns([0, 1, 2, 3])
    cluster.write(orders, 40)
    cluster.check_once(40)


def test_a_worker_waits_for_a_broker_that_is_away(tmp_path):
    cache = os.environ.get("MILEPOST_CACHE_DIR")
    with LocalStack(tmp_path / "stack", cache_dir=Path(cache) if cache else None) as local:
        cluster = Cluster(local.bootstrap, tmp_path)
        orders = cluster.topic("orders")
        worker = cluster.start([orders], stall_limit_s=LIMIT_S)
        try:
            cluster.write(orders, 40)
            cluster.wait_counted(40)
            (broker,) = local.brokers
            broker.kill()

            def unanswered():
                """Looks that the broker gave no answer to."""
                return len(re.findall(r"lookup Ask(?:Unread|Group): ", worker.log()))

            until(lambda: unanswered() > LOOKS, 120, "looks without an answer")
            assert worker.process.poll() is None
            assert "leaving the process" not in worker.log()
        finally:
            worker.close()
            cluster.reader.close()


def open_transaction(cluster, topic, count):
    """Records that nobody can read who reads committed ones, until their producer says more."""
    producer = Producer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "transactional.id": f"{cluster.name}-holder",
            "transaction.timeout.ms": 120_000,
        }
    )
    producer.init_transactions(20)
    producer.begin_transaction()
    for number in range(count):
        producer.produce(topic, b"1", b"nheld:%d" % (number % 4), number % 4)
    assert producer.flush(20) == 0
    return producer
