"""Settings of a lane, and the errors that end one.

Knows neither a client library nor Faust.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .model import Tick

EX_CONFIG = 78
"""Exit code of a worker that can't run as it is configured: starting it again is no remedy."""

EX_TEMPFAIL = 75
"""Exit code of a worker that left on purpose, for a fresh process to take over."""


class LaneError(Exception):
    """The lane can't go on in this process; a fresh one may."""


class TopicRefusedError(LaneError):
    """A topic can't be read (or written) as it is: the message names it and the remedy."""

    def __init__(self, topic: str, why: str) -> None:
        super().__init__(f"topic {topic!r} {why}")
        self.topic = topic
        self.why = why


def _empty_tick(partition: int) -> Tick:  # noqa: ARG001  the signature is the hook's
    return Tick()


@dataclass(frozen=True)
class LaneConfig:
    """How a lane runs. Times in seconds (`_s`) or milliseconds (`_ms`)."""

    client: Mapping[str, str]
    """`bootstrap.servers` and security settings of librdkafka, given to every client."""
    group: str
    """Consumer group; prefix of transactional ids and of static membership."""
    slot: str
    """Name of this worker within the group: no two living workers may share one."""
    control_topic: str
    """The topic whose partition numbers are shared out in the group; an input as well."""
    changelog_topic: str
    """Compacted; as many partitions as the control topic; holds the state."""
    inputs: frozenset[str] = frozenset()
    """Inputs besides the control topic; `Lane.set_inputs` changes them later."""

    batch_records_max: int = 10_000
    linger_s: float = 0.025
    """How long the broker gathers records before a worker gets them, unless they are many."""
    overlap_records: int = 1_000
    """From this batch size on the next batch is decided while this one commits."""
    session_ms: int = 6_000
    heartbeat_ms: int = 100
    """Also how soon a worker hears that another one came or left."""
    transaction_timeout_ms: int = 15_000
    call_limit_s: float = 10.0
    """Limit of one transactional call; beyond it the process is left."""
    stall_limit_s: float = 45.0
    """Limit of any one step, the agent's included, and of leaving unread what others can read;
    beyond it the process is left."""
    output_bytes_max: int = 1_000_000
    """Largest record that is produced, headers included; the output topics must take as much. One
    that is larger aborts its transaction, and in the end the process."""
    aborts_max: int = 5
    """Transactions that may abort before the process is left, while what the first of them would
    have decided stays undecided."""
    static_membership: bool = True
    """A restart within the session keeps its partitions and disturbs nobody."""
    leave_on_stop: bool = True
    """An orderly stop leaves the group at once instead of keeping its place for the session."""

    tick_interval_s: float = 60.0
    tick_pause_s: float = 1.0
    """Least time between two ticks of one partition."""
    tick: Callable[[int], Tick] = _empty_tick
    """What a tick of a partition says."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other.

        Raises:
            ValueError: names the setting and the remedy.

        """
        if "bootstrap.servers" not in self.client:
            raise ValueError("client: bootstrap.servers is missing")
        if not self.group or not self.slot:
            raise ValueError("group and slot: both need a name")
        if self.batch_records_max < 1:
            raise ValueError("batch_records_max: at least 1")
        if self.heartbeat_ms * 3 > self.session_ms:
            raise ValueError("heartbeat_ms: at most a third of session_ms")
        if self.call_limit_s * 1000 > self.transaction_timeout_ms:
            raise ValueError("call_limit_s: a call may not outlive transaction_timeout_ms")
        if self.changelog_topic in self.topics:
            raise ValueError("changelog_topic: the lane's state can't be one of its inputs")

    @property
    def member(self) -> str:
        """Name of this worker in the whole cluster."""
        return f"{self.group}-{self.slot}"

    @property
    def topics(self) -> frozenset[str]:
        """Every input, the control topic included."""
        return self.inputs | {self.control_topic}
