"""The faults of a campaign, with how often each happens in the short and in the long run."""

from __future__ import annotations

from dataclasses import dataclass

import database_faults as databases
import host_faults as host
import log_faults as logs
import network_faults as network
import process_faults as processes
import record_faults as records
import registry_faults as registry
import restarts
from crash_points import ERP, GOVERNOR, PORTAL
from deadly_record import HAS_PLAIN
from process_faults import Act
from running import CRASHED, LEFT


@dataclass(frozen=True)
class Fault:
    """One kind of fault."""

    name: str
    short: int
    """How often in the short run."""
    long: int
    """How often in the long run, if there is time."""
    act: Act
    postgres: bool = False
    """Whether it is PostgreSQL's."""
    ends: frozenset[int] = frozenset()
    """Exit codes of processes that it ends by what it does, beside those that it kills itself."""


LEAVES = frozenset({LEFT})
"""Of faults that a worker may meet by leaving: what became of a call to the broker is not known."""
PLAIN_PATH_DIES = Fault(
    "record kills the plain path", 1, 10, records.kills_the_plain_path, ends=frozenset({CRASHED})
)
"""Of those only where there is a plain path."""
FAULTS = [
    Fault("two governors killed at random", 5, 50, processes.kill_workers),
    *(Fault(f"governor dies {p.replace('_', ' ')}", 1, 10, processes.dies_at(p)) for p in GOVERNOR),
    Fault("governor dies while commits overlap", 1, 10, processes.dies_overlapping),
    Fault("transaction aborts", 1, 10, processes.abort),
    *(
        Fault(f"{p.replace('_', ' dies ', 1).replace('_', ' ')}", 1, 10, processes.sink_dies_at(p))
        for p in PORTAL + ERP
    ),
    Fault("PostgreSQL killed", 1, 30, databases.kill_server, postgres=True),
    Fault("PostgreSQL killed in transaction", 1, 15, databases.kill_amid, postgres=True),
    Fault("supervisor killed", 1, 10, processes.kill_supervisor),
    Fault("sinks and ERP killed", 1, 10, processes.kill_sinks),
    Fault("governor stopped beyond its session", 1, 10, processes.stop_beyond_session, ends=LEAVES),
    Fault(
        "governor stopped before produce", 1, 5, processes.stops_at("before_produce"), ends=LEAVES
    ),
    Fault("governor stopped before commit", 1, 5, processes.stops_at("before_commit"), ends=LEAVES),
    Fault("broker killed", 2, 50, processes.kill_broker, ends=LEAVES),
    Fault("connections reset", 2, 30, network.cut, ends=LEAVES),
    Fault("connections half open", 1, 10, network.half_open, ends=LEAVES),
    Fault("network slow", 2, 15, network.delay, ends=LEAVES),
    Fault("network stalled one way", 1, 15, network.stall, ends=LEAVES),
    Fault("network stalled one way, long", 0, 10, network.stall_long, ends=LEAVES),
    Fault("end of transaction answered late", 3, 15, network.delay_ends, ends=LEAVES),
    Fault("end of transaction answered too late", 1, 15, network.delay_ends_long, ends=LEAVES),
    Fault("member joins or leaves", 10, 100, processes.join_or_leave),
    Fault("deliveries fail", 1, 10, processes.deliveries_fail, ends=LEAVES),
    *(Fault(f"registry {k}", 1, 5, registry.while_running(k)) for k in registry.KINDS),
    Fault("registry wrong at start", 1, 20, registry.at_start),
    Fault("poison", 1, 20, records.poison),
    Fault("record kills the decoder", 1, 10, records.kills_the_decoder, ends=frozenset({CRASHED})),
    *([PLAIN_PATH_DIES] if HAS_PLAIN else []),
    Fault("sent again", 1, 20, records.repeat),
    Fault("shuffled within 1,000", 1, 20, records.shuffle),
    Fault("burst", 1, 10, records.burst),
    Fault("clock wrong", 2, 10, host.clock_wrong),
    Fault("disk full for a governor", 1, 5, host.disk_full_for_worker),
    Fault("disk full for the sinks", 1, 5, host.disk_full_for_sinks),
    Fault("retention runs out", 1, 5, logs.retention_runs_out),
    Fault("cold start, static", 1, 250, restarts.cold_start("static")),
    Fault("cold start, dynamic", 1, 250, restarts.cold_start("dynamic")),
    Fault("rolling restart, static", 1, 50, restarts.rolling("static")),
    Fault("rolling restart, dynamic", 0, 50, restarts.rolling("dynamic")),
    Fault("input idle beyond its offsets", 1, 1, logs.input_stays_idle),
]
"""In the order of the short run; the last one needs time to have passed."""
