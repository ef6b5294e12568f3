"""Every peer: how it is started, with which options, and whether it can be here.

What a peer is given: a JSON file named by BENCH_RUN (topics, names, options, tables). What it owes:
a line `FIRST <seconds>` on standard output as soon as it holds a first record.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peers import java_peer, native

QUIX = "3.28.1"


class NotRunError(Exception):
    """The peer can't run on this machine; says why."""


@dataclass(frozen=True)
class Peer:
    """One program that is measured."""

    name: str
    command: Callable[[Path], list[str]]
    """Given the folder of kept downloads; raises NotRunError."""
    options: dict = field(default_factory=dict)
    environment: dict = field(default_factory=dict)
    work: str = "step"
    """step: the minimal step; copy: none at all; full: Milepost's own path."""
    share: float = 1.0
    """Part of the input that it gets, where all of it would take too long."""
    paced: bool = True
    what: str = ""


def module(name):
    """A peer that is a module here."""
    return lambda _folder: [sys.executable, "-m", f"benchmarks.peers.{name}"]


def java(folder):
    try:
        return java_peer.command(folder)
    except java_peer.NotBuiltError as error:
        raise NotRunError(str(error)) from error


def quix(folder):
    """Quix Streams in an environment of its own: its dependencies are not Milepost's."""
    home = folder / f"quix-{QUIX}"
    python = home / "bin" / "python"
    if not (home / ".ready").exists():
        made = [sys.executable, "-m", "venv", str(home)]
        install = [str(python), "-m", "pip", "install", "--quiet", f"quixstreams=={QUIX}"]
        for argv in (made, [*install, "fastavro"]):
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if done.returncode:
                raise NotRunError(f"Quix Streams can't be installed: {done.stderr.strip()[-500:]}")
        (home / ".ready").touch()
    return [str(python), "-m", "benchmarks.peers.quix_peer"]


def compiled(folder):
    """The lane with the compiled step, from the folder that it was built into."""
    try:
        built = native.folder_of(folder)
    except native.NotBuiltError as error:
        raise NotRunError(str(error)) from error
    return ["env", f"PYTHONPATH={built}", *module("milepost_minimal")(folder)]


def streams(name, store, commit_ms, what):
    options = {"store": store, "commit_ms": commit_ms, "threads": 1}
    paced = commit_ms <= 100  # how late a commit every second is, is known
    return Peer(name, java, options, paced=paced, what=f"Kafka Streams, {what}")


def faust(name, guarantee, what):
    options = {"guarantee": guarantee, "partitions": 4}
    return Peer(
        name, module("faust_peer"), options, share=0.02, paced=False, what=f"stock Faust, {what}"
    )


PEERS = (
    streams("kafka-streams-memory", "memory", 100, "store in memory, commit every 100 ms"),
    streams("kafka-streams-rocksdb", "rocksdb", 100, "RocksDB, commit every 100 ms"),
    streams("kafka-streams-memory-1s", "memory", 1000, "store in memory, commit every second"),
    streams("kafka-streams-rocksdb-1s", "rocksdb", 1000, "RocksDB, commit every second"),
    Peer("by-hand", module("by_hand"), {"batch": 10_000, "wait_s": 0.05},
         what="loop by hand: confluent-kafka and fastavro"),
    Peer("quix", quix, {"commit_s": 1.0}, share=0.2,
         what=f"Quix Streams {QUIX}, exactly once, RocksDB, commit every second"),
    faust("faust-stock", "exactly_once", "exactly once"),
    faust("faust-stock-at-least-once", "at_least_once", "at least once"),
    Peer("milepost-full", module("milepost_full"), work="full",
         what="Milepost, full path"),
    Peer("milepost-full-pure", module("milepost_full"), environment={"MILEPOST_PURE": "1"},
         work="full", what="Milepost, full path, pure Python"),
    Peer("milepost-minimal", compiled, {"kernel": native.NAME},
         what="minimal step on Milepost's lane, compiled"),
    Peer("milepost-minimal-pure", module("milepost_minimal"),
         {"kernel": "benchmarks.peers.spliced"},
         what="minimal step on Milepost's lane, pure Python"),
    Peer("limit", module("limit"), {"batch": 20_000, "wait_s": 0.02}, work="copy", paced=False,
         what="consume and produce in transactions, no work"),
)  # fmt: skip


GOVERNOR = Peer(
    "governor",
    lambda _folder: [sys.executable, "-m", "pipeline.cli.main", "run", "governor"],
    work="full",
    what="governor under its supervisor, as an operator starts it",
)
"""Not compared: it says no FIRST."""


def chosen(names):
    """Peers by name, in the catalogue's order.

    Raises:
        SystemExit: there is no peer of such a name.

    """
    known = {peer.name: peer for peer in PEERS}
    unknown = set(names) - known.keys()
    if unknown:
        raise SystemExit(f"no peer {', '.join(sorted(unknown))}: choose of {', '.join(known)}")
    return [peer for peer in PEERS if not names or peer.name in names]
