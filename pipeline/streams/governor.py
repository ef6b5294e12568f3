"""The governor: the Faust worker that governs, on the lane.

Wiring only: the lane brings record batches, `topology.govern` decides them, what it lacks is looked
up here. Must never decide about a record.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import dataclasses
import functools
import gc
import logging
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

import faust

from pipeline.contract import codec, names
from pipeline.contract import topics as contract_topics
from pipeline.governance import ledger
from pipeline.governance.policy import Policy
from pipeline.governance.vocabulary import ControlKind
from pipeline.kafka.errors import UnreachableError, UnregisteredError
from pipeline.kafka.reading import partitions_of
from pipeline.kafka.registry import Registry
from pipeline.lane import (
    Decided,
    Deferred,
    Lane,
    LaneApp,
    LaneConfig,
    Observer,
    PartitionBatch,
    Produced,
    RecordBatch,
    Tick,
)
from pipeline.lane.model import RETENTION
from pipeline.native import FORM
from pipeline.settings import Settings, SettingsError
from pipeline.streams.lookups import ASK_AGAIN_S, Lookups
from pipeline.streams.observing import WrongPolicy
from pipeline.streams.quarantine import Quarantine
from pipeline.streams.state import PartitionState
from pipeline.streams.topology import Governed, Lacking, PolicyName, Surroundings, govern

log = logging.getLogger(__name__)

_MALLOC: Final = ((-1, 128 << 20), (-2, 8 << 20), (-3, 64 << 20), (-8, 1))
"""glibc's M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD, bytes, and M_ARENA_MAX (mallopt(3)):
with an arena a thread, what one thread frees does not serve the next one."""
OUTAGE_S: Final = 2.0
NO_POLICY_S: Final = 1.0
INPUTS_AGAIN_S: Final = 30.0
"""After which an input that could not be read is asked for again."""
_WRITTEN: Final = {
    names.APPROVED: "approved-milestone",
    names.ENTITY_STATUS: "entity-status",
    names.DECISIONS: "decision-block",
    names.LINKS: "link",
    names.ALERTS: "alert",
}
Measure = Callable[[int, Governed], None]


class Inputs:
    """Every input there is: the declared ones, and those of the platforms of each known bundle.

    A new platform's topic is read as soon as its bundle is activated, without a rebalance. One that
    can't be read is asked for again; until then its records wait where they are, and so does the
    clock: nobody is silent whom nobody has read.

    Args:
        declared: inputs that topics.yaml declares.

    """

    def __init__(self, declared: frozenset[str]) -> None:
        self.topics = declared
        """Those that are read."""
        self.wanted = declared
        """Those that are to be read."""
        self._again = 0.0

    def extend(
        self,
        policies: Iterable[Policy],
        set_inputs: Callable[[frozenset[str]], Future[frozenset[str]]],
    ) -> None:
        """Read the topics of these bundles' platforms too.

        Args:
            policies: all that are known.
            set_inputs: of the lane.

        """
        writers = (platform for policy in policies for platform in policy.platforms.values())
        wanted = self.topics.union(*(platform.topics for platform in writers))
        now = time.monotonic()
        if wanted == self.topics or (wanted == self.wanted and now < self._again):
            return
        self.wanted, self._again = wanted, now + INPUTS_AGAIN_S
        set_inputs(wanted).add_done_callback(self._answered)

    def _answered(self, answer: Future[frozenset[str]]) -> None:
        error = answer.exception()
        if error is None:
            self.topics = answer.result()
        else:
            log.error("an input of the bundle can't be read: %s", error, extra={"reason": "input"})


class Governing:
    """How a partition's state comes to be: the lane's processor.

    Args:
        inputs: every input there is.

    """

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs

    def restore(self, partition: int, changelog: dict[bytes, bytes]) -> PartitionState:
        """State from the changelog."""
        return PartitionState.restore(partition, changelog)

    def positions(self, state: PartitionState) -> Mapping[str, int]:
        """Next offset of each input."""
        return state.positions

    def due_ms(self, state: PartitionState) -> int | None:
        """When the next deadline falls due."""
        return state.due_ms()

    def inputs(self, state: PartitionState) -> Collection[str] | None:
        """All of the lane's inputs but those of platforms that are braked."""
        return self._inputs.topics - state.paused if state.paused else None


