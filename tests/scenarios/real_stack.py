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
from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec
from governed_stack import PARTITIONS, TMS, Governed, Watch

from pipeline.contract import codec, names
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.vocabulary import ControlKind
from pipeline.kafka import clients
from pipeline.lane.model import TICK_HEADER
from pipeline.testing.driver import Place
from pipeline.testing.expectations import Letter
from pipeline.testing.scenario_file import START_MS
from pipeline.testing.scenario_policy import FIRST, bundle_for, later_bundle
from pipeline.testing.staging import TENANT, Staging

HOUR_MS = 3_600_000
YEAR_MS = 364 * 86_400_000
"""Whole weeks: days of the week stay, seasons nearly."""
STRIDE_MS = 20 * 86_400_000
"""By how much a standing clock may move at once: less than a broker's longest time-out."""
AGAIN_S = 0.03
"""After this long another tick: an idle worker looks what became of the last one when it reads."""
HELD_BACK = frozenset({"dead_letter_brake", "platform_suspended"})
FORWARDED = frozenset({names.LINKS, names.REKEYED})


class Audience(Watch):
    """Watches everything that the governor writes."""

    TOPICS = (*Watch.TOPICS, names.ENTITY_STATUS, names.ALERTS, *FORWARDED)

    def __init__(self, settings, bootstrap):
        self._admin = clients.admin(settings, bootstrap)
        self.stories = []
        self.alerts = []
        self.sealed = []
        """Dead letters with their partition."""
        self.newest = {}
        """The newest block of each partition."""
        self.undecided = set()
        """Places of input records that have no fate yet."""
        self.unread = set()
        """Inputs whose records can't be read for the time being."""
        super().__init__(settings, bootstrap)

    def read_up(self):
        """Take in everything that is written by now.

        Partitions show the end of one transaction one after the other, so what counts is where
        each ends, not how far it can be read yet.
        """
        asked = {TopicPartition(*place): OffsetSpec.latest() for place in self.positions}
        ends = {
            (place.topic, place.partition): end.result(20).offset
            for place, end in self._admin.list_offsets(asked).items()
        }
        self.until(
            lambda: all(self.positions[place] >= end for place, end in ends.items()),
            what="reading what is written",
        )

    def all_decided(self):
        """Whether every record that was seen to be appended, and can be read, has its fate."""
        self.undecided -= self.fates.keys()
        return all(place.topic in self.unread for place in self.undecided)

    def _take(self, message):
        topic, number, value = message.topic(), message.partition(), message.value()
        if topic in FORWARDED:
            self.undecided.add(Place(topic, number, message.offset()))
        elif topic == names.ENTITY_STATUS:
            self.stories.append(codec.decode(value, codec.committed("entity-status")))
        elif topic == names.ALERTS:
            self.alerts.append(codec.decode(value, codec.committed("alert")))
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
        self._released = set()
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

    def start(self, **environment):
        self.stopped = False
        self.slot = "0"
        return super().start(**environment)

    def hand_over(self):
        """Have another worker join, and govern all when the one that governed leaves."""
        self.slot = "1" if self.slot == "0" else "0"
        heir = self.join(MILEPOST_GOVERNOR_SLOT=self.slot)
        self._until(lambda: heir.governs, "another worker's share")
        self.end()
        self.worker, self.stopped = heir, False
        self._until(lambda: len(heir.governs) == PARTITIONS, "another worker's all")
        self.tick()

    def end(self):
        """End the worker in order."""
        self.stopped = True
        assert self.worker.end() == 0, self.worker.log()[-2000:]

    def staging(self, start_ms):
        """Another tenant, so much later that its story starts after everything that was."""
        years = max(0, self.clock.now_ms + HOUR_MS - start_ms) // YEAR_MS + 1
        return Staging(f"run{next(self._runs)}", years * YEAR_MS)

    def in_force(self, bundle):
        """Publish and activate a bundle, and wait until it governs every partition."""
        document = clients.Outgoing(names.POLICY, bundle.document(), bundle.version.encode())
        clients.deliver(self.producer, [document])
        told = {"policy_version": bundle.version, "policy_digest": bundle.digest()}
        self.control(ControlKind.ACTIVATE, **told)
        self.settle()

    def control(self, kind, **told):
        """Write a control record to every partition."""
        headers = ((TICK_HEADER, b"test"),) if kind is ControlKind.TICK else ()
        outgoing = []
        for number in range(PARTITIONS):
            record = {"kind": kind.value, "partition": number, **told}
            value = codec.encode(record, codec.committed("control"), self._control_id)
            key = str(number).encode()
            outgoing.append(clients.Outgoing(names.CONTROL, value, key, headers, number))
        places = clients.deliver(self.producer, outgoing)
        self.watch.undecided.update(Place(*place) for place in places)

    def hang(self, topic):
        super().hang(topic)
        self.watch.unread.add(topic)

    def let_go(self):
        super().let_go()
        self.watch.unread.clear()

    def release(self):
        """Hold no platform back any longer: one that is braked has its input paused."""
        held = {alert["platform"] for alert in self.watch.alerts if alert["kind"] in HELD_BACK}
        for platform in held - self._released:
            self.control(ControlKind.RELEASE, platform=platform)
        self._released |= held
        self.settle()

    def leap(self, at_ms):
        """Go on from a time far ahead, while the clock runs.

        What the broker has under way times out, and is tried again as time goes on.
        """
        self.clock.run_from(at_ms)
        if not self.stopped:
            self.tick()

    def reach(self, at_ms):
        """Move the clock and have it stand; let what falls due until then act."""
        if at_ms < self.clock.now_ms:
            raise ValueError("the clock of a real stack does not go back")
        if at_ms - self.clock.now_ms > STRIDE_MS:
            self.leap(at_ms - HOUR_MS)
        self.clock.stand(at_ms)
        if not self.stopped:
            self.tick()

    def tick(self):
        """Write ticks as the worker does, only sooner, and wait for what follows."""
        written = 0.0

        def reached():
            nonlocal written
            if time.monotonic() > written + AGAIN_S:
                self.control(ControlKind.TICK)
                written = time.monotonic()
            newest = self.watch.newest
            return self.watch.unread or (
                len(newest) == PARTITIONS
                and all(block["clock_after"] >= self.clock.now_ms for block in newest.values())
            )

        self._until(reached, "the clock of every partition")
        self.settle()

    def settle(self):
        """Wait until every record that was appended, and every one it led to, is decided."""
        while not self.stopped:
            self._until(self.watch.all_decided, "a verdict on everything")
            self.watch.read_up()
            if self.watch.all_decided():
                return

    def _until(self, condition, what):
        def met():
            assert self.worker.running, "the worker has left"
            return condition()

        try:
            self.watch.until(met, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}; the worker says: {self.worker.log()[-3000:]}") from None


