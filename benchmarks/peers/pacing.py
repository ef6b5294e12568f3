"""A paced run: records come at a rate while the peer runs; how long until each can be read.

Latency goes from a raw record's append to the moment at which a reader of committed records holds
what was approved of it. Everything before `WARM_S` is left out.
"""

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from benchmarks.peers import harness, meters, workload
from pipeline.contract import codec

WARM_S = 5.0
JOIN_S = 8.0
"""What a worker is given to start and join before the first record."""
ROOM_S = 60.0
EVENT_ID = slice(6, 42)
SLOW = 20_000


def percentiles(values, wanted=(0.5, 0.99, 0.999)):
    """Percentiles of these values, by the nearest rank."""
    ordered = sorted(values)
    return [ordered[min(len(ordered) - 1, int(part * len(ordered)))] for part in wanted]


class Reader(threading.Thread):
    """Reads approved records as they become stable, and notes when."""

    def __init__(self, cluster, topic):
        super().__init__(daemon=True)
        self.batches = []
        self.count = 0
        self._halt = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": cluster.bootstrap,
                "group.id": f"bench-latency-{uuid.uuid4().hex[:6]}",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "fetch.min.bytes": 1,
                "fetch.queue.backoff.ms": 10,
            }
        )
        places = [
            TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(cluster.partitions)
        ]
        self._consumer.assign(places)

    def run(self):
        while not self._halt.is_set():
            found = self._consumer.consume(1, 0.2)
            if found:
                found += self._consumer.consume(50_000, 0)
                now = time.time() * 1000
                found = [message for message in found if not message.error()]
                self.take(now, found)
                self.count += len(found)
        self._consumer.close()

    def take(self, now_ms, messages):
        """Keep what came."""
        self.batches.append((now_ms, [message.value() for message in messages]))

    def stop(self):
        self._halt.set()
        self.join(20)


def appended(cluster, topics):
    """When each record of the input was appended (ms), by event id, and the first of them."""
    reader = Consumer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "group.id": f"bench-appended-{uuid.uuid4().hex[:6]}",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    places = [
        TopicPartition(topic, number, OFFSET_BEGINNING)
        for topic in topics
        for number in range(cluster.partitions)
    ]
    reader.assign(places)
    left, found = len(places), {}
    while left:
        for message in reader.consume(20_000, 1):
            if message.error():
                left -= 1
            else:
                found.setdefault(message.value()[EVENT_ID], message.timestamp()[1])
    reader.close()
    return found


def event_ids(peer, values):
    """The raw events that these approved records are about."""
    if peer.work != "full":
        return (value[EVENT_ID] for value in values)
    schema = codec.committed("approved-milestone")
    return (codec.decode(value, schema)["source_event_id"].encode() for value in values)


def latencies(peer, batches, times):
    """Milliseconds from append to reading, without the warm-up."""
    begin = min(times.values()) + WARM_S * 1000
    found = []
    for at, values in batches:
        for event_id in event_ids(peer, values):
            was = times[event_id]
            if was >= begin:
                found.append(at - was)
    return found


def start_pacer(run, path, plan):
    """Start the process that writes records: rate and count, one after the other."""
    told = [run.cluster.bootstrap, str(path), json.dumps(plan), json.dumps(run.inputs)]
    argv = [sys.executable, "-m", "benchmarks.peers.pacing", *told]
    return subprocess.Popen(argv, cwd=harness.ROOT)


def paced(run, path, truth, rate, quiet_s):
    """Run a peer against records that come at a rate.

    Args:
        run: prepared, with empty inputs.
        path: the workload's file.
        truth: of so many of its first records.
        rate: records per second.
        quiet_s: how long to wait for a quiet machine, at most.

    """
    found = harness.Measured(run.peer.name, truth["count"], rate=rate)
    meters.wait_quiet([run.cluster.broker_pid, os.getpid()], quiet_s)
    worker, reader = run.start(), Reader(run.cluster, run.outputs["approved"])
    reader.start()
    pacer = None
    try:
        time.sleep(JOIN_S)
        start = run.sample()
        pacer = start_pacer(run, path, [(rate, truth["count"])])
        needed, until = truth["counts"]["approved"], time.time() + truth["count"] / rate + ROOM_S
        while reader.count < needed and time.time() < until and worker.alive:
            time.sleep(0.05)
        last = run.sample()
        found.wall_s = last.at - start.at
        found.worker_cpu_s = last.worker_s - start.worker_s
        found.broker_cpu_s = last.broker_s - start.broker_s
        found.peak_rss_mib = meters.peak_rss_mib(worker.pid)
        if not worker.alive:
            found.why = f"the worker ended: {worker.said()}"
        time.sleep(harness.SETTLED_S)
    finally:
        if pacer is not None:
            pacer.wait(120)
        reader.stop()
        run.stop()
    found.why = found.why or run.check(truth)
    found.exact = not found.why
    if reader.count:
        times = appended(run.cluster, run.inputs)
        found.latencies_ms = latencies(run.peer, reader.batches, times)
    return found


def pace(bootstrap, path, plan, topics):
    """Write records at the planned rates, each at its time; a little late rather than early."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "linger.ms": 1,
            "acks": "all",
            "queue.buffering.max.messages": 2_000_000,
            "queue.buffering.max.kbytes": 1_048_576,
        }
    )
    records = list(workload.read(path, sum(count for _, count in plan)))
    first = 0
    for rate, count in plan:
        began, sent = time.monotonic(), 0
        while sent < count:
            due = max(sent, min(count, int((time.monotonic() - began) * rate) + 1))
            for topic, key, value in records[first + sent : first + due]:
                producer.produce(topics[topic], value, key)
            sent = due
            producer.poll(0)
            time.sleep(0.001 if rate < SLOW else 0.003)
        first += count
    producer.flush(60)


if __name__ == "__main__":
    pace(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]), json.loads(sys.argv[4]))
