"""The lane against a real broker: what it promises, with workers in processes of their own."""

import signal

import pytest

pytestmark = [pytest.mark.kafka]


def test_counts_records_of_several_inputs_once(cluster):
    orders, parcels = cluster.topic("orders"), cluster.topic("parcels")
    cluster.write(orders, 3_000)
    worker = cluster.start([orders, parcels])
    cluster.write(parcels, 500)
    cluster.wait_counted(3_500)
    cluster.check_once(3_500)
    assert worker.end(signal.SIGTERM) == 0


def test_an_input_added_while_running_is_read_from_its_beginning_without_a_rebalance(cluster):
    orders, late = cluster.topic("orders"), cluster.topic("late")
    cluster.write(orders, 400)
    cluster.write(late, 400)
    worker = cluster.start([orders])
    cluster.wait_counted(400)
    worker.say(f"inputs {orders} {late}")
    assert worker.wait_for("inputs")["names"] == sorted([orders, late, cluster.control])
    cluster.write(orders, 400)
    cluster.write(late, 100)
    cluster.wait_counted(1_300)
    cluster.check_once(1_300)
    assert len(worker.events("assigned")) == 1
    assert worker.end(signal.SIGTERM) == 0
