"""What a campaign happens in: a cluster, a registry, governors, sinks, their databases, an ERP,
traffic, a witness.

Every process is started as production starts it, and can be started anew at any time. `heal` brings
everything back to how it should be; then everything that was sent has to be decided.
"""

from __future__ import annotations

import copy
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Collection
from pathlib import Path
from unittest.mock import patch

from governed_stack import Governed, until
from paced_traffic import PacedTraffic
from postgres_cluster import BINARIES, PostgresCluster
from posting_rules import write_posting_rules
from proxied_broker import ProxiedBroker
from running import RESTARTS_MAX, End, Governor, Running
from tcp_proxy import TcpProxy
from witness import Witness

from pipeline.contract import codec
from pipeline.local.ports import http_answers, unused
from pipeline.local.stack import LocalStack

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MILEPOST = (sys.executable, "-m", "pipeline.cli.main")
SLOTS = ("0", "1")
HEAL_S = 90.0


class Arena(Governed):
    """The stack, with everything that a campaign needs beside it.

    Args:
        seed: of the traffic.
        rate: events a second.

    """

    WATCH = Witness

    def __init__(self, seed: int, rate: float = 100.0) -> None:
        ports = (unused(), unused())
        self.proxy = TcpProxy(ports[1], ports[0])
        with patch("pipeline.local.stack.Broker", lambda *a, **k: ProxiedBroker(ports, *a, **k)):
            super().__init__()
        self.witness: Witness = self.watch
        self.proxied = f"127.0.0.1:{ports[1]}"
        self.exits: Counter[str] = Counter()
        """Of processes that had to be started again from outside."""
        self.left: Counter[str] = Counter()
        """Ends that nobody asked for, but that a fault causes: by name and exit code."""
        self._ends: list[End] = []
        self.waits_ms: dict[str, list[int]] = defaultdict(list)
        """How long good records waited for their verdict, by what was beside them."""
        self.lost: set[tuple[str, int, int]] = set()
        """Topic, partition and first offset of what retention took on purpose."""
        self.strangers: set[bytes] = set()
        """Keys of records that are no part of any world."""
        self._with: dict[str, int] = {}
        self.group = "milepost-governor"
        self.publish(self.bundle)
        self.governors = {slot: self.governor(slot) for slot in SLOTS}
        self.guests: dict[str, Governor] = {}
        """Further workers, by slot; bare ones, and nobody starts them again."""
        self.erp = self._run("erp", "simulated-erp", str(unused()))
        self.erp_url = f"http://127.0.0.1:{self.erp.argv[-1]}"
        self.portals = [self._run("portal-sink", "sink", "portal")]
        """Of a portal on SQLite and, once open, of one on PostgreSQL, where that is installed."""
        self.postgres: PostgresCluster | None = None
        self.erp_sink = self._run(
            "erp-sink",
            *("sink", "erp"),
            MILEPOST_ERP_URL=self.erp_url,
            MILEPOST_POLICY_DIR=str(write_posting_rules(self.folder / "policy")),
        )
        self.traffic = PacedTraffic(self, seed, rate)

    @property
    def stack(self) -> LocalStack:
        return self._stack

    @property
    def processes(self) -> list[Running]:
        return [self.erp, *self.governors.values(), *self.portals, self.erp_sink]

    # Records that are no part of a world

    def put_stranger(self, topic: str, key: bytes, value: bytes) -> tuple[str, int, int]:
        """Write bytes of an entity that no world knows; their place."""
        self.strangers.add(key)
        return self.put(topic, key, value)

    def fate_of(self, place: tuple[str, int, int], seconds: float = HEAL_S) -> tuple[str, str]:
        """The verdict on the record at a place, once there is one."""
        topic, number, offset = place
        verdicts = self.witness.verdicts[topic, number]
        return self.witness.until(lambda: verdicts.get(offset), seconds, f"a verdict on {place}")

    def schema_with(self, name: str, field: object) -> int:
        """Registry id of the raw event with one more field, under a subject of nobody's topic."""
        if name not in self._with:
            definition = copy.deepcopy(codec.definition("raw-event"))
            definition["fields"].append(
                {"name": name, "type": field, "doc": "More", "default": None}
            )
            self._with[name] = self.registry.register(f"strange-{name}-value", definition)
        return self._with[name]

    # Processes

    def open(self) -> None:
        """Start everything; returns once events are decided about."""
        if BINARIES is not None:
            self._open_postgres()
        for process in self.processes:
            process.start()
        self.erp_is_up()
        self.traffic.start()
        self.more(300)

    def close(self) -> None:
        self.traffic.stop()
        started = [p for p in (*self.guests.values(), *self.processes) if p.process is not None]
        for running in started:
            running.ask_to_end()
        for running in started:
            running.stop()
        if self.postgres is not None:
            self.postgres.close()
        self.proxy.close()
        super().close()

    def _open_postgres(self) -> None:
        self.postgres = PostgresCluster()
        self.postgres.start()
        name = "portal-postgresql"
        store = {
            "MILEPOST_PORTAL_DATABASE_URL": self.postgres.create(),
            "MILEPOST_PORTAL_GROUP": f"milepost-{name}",
        }
        self.portals.append(self._run(name, "sink", "portal", **store))

    def governor(self, slot: str) -> Governor:
        """A worker slot; not started."""
        governor = Governor(
            f"governor-{slot}",
            (*MILEPOST, "run", "governor", "--slot", slot),
            self.environment(
                MILEPOST_GOVERNOR_SLOT=slot,
                MILEPOST_BOOTSTRAP_SERVERS=self.proxied,
                MILEPOST_TRANSACTION_TIMEOUT_MS="5000",
                MILEPOST_GOVERNOR_SESSION_MS="3000",
                MILEPOST_GOVERNOR_LINGER_MS="80",
            ),
            self.folder / f"governor-{slot}.log",
            self._ends,
        )
        governor.group = lambda: self.group
        return governor

    @staticmethod
    def spoiled(entry: str, *arguments: str) -> tuple[str, ...]:
        """The command of a bare worker that a module of this folder has spoiled."""
        own = (sys.executable, str(HERE / entry), *arguments)
        return (*own, "--", "run", "governor", "--worker")

    @staticmethod
    def spoiled_supervisor(entry: str, *arguments: str) -> tuple[str, ...]:
        """The command of a supervisor whose workers a module of this folder has spoiled."""
        return (sys.executable, str(HERE / entry), *arguments, "--", "run", "governor")

    def spoiled_sink(self, sink: Running, entry: str, *arguments: str) -> tuple[str, ...]:
        """The command of a sink that a module of this folder has spoiled."""
        return (sys.executable, str(HERE / entry), *arguments, "--", *sink.argv[len(MILEPOST) :])

    def broker(self, number: int = 0):
        return self.stack.brokers[number]

    # What should be

    def heal(self) -> None:
        """Put everything back to how it should be."""
        self.gate.closed, self.gate.status, self.gate.slow_s = False, 503, 0.0
        self.proxy.calm()
        for broker in self.stack.brokers:
            if broker.pid is None:
                broker.start()
        for broker in self.stack.brokers:
            broker.wait_ready()
        if self.postgres is not None and not self.postgres.running:
            self.postgres.start()
        for process in self.processes:
            if not process.running:
                self._start_again(process)
        for governor in self.governors.values():
            if governor.restarts >= RESTARTS_MAX:
                governor.ask_to_end({1})  # its worker may be leaving by itself at this moment
                governor.start()

    def _start_again(self, process: Running) -> None:
        """Start what has ended, as it should run."""
        process.judge()
        if process.process is not None:
            self.exits[f"{process.name} {process.process.exit_code()}"] += 1
        process.start()

    def _stand_in(self) -> None:
        """Start governors again that a fault left without a supervisor to do so."""
        for governor in self.governors.values():
            if governor.bare and not governor.running:
                self._start_again(governor)

    def all_members(self, seconds: float) -> None:
        """Wait until every governor says that it belongs to the group."""

        def inside() -> bool:
            self._stand_in()
            return all(governor.is_member() for governor in self.governors.values())

        until(inside, seconds, "every governor belongs to the group")

    def unasked(self, caused: Collection[int]) -> list[str]:
        """Ends since it was last called that neither a test nor its fault asked for.

        Args:
            caused: exit codes that the fault causes.

        """
        for process in (*self.guests.values(), *self.processes):
            process.judge()
        ends = self._ends[:]
        self._ends.clear()
        self.left.update(f"{end.name} {end.code}" for end in ends if end.code in caused)
        return [str(end) for end in ends if end.code not in caused]

    def stop_governors(self) -> None:
        """End all of them in order."""
        governors = [
            governor
            for governor in (*self.guests.values(), *self.governors.values())
            if governor.process is not None
        ]
        for governor in governors:
            governor.ask_to_end()
        for governor in governors:
            governor.stop()
        self.guests.clear()

    def decided(self, seconds: float = HEAL_S) -> None:
        """Wait until everything that was acknowledged by now is decided about."""
        due = {place: list(offsets[-1:]) for place, offsets in list(self.traffic.acked.items())}

        def done() -> bool:
            self._stand_in()
            return self.witness.decided_up_to(due)

        try:
            self.witness.until(done, seconds, "a verdict on what was sent")
        except AssertionError as error:
            raise AssertionError(f"{error}; {self._silence()}") from None

    def more(self, records: int, seconds: float = HEAL_S) -> None:
        """Wait until so many more records are decided about."""
        goal = self.witness.decided + records
        try:
            self.witness.until(
                lambda: self.witness.decided >= goal, seconds, f"{records} more verdicts"
            )
        except AssertionError as error:
            raise AssertionError(f"{error}; {self._silence()}") from None

    def _silence(self) -> str:
        """What the governors said last, for whoever asks why nothing goes on."""
        return "; ".join(
            f"{governor.name} ({'runs' if governor.running else 'has ended'}): "
            f"{governor.said()[-1_500:]}"
            for governor in self.governors.values()
            if governor.process is not None
        )

    def _run(self, name: str, *arguments: str, **env: str) -> Running:
        log = self.folder / f"{name}.log"
        argv = (*MILEPOST, "run", *arguments)
        return Running(name, argv, self.environment(**env), log, self._ends)

    def erp_is_up(self) -> None:
        until(lambda: http_answers(f"{self.erp_url}/summary"), 30, "the ERP")


def lasts(seconds: float) -> None:
    """Let a fault last."""
    time.sleep(seconds)
