"""Scenarios on a real Kafka, registry and governor process, which all of them share.

Each run is another tenant's, under a bundle of its own, and some years later than the one before:
the broker's clock is the test's, and never goes back. Nothing waits for a time to pass; everything
waits until the ledger shows it.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from unittest.mock import patch

from broker_clock import BrokerClock, ClockedBroker
from confluent_kafka import OFFSET_END, TopicPartition
from governed_stack import PARTITIONS, TMS, Governed, Watch

from pipeline.contract import codec, names
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.vocabulary import ControlKind
from pipeline.kafka import clients
from pipeline.lane.model import TICK_HEADER
from pipeline.testing.driver import Place
from pipeline.testing.expectations import Letter
from pipeline.testing.scenario_file import START_MS
from pipeline.testing.scenario_policy import bundle_for
from pipeline.testing.staging import Staging

HOUR_MS = 3_600_000
YEAR_MS = 364 * 86_400_000
"""Whole weeks: days of the week stay, seasons nearly."""
AGAIN_S = 0.03
"""After this long another tick: an idle worker looks what became of the last one when it reads."""
FORWARDED = frozenset({names.LINKS, names.REKEYED})


class Audience(Watch):
    """Watches everything that the governor writes."""

    TOPICS = (*Watch.TOPICS, names.ENTITY_STATUS, *FORWARDED)

    def __init__(self, *given):
        self.stories = []
        self.sealed = []
        """Dead letters with their partition."""
        self.newest = {}
        """The newest block of each partition."""
        self.undecided = set()
        """Places of input records that have no fate yet."""
        super().__init__(*given)

    def read_up(self):
        """Take in everything that is committed by now."""
        asked = [TopicPartition(*place, OFFSET_END) for place in self.positions]
        ends = {
            (end.topic, end.partition): end.offset
            for end in self._consumer.offsets_for_times(asked, timeout=20)
        }
        self.until(
            lambda: all(self.positions[place] >= end for place, end in ends.items()),
            what="reading what is committed",
        )

    def all_decided(self):
        """Whether every record that was seen to be appended has its fate."""
        self.undecided -= self.fates.keys()
        return not self.undecided

    def _take(self, message):
        topic, number, value = message.topic(), message.partition(), message.value()
        if topic in FORWARDED:
            self.undecided.add(Place(topic, number, message.offset()))
        elif topic == names.ENTITY_STATUS:
            self.stories.append(codec.decode(value, codec.committed("entity-status")))
        else:
            super()._take(message)
            if topic == names.DECISIONS:
                self.newest[number] = self.blocks[-1]
            elif topic == names.DEAD_LETTER:
                self.sealed.append(Letter(*self.letters[-1], number))


class Stage(Governed):
    """The stack that scenarios share, its governor running and the broker's clock standing."""

    WATCH = Audience

    def __init__(self):
        self._clock_folder = Path(tempfile.mkdtemp(prefix="broker-clock-"))
        self.clock = BrokerClock(self._clock_folder / "clock")
        self.clock.run_from(START_MS - YEAR_MS)
        with patch("pipeline.local.stack.Broker", partial(ClockedBroker, self.clock)):
            super().__init__()
        self._runs = itertools.count(1)
        self.raw_schema_id = self.raw_id(TMS)
        self._control_id = self.registry.id_for(names.subject(names.CONTROL), "control")
        self.start()
        self.in_force(self.bundle)
        self.settle()
        # The first transaction and the first group are made: from here on the clock may stand
        self.clock.stand(self.clock.now_ms + HOUR_MS)

    def close(self):
        self.clock.run_from(self.clock.now_ms)  # a broker that shuts down waits for its clock, too
        super().close()
        shutil.rmtree(self._clock_folder, ignore_errors=True)

    def environment(self, **more):
        """A worker's; it writes no ticks of its own meanwhile, so it rests when all is decided."""
        quick = {"MILEPOST_TICK_MS": "600000", "MILEPOST_GOVERNOR_LINGER_MS": "1"}
        return super().environment(**quick, **more)

    @property
    def running(self):
        return self.worker is not None and self.worker.running

    def staging(self, start_ms):
        """Another tenant, so much later that its story starts after everything that was."""
        years = max(0, self.clock.now_ms + HOUR_MS - start_ms) // YEAR_MS + 1
        return Staging(f"run{next(self._runs)}", years * YEAR_MS)

    def in_force(self, bundle):
        """Publish and activate a bundle, and wait until it governs every partition."""
        document = clients.Outgoing(names.POLICY, bundle.document(), bundle.version.encode())
        clients.deliver(self.producer, [document])
        told = {"policy_version": bundle.version, "policy_digest": bundle.digest()}
        self._control(ControlKind.ACTIVATE, **told)
        self._until(
            lambda: self._everywhere(lambda block: block["policy_version"] == bundle.version),
            "the policy of every partition",
        )

    def leap(self, at_ms):
        """Go on from a time far ahead, and let everything that falls due until then act."""
        self.clock.run_from(at_ms)
        self.tick()

    def reach(self, at_ms):
        """Move the clock, and have it stand."""
        if at_ms < self.clock.now_ms:
            raise ValueError("the clock of a real stack does not go back")
        self.clock.stand(at_ms)

    def tick(self):
        """Write ticks as the worker does, only sooner, and wait for what follows."""
        written = 0.0

        def reached():
            nonlocal written
            if time.monotonic() > written + AGAIN_S:
                self.watch.undecided.update(self._control(ControlKind.TICK))
                written = time.monotonic()
            return self._everywhere(lambda block: block["clock_after"] >= self.clock.now_ms)

        self._until(reached, "the clock of every partition")
        self.settle()

    def settle(self):
        """Wait until every record that was appended, and every one it led to, is decided."""
        while True:
            self._until(self.watch.all_decided, "a verdict on everything")
            self.watch.read_up()
            if self.watch.all_decided():
                return

    def _everywhere(self, true_of):
        newest = self.watch.newest
        return len(newest) == PARTITIONS and all(map(true_of, newest.values()))

    def _until(self, condition, what):
        def met():
            assert self.running, "the worker has left"
            return condition()

        try:
            self.watch.until(met, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}; the worker says: {self.worker.log()[-3000:]}") from None

    def _control(self, kind, **told):
        """Write a control record to every partition; their places."""
        headers = ((TICK_HEADER, b"test"),) if kind is ControlKind.TICK else ()
        outgoing = []
        for number in range(PARTITIONS):
            record = {"kind": kind.value, "partition": number, **told}
            value = codec.encode(record, codec.committed("control"), self._control_id)
            key = str(number).encode()
            outgoing.append(clients.Outgoing(names.CONTROL, value, key, headers, number))
        return [Place(*place) for place in clients.deliver(self.producer, outgoing)]


