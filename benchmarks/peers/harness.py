"""One measured run of one peer: start it, watch how far its outputs are stable, check every byte.

The window of a drain goes from the first record in the peer's hands to the last move of any
output's stable end. Starting, joining and stopping lie outside; a JVM's warm-up inside.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from benchmarks.peers import full_check, meters, step
from benchmarks.peers import spec as telling
from benchmarks.peers.workload import MASK, TOPICS
from pipeline.contract import names

ROOT = Path(__file__).parents[2]
LOOK_S = 0.05
SETTLED_S = 3.0
STALL_S = 60.0
START_S = 90.0
STOP_S = 25.0
OUTPUTS = ("approved", "rejected", "undecodable")
REASONS = {"approved": None, "rejected": step.NOT_OWNER, "undecodable": step.NOT_READ}


@dataclass
class Sample:
    """Readings of the meters at one moment."""

    at: float
    worker_s: float
    broker_s: float
    others_s: float


@dataclass
class Measured:
    """What one run brought. Times in seconds, memory in MiB."""

    peer: str
    records: int
    exact: bool = False
    why: str = ""
    """What was not exact, or why there is no figure."""
    wall_s: float | None = None
    worker_cpu_s: float | None = None
    broker_cpu_s: float | None = None
    foreign_cores: float | None = None
    peak_rss_mib: float | None = None
    latencies_ms: list = field(default_factory=list)
    rate: int | None = None

    @property
    def events_per_s(self):
        return self.records / self.wall_s

    @property
    def cpu_per_million(self):
        return self.worker_cpu_s / self.records * 1e6

    @property
    def broker_cpu_per_million(self):
        return self.broker_cpu_s / self.records * 1e6


class Worker:
    """A peer's process."""

    def __init__(self, argv, env, log):
        self.first = threading.Event()
        self.first_at = None
        self.first_cpu_s = 0.0
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=stderr, text=True
            )
        self.pid = self.process.pid
        self._log = log
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            if line.startswith("FIRST") and not self.first.is_set():
                _, at, *cpu_s = line.split()
                self.first_at = float(at)
                self.first_cpu_s = float(cpu_s[0]) if cpu_s else meters.cpu_s([self.pid])
                self.first.set()

    @property
    def alive(self):
        return self.process.poll() is None

    def said(self):
        return self._log.read_text("utf-8", errors="replace")[-2000:]

    def stop(self):
        """End it in order, or else at once."""
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(5)
        self.process.stdout.close()