class Decider:
    """Decides record batches, with what they lack looked up in between."""

    def __init__(
        self,
        surroundings: Surroundings,
        lookups: Lookups,
        measure: Measure,
        inputs: Inputs,
        set_inputs: Callable[[frozenset[str]], Future[frozenset[str]]],
        quarantine: Quarantine | None = None,
    ) -> None:
        self._surroundings = surroundings
        self._lookups = lookups
        self._quarantine = quarantine or Quarantine()
        self._inputs = inputs
        self._set_inputs = set_inputs
        self._measure = measure
        self._awaited: dict[int, frozenset[PolicyName]] = {}
        """Bundles that partitions were told to use and that are not there, by partition."""

    async def decide(self, batch: RecordBatch[PartitionState]) -> dict[int, Decided | Deferred]:
        """One decision, or one deferral, for each partition of the batch."""
        replayed = any(
            record.topic == names.REPLAY for part in batch.parts.values() for record in part.records
        )
        self._lookups.expire(everything=replayed)
        return {number: await self._part(part) for number, part in batch.parts.items()}

    def _wait_for_all_inputs(self) -> None:
        """Have the clock wait for the inputs of every bundle known by now."""
        self._inputs.extend(self._lookups.policies.values(), self._set_inputs)
        if self._inputs.wanted != self._surroundings.inputs:
            wanted = self._inputs.wanted
            self._surroundings = dataclasses.replace(self._surroundings, inputs=wanted)

    async def _part(self, part: PartitionBatch[PartitionState]) -> Decided | Deferred:
        if part.partition in self._awaited:
            deferred = await self._await_policies(part.partition)
            if deferred is not None:
                return deferred
        lost: dict[str, list[ledger.Gap]] = {}
        for gap in part.gaps:
            lost.setdefault(gap.topic, []).append(
                ledger.Gap(gap.first, gap.next, retention=gap.why == RETENTION)
            )
        outputs: list[Produced] = []
        changelog: list[tuple[bytes, bytes | None]] = []
        done = 0
        while True:
            self._wait_for_all_inputs()  # those of a bundle that this batch activates, too
            runs = self._quarantine.runs(self._surroundings, part)
            run, last = runs[done], done == len(runs) - 1
            with self._quarantine.reading(run, part):
                result = govern(
                    run.surroundings,
                    part.state,
                    run.records,
                    ends=part.ends if last else None,
                    read_through=part.read_through if last else None,
                    lost=lost,
                )
            if isinstance(result, Governed):
                self._measure(part.partition, result)
                outputs += result.outputs
                changelog += result.changelog
                done += 1
                if last:
                    self._quarantine.survived(part)
                    return Decided(outputs, changelog, part.state.positions)
                continue
            deferred = await self._look_up(part, result)
            if deferred is not None and not done:
                return deferred
            if deferred is not None:  # half of it is decided: it can't be put back any more
                await asyncio.sleep(deferred.seconds)

    async def _look_up(
        self, part: PartitionBatch[PartitionState], lacking: Lacking
    ) -> Deferred | None:
        """Get what was lacking; None: try again, else how long to wait for it."""
        if lacking.no_policy:
            raw = frozenset(r.topic for r in part.records if r.topic != names.CONTROL)
            why = "no policy bundle is in force yet: run `milepost policy publish`"
            return Deferred(NO_POLICY_S, why, raw or None)
        if lacking.policies:
            self._awaited[part.partition] = lacking.policies
            return await self._await_policies(part.partition)
        find = functools.partial(self._lookups.find_schemas, lacking.schemas)
        try:
            waiting = await asyncio.get_running_loop().run_in_executor(None, find)
        except UnreachableError as error:
            return Deferred(OUTAGE_S, str(error), frozenset().union(*lacking.schemas.values()))
        if waiting:
            return Deferred(ASK_AGAIN_S, "a schema id is not known yet", waiting)
        return None

    async def _await_policies(self, partition: int) -> Deferred | None:
        """Look for the bundles that a partition was told to use; until then it is not governed.

        Whatever it reads meanwhile: the activation may come again behind other inputs.
        """
        load = functools.partial(self._lookups.find_policies, self._awaited[partition])
        try:
            unusable = await asyncio.get_running_loop().run_in_executor(None, load)
        except UnreachableError as error:
            return Deferred(OUTAGE_S, str(error))
        if unusable:
            why = "; ".join(f"policy bundle {item.name.version} {item.why}" for item in unusable)
            wrong = any(item.other for item in unusable)
            return WrongPolicy(OUTAGE_S, why) if wrong else Deferred(OUTAGE_S, why)
        del self._awaited[partition]
        return None


def registered_ids(registry: Registry) -> dict[str, int]:
    """Registry ids to write the governed topics with, control included.

    Raises:
        UnregisteredError: a schema is not registered.
        UnreachableError: the registry is away.

    """
    wanted = {**_WRITTEN, names.CONTROL: "control"}
    return {topic: registry.id_for(names.subject(topic), name) for topic, name in wanted.items()}


def wait_for_contract(
    settings: Settings, bootstrap: str, registry: Registry, say: Callable[[str], None]
) -> tuple[dict[str, int], int]:
    """Wait until topics and schemas are there.

    Returns:
        Registry ids by topic, and the partition count.

    """
    said = ""
    while True:
        try:
            count = len(partitions_of(settings, bootstrap, names.CONTROL))
            if count:
                return registered_ids(registry), count
            why = f"topic {names.CONTROL} does not exist: run `milepost topics apply`"
        except (UnreachableError, UnregisteredError) as error:
            why = str(error)
        if why != said:
            say(f"waiting: {why}")
            said = why
        time.sleep(1.0)