class StagedStack:
    """A stage during one run; in and out, everything is as the scenario's file says it."""

    partitions = PARTITIONS

    def __init__(self, stage, scenario):
        self._stage, self._scenario = stage, scenario
        if not stage.worker.running:
            stage.start()
        stage.let_go()
        stage.release()
        start_ms = scenario.start.ms(0)
        self.staging = stage.staging(start_ms)
        self.raw_schema_id = stage.raw_schema_id
        self._first = bundle_for(scenario, self.staging, self._version(FIRST))
        self.policy = compile_policy(self._first)
        # What former runs left open falls due under their own policy
        stage.leap(start_ms + self.staging.later_ms - HOUR_MS)
        stage.in_force(self._first)
        stage.reach(start_ms + self.staging.later_ms)
        watch = stage.watch
        self._logs = {
            names.APPROVED: watch.approved,
            names.DECISIONS: watch.blocks,
            names.DEAD_LETTER: watch.sealed,
            names.ENTITY_STATUS: watch.stories,
            names.ALERTS: watch.alerts,
        }
        self._before = {topic: len(log) for topic, log in self._logs.items()}

    def pipe_bytes(self, topic, key, value, headers=None, partition=None, at_ms=None):
        if at_ms is not None and at_ms + self.staging.later_ms != self._stage.clock.now_ms:
            self.reach(at_ms)
        put = self._stage.put(topic, key, value, headers=headers or (), partition=partition)
        place = Place(*put)
        self._stage.watch.undecided.add(place)
        self._stage.settle()
        return place

    def reach(self, at_ms):
        self._stage.reach(at_ms + self.staging.later_ms)

    def stop(self):
        self._stage.end()

    def start(self):
        self._stage.start()
        self._stage.tick()

    def hand_over(self):
        self._stage.hand_over()

    def control(self, kind, **told):
        self._stage.control(kind, **told)
        self._stage.settle()

    def activate_later(self, name):
        version = self._version(name)
        self._stage.in_force(
            self._first
            if name == FIRST
            else later_bundle(self._scenario, name, self.staging, version)
        )

    def unread(self, topic, *, stalls):
        if stalls:
            self._stage.hang(topic)
        else:
            self._stage.let_go()
            self._stage.tick()

    def records(self, topic):
        since = self._since(topic)
        if topic == names.DECISIONS:
            return [self._own(self.staging.plain(block)) for block in since]
        plain = map(self.staging.plain, since)
        if topic == names.ALERTS:
            return list(plain)
        return [record for record in plain if record["tenant"] == TENANT]

    def letters(self):
        return self._since(names.DEAD_LETTER)

    def _since(self, topic):
        return self._logs[topic][self._before[topic] :]

    def _own(self, block):
        """The block without what became of other tenants' records."""
        own = [row for row in block["transitions"] if row["entity"].startswith(f"{TENANT}/")]
        return block | {"transitions": own}

    def _version(self, name):
        return f"{self.staging.tenant}-{name}"