class StagedStack:
    """A stage during one run; in and out, everything is as the scenario's file says it."""

    partitions = PARTITIONS

    def __init__(self, stage, scenario):
        self._stage, self._watch = stage, stage.watch
        self._stopped = False
        if not stage.running:
            stage.start()
        start_ms = scenario.start.ms(0)
        self.staging = stage.staging(start_ms)
        self.raw_schema_id = stage.raw_schema_id
        bundle = bundle_for(scenario, self.staging, f"scenario-{self.staging.tenant}")
        self.policy = compile_policy(bundle)
        # The clock runs while it leaps: what the broker has under way times out and is tried again.
        # What former runs left open falls due under their own policy
        stage.leap(start_ms + self.staging.later_ms - HOUR_MS)
        stage.in_force(bundle)
        stage.reach(start_ms + self.staging.later_ms)
        self._before = {
            id(log): len(log)
            for log in (
                self._watch.approved,
                self._watch.blocks,
                self._watch.sealed,
                self._watch.stories,
            )
        }

    def pipe_bytes(self, topic, key, value, headers=None, partition=None, at_ms=None):
        if at_ms is not None:
            self._at(at_ms)
        place = Place(
            *self._stage.put(topic, key, value, headers=headers or (), partition=partition)
        )
        self._watch.undecided.add(place)
        if not self._stopped:
            self._stage.settle()
        return place

    def _at(self, at_ms):
        if at_ms + self.staging.later_ms != self._stage.clock.now_ms:
            self.reach(at_ms)

    def reach(self, at_ms):
        self._stage.reach(at_ms + self.staging.later_ms)
        if not self._stopped:
            self._stage.tick()

    def stop(self):
        self._stopped = True
        assert self._stage.worker.end() == 0, self._stage.worker.log()[-2000:]

    def start(self):
        self._stopped = False
        self._stage.start()
        self._stage.tick()

    def records(self, topic):
        records = {
            names.APPROVED: self._watch.approved,
            names.DECISIONS: self._watch.blocks,
            names.ENTITY_STATUS: self._watch.stories,
        }[topic]
        found = map(self.staging.plain, self._since(records))
        if topic == names.DECISIONS:
            return [self._own(block) for block in found]
        return [record for record in found if record["tenant"] == "acme"]

    def letters(self):
        return self._since(self._watch.sealed)

    def _since(self, log):
        return log[self._before[id(log)] :]

    def _own(self, block):
        """The block without what became of other tenants' records."""
        rows = [row for row in block["transitions"] if row["entity"].startswith("acme/")]
        return block | {"transitions": rows}