def load() -> None:
    """Load what a worker would load late, for the processes that are forked from this one.

    Faust imports what it needs only as an app gets its first agent.
    """
    app = LaneApp("loading", web_enabled=False)
    app.agent(app.channel())(_ends)
    _keep_memory()


async def _ends(_: Any) -> None:
    """An agent that nobody runs."""


def build(
    settings: Settings,
    bootstrap: str,
    registry: Registry,
    *,
    ids: Mapping[str, int],
    partitions: int,
    observer: Observer,
    measure: Measure,
) -> LaneApp:
    """The Faust app of one worker, ready to run.

    Args:
        settings: group, slot and limits.
        bootstrap: bootstrap servers.
        registry: for schemas met on the way.
        ids: registry ids to write with, by topic.
        partitions: partition count of every input.
        observer: of the lane.
        measure: told what each decision brought.

    Raises:
        SettingsError: the state dir can't be used.

    """
    declared = contract_topics.load(settings.topics_file)
    inputs = Inputs(frozenset(topic.name for topic in declared.inputs))
    lookups = Lookups(settings, bootstrap, registry)
    surroundings = Surroundings(
        partitions=partitions,
        group=settings.governor_group,
        policies=lookups.policies,
        schemas=lookups.schemas,
        ids=ids,
        inputs=inputs.topics,
        record_bytes_max=settings.record_bytes_max,
        cloudevents=settings.cloudevents,
    )

    read = inputs.topics - {names.CONTROL}
    config = _lane_config(settings, bootstrap, ids[names.CONTROL], read)
    app = LaneApp(settings.governor_group, datadir=_data_dir(settings), web_enabled=False)
    lane: Lane[PartitionState] = Lane(app, config, Governing(inputs), observer)
    quarantine = Quarantine(settings.state_dir / "governor", config.member)
    decider = Decider(surroundings, lookups, measure, inputs, lane.set_inputs, quarantine)

    @app.agent(lane.channel)
    async def govern_batches(batches: Any) -> None:
        # Meanwhile the lane joins its group and reads state back
        await asyncio.get_running_loop().run_in_executor(None, lookups.read_ahead)
        async for batch in batches:
            batch.done(await decider.decide(batch))

    return app


def _data_dir(settings: Settings) -> Path:
    """Faust's folder, which it would not make if the one around it is missing."""
    folder = settings.state_dir / "faust"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"MILEPOST_STATE_DIR: {folder} can't be made ({error.strerror}): choose a folder that"
            " this user may write to"
        ) from None
    return folder


def _lane_config(
    settings: Settings, bootstrap: str, control_id: int, inputs: frozenset[str]
) -> LaneConfig:
    def tick(partition: int) -> Tick:
        record = {"kind": ControlKind.TICK.value, "partition": partition}
        value = codec.encode(record, codec.committed("control"), control_id)
        return Tick(str(partition).encode(), value)

    return LaneConfig(
        client={"bootstrap.servers": bootstrap, **settings.kafka_client()},
        group=settings.governor_group,
        slot=settings.governor_slot,
        control_topic=names.CONTROL,
        changelog_topic=names.CHANGELOG,
        inputs=inputs,
        batch_records_max=settings.governor_batch_records_max,
        linger_s=settings.governor_linger_ms / 1_000,
        session_ms=settings.governor_session_ms,
        transaction_timeout_ms=settings.transaction_timeout_ms,
        call_limit_s=min(LaneConfig.call_limit_s, settings.transaction_timeout_ms / 1_000),
        output_bytes_max=contract_topics.OWN_BYTES_MAX,
        tick_interval_s=settings.tick_ms / 1_000,
        tick=tick,
    )


def _keep_memory() -> None:
    """Spend no time on giving memory back: the next batch needs what this one frees.

    What is loaded now stays. A batch makes up to a million short-lived objects and hardly a cycle.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000, 20, 50)
    with contextlib.suppress(OSError, AttributeError):  # only glibc has it
        mallopt = ctypes.CDLL(None).mallopt
        for option, size in _MALLOC:
            mallopt(option, size)


def run_worker(app: LaneApp, log_level: str) -> None:
    """Run one worker in this process until it is told to stop; never returns."""
    _keep_memory()
    log.info("the hot path runs %s", FORM)
    sys.argv = sys.argv[:1]
    # What Faust prints itself would end the worker where the disk of its output is full
    worker = faust.Worker(
        app, loglevel=log_level, quiet=True, redirect_stdouts=False, override_logging=False
    )
    worker.spinner = None
    worker.execute_from_commandline()