class Run:
    """One peer on one cluster.

    Args:
        cluster: where.
        peer: from the catalogue.
        folders: `kept` for downloads, `work` for logs and states.
        inputs: the four input topics; those of Milepost for its own path.

    """

    def __init__(self, cluster, peer, folders, inputs=TOPICS):
        self.cluster = cluster
        self.peer = peer
        self.name = f"bench-{peer.name}-{uuid.uuid4().hex[:6]}"
        self.inputs = inputs
        self._folders = folders
        self._state = folders.work / "states" / self.name
        self.log = folders.work / "logs" / f"{self.name}.log"
        self._argv = peer.command(folders.kept)
        self.workers = []
        if peer.work == "full":
            self.outputs = {"approved": names.APPROVED, "undecodable": names.DEAD_LETTER}
        else:
            self.outputs = {name: f"{self.name}.{name}" for name in OUTPUTS}

    def prepare(self, *, raw=False, publish=True):
        """Make the topics of this run: fresh outputs, and nothing else of an earlier one.

        Args:
            raw: whether Milepost's raw topics are emptied too.
            publish: whether a policy is in force at once.

        """
        self._state.mkdir(parents=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.peer.work == "full":
            self.cluster.fresh_governed(raw=raw, publish=publish)
            return
        self.cluster.create([*self.outputs.values(), f"{self.name}.control"])
        self.cluster.create([f"{self.name}.changelog"], **{"cleanup.policy": "compact"})

    def start(self, slot="0"):
        """Start one worker."""
        told = {
            "bootstrap": self.cluster.bootstrap,
            "name": self.name,
            "slot": slot,
            "inputs": list(self.inputs),
            **{name: f"{self.name}.{name}" for name in (*OUTPUTS, "changelog", "control")},
            "state_dir": str(self._state / slot),
            "options": self.peer.options,
            "spec": telling.spec(self.cluster.raw_id),
        }
        (self._state / slot).mkdir(exist_ok=True)
        path = self._state / f"run-{slot}.json"
        path.write_text(json.dumps(told), "utf-8")
        env = os.environ | {
            "BENCH_RUN": str(path),
            "MILEPOST_BOOTSTRAP_SERVERS": self.cluster.bootstrap,
            "MILEPOST_REGISTRY_URL": self.cluster.stack.registry_url,
            "MILEPOST_STATE_DIR": str(self._state / slot),
            "MILEPOST_TOPICS_FILE": str(self.cluster.topics_file),
            "MILEPOST_GOVERNOR_GROUP": self.name,
            "MILEPOST_GOVERNOR_SLOT": slot,
            "MILEPOST_LOG_LEVEL": "WARNING",
            **self.peer.environment,
        }
        worker = Worker(self._argv, env, self.log)
        self.workers.append(worker)
        return worker

    def stop(self):
        """End the workers."""
        for worker in self.workers:
            worker.stop()

    def clean(self):
        """Remove what the run leaves behind, its log apart."""
        shutil.rmtree(self._state, ignore_errors=True)
        self.cluster.delete_named(self.name)

    @property
    def pids(self):
        return [worker.pid for worker in self.workers]

    def sample(self):
        """Read the meters."""
        workers, broker = meters.cpu_s(self.pids), meters.cpu_s([self.cluster.broker_pid])
        own = meters.cpu_s([os.getpid()])
        return Sample(time.time(), workers, broker, meters.machine_s() - workers - broker - own)

    def ends(self):
        """Stable ends of the outputs."""
        return self.cluster.ends(self.outputs.values())

    def check(self, truth):
        """What is wrong with the outputs; nothing if they are exact."""
        if self.peer.work == "full":
            return full_check.faults(self.cluster, truth)
        if self.peer.work == "copy":
            found = read_sums(self.cluster.bootstrap, {"approved": self.outputs["approved"]})
            count, total, _ = found["approved"]
            right = count == truth["count"] and total == truth["input"]
            return "" if right else f"{count} copies with another sum"
        return step_faults(read_sums(self.cluster.bootstrap, self.outputs), truth)


def read_sums(bootstrap, topics):
    """Count, sum over keys and values, and wrong reasons of each output, as committed."""
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"bench-check-{uuid.uuid4().hex[:6]}",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    found = {name: [0, 0, 0] for name in topics}
    by_topic = {topic: name for name, topic in topics.items()}
    places = [
        TopicPartition(topic, number, OFFSET_BEGINNING)
        for topic in by_topic
        for number in reader.list_topics(topic, 10).topics[topic].partitions
    ]
    reader.assign(places)
    left = len(places)
    while left:
        for message in reader.consume(20_000, 1):
            if message.error():
                left -= 1
                continue
            name = by_topic[message.topic()]
            sums = found[name]
            sums[0] += 1
            sums[1] = (sums[1] + zlib.crc32(message.key() + message.value())) & MASK
            reason = REASONS[name]
            if reason is not None and dict(message.headers() or ()).get("reason") != reason:
                sums[2] += 1
    reader.close()
    return found


def step_faults(found, truth):
    """What of the minimal step's outputs is not as it must be."""
    faults = []
    for name, (count, total, wrong) in found.items():
        if count != truth["counts"][name]:
            faults.append(f"{name}: {count} records instead of {truth['counts'][name]}")
        elif total != truth["sums"][name]:
            faults.append(f"{name}: other bytes")
        if wrong:
            faults.append(f"{name}: {wrong} without their reason")
    return "; ".join(faults)


def drain(run, truth, quiet_s, *, audited=False):
    """Let a peer work off an input that lies ready.

    Args:
        run: prepared.
        truth: what must come out.
        quiet_s: how long to wait for a quiet machine, at most.
        audited: whether `milepost verify` looks at Milepost's own path too.

    """
    meters.wait_quiet([run.cluster.broker_pid, os.getpid()], quiet_s)
    try:
        run.start()
        found = watch(run, truth)
    finally:
        run.stop()
    if not found.why:
        found.why = run.check(truth)
    if not found.why and audited and run.peer.work == "full":
        found.why = full_check.audit(run.cluster)
    found.exact = not found.why
    return found


def expected(peer, truth):
    """How many records a peer's outputs have in the end."""
    if peer.work == "copy":
        return truth["count"]
    kinds = ("approved", "undecodable") if peer.work == "full" else OUTPUTS
    return sum(truth["counts"][kind] for kind in kinds)


def watch(run, truth):
    """Follow the workers of a run until everything is out; their figures, unchecked."""
    found, needed = Measured(run.peer.name, truth["count"]), expected(run.peer, truth)
    found.why = _begun(run)
    if found.why:
        return found
    start = last = run.sample()
    before = None
    while True:
        ends, now = run.ends(), time.time()
        if ends != before:
            before, last = ends, run.sample()
            last.at = now
        if sum(ends.values()) >= needed and now - last.at > SETTLED_S:
            break
        found.why = _ended(run)
        if not found.why and now - last.at > STALL_S:
            found.why = f"no progress for {STALL_S:.0f} s at {sum(ends.values())} of {needed}"
        if found.why:
            return found
        time.sleep(LOOK_S)
    began = [worker for worker in run.workers if worker.first.is_set()]
    found.wall_s = last.at - min(worker.first_at for worker in began)
    found.worker_cpu_s = last.worker_s - sum(worker.first_cpu_s for worker in began)
    found.broker_cpu_s = last.broker_s - start.broker_s
    found.foreign_cores = max(0.0, last.others_s - start.others_s) / found.wall_s
    found.peak_rss_mib = sum(meters.peak_rss_mib(pid) or 0 for pid in run.pids)
    return found


def _begun(run):
    """Wait for a first record; why there is none."""
    until = time.time() + START_S
    while not any(worker.first.is_set() for worker in run.workers):
        why = _ended(run)
        if why:
            return why
        if time.time() > until:
            return "no first record"
        time.sleep(0.01)
    return ""


def _ended(run):
    gone = [worker for worker in run.workers if not worker.alive]
    return f"the worker ended: {gone[0].said()}" if gone else ""


def say(text):
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
