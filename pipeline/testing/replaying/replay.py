"""`milepost verify --deep`: replays the kernel over inputs and ledger, and compares everything.

Blocks must come out as they are written, byte for byte; with them the approved records, whose
running digest each block carries, and the digest of the state. The changelog, dead letters, alerts,
stories, links and re-keyed records must be those that the replay gives. Needs the state of one
partition in memory, as a worker does. Must never write anything.
"""

from __future__ import annotations

import hashlib
from collections import deque
from pathlib import Path
from typing import Any, Final

import orjson

from pipeline.contract import codec, names
from pipeline.governance.reasons import Reason
from pipeline.kafka.reading import Span
from pipeline.operations.proof.evidence import Evidence
from pipeline.operations.proof.ledger import Told
from pipeline.operations.proof.report import Replayed, Report
from pipeline.operations.proof.spill import Buckets
from pipeline.operations.proof.state import OWN_KEY
from pipeline.operations.verify import Examined
from pipeline.streams.topology import Governed
from pipeline.testing.replaying.deciding import Deciding, FindPolicy, NotReplayableError
from pipeline.testing.replaying.differences import difference
from pipeline.testing.replaying.recorded import Block, MissingRecordError, blocks
from pipeline.testing.replaying.replayed_topics import ACROSS, OWN, OwnTopics, TopicsAcross

Record = dict[str, Any]
RULE: Final = "replayed"
APPROVED: Final = "approved-milestone"


class KernelReplay:
    """Replays partition after partition.

    Args:
        find_policy: bundle by version and digest; None: it is not there.
        folder: for what doesn't stay in memory; None: the system's own.

    """

    def __init__(self, find_policy: FindPolicy, folder: Path | None = None) -> None:
        self._find_policy = find_policy
        self._folder = folder
        self._across: TopicsAcross | None = None
        self._own: OwnTopics | None = None
        self._complete = True

    def begin(self, evidence: Evidence) -> None:
        """Read what went from partition to partition."""
        self._across = TopicsAcross(evidence, self._folder)

    def read(self, evidence: Evidence, partition: int) -> None:
        """Read what one partition wrote for others to read."""
        self._own = OwnTopics(evidence, partition, self._folder)

    def partition(self, examined: Examined) -> None:
        """Replay one partition and compare.

        Raises:
            RuntimeError: its topics were not read.

        """
        if self._across is None or self._own is None:
            raise RuntimeError("topics are read before they are compared")
        run = _Run(examined, self._find_policy, self._own, self._across)
        why = run.replay()
        report = examined.report
        done = Replayed(examined.walk.partition, run.replayed, examined.walk.blocks, why)
        report.replayed.append(done)
        if why:
            self._complete = False
        else:
            self._own.conclude(report)
            run.compare_state()

    def conclude(self, report: Report, *, everything: bool) -> None:
        """Compare what went from partition to partition."""
        if self._across is not None:
            self._across.conclude(report, everything=everything and self._complete)


class _Run:
    """The replay of one partition."""

    def __init__(
        self, examined: Examined, find_policy: FindPolicy, own: OwnTopics, across: TopicsAcross
    ) -> None:
        evidence = examined.evidence
        self._examined = examined
        self._number = examined.walk.partition
        count = len(evidence.partitions(names.CONTROL))
        self._deciding = Deciding(self._number, count, find_policy, evidence.written)
        self._own = own
        self._across = across
        self._ids = iter(examined.approved.ids)
        self._id, self._next_id = 0, next(self._ids, None)
        self._expected: deque[bytes] = deque()
        """Blocks that the replay gave and that are still to be compared."""
        self._approved: list[bytes] = []
        """Approved records that the replay gave last."""
        self._entities = Buckets("B16sq", examined.walk.folder)
        self.replayed = 0
        """Blocks."""

    def replay(self) -> str:
        """Decide block after block; why it ended before the last one, or nothing."""
        group: list[Block] = []
        try:
            for block in blocks(self._examined.evidence, self._number, self._examined.end):
                if not self._expected:
                    group.append(block)
                    if not self._whole(group):
                        continue
                    self._decide(group)
                    compared, group = group, []
                else:
                    compared = [block]
                for item in compared:
                    if not self._same(item):
                        return "it differs there"
                    self.replayed += 1
        except (MissingRecordError, NotReplayableError, codec.UndecodableError) as error:
            return str(error)
        return ""

    def compare_state(self) -> None:
        """Hold the changelog against the state that the replay came to."""
        evidence, check = self._examined.evidence, self._examined.state
        for record in evidence.records(names.CHANGELOG, self._number, check.span):
            if record.key != OWN_KEY:
                self._remember(record.key or b"", record.value, Told.THERE, record.offset)
        for _, entries in self._entities.groups():
            there = [(said, offset) for by, said, offset in entries if by == Told.THERE]
            due = [said for by, said, _ in entries if by == Told.DUE]
            said, offset = there[-1] if there else (bytes(16), -1)
            if said != (due[-1] if due else bytes(16)):
                detail = "this state of an entity is not the one that the replay came to"
                self._wrong(names.CHANGELOG, offset, detail)

    def _whole(self, group: list[Block]) -> bool:
        """Whether these blocks can be decided: without a policy it takes the first one's too."""
        if self._deciding.state.policy_version is not None:
            return True
        return any(row["reason"] == Reason.POLICY_ACTIVATED for row in group[-1].body["decisions"])

    def _wrong(self, topic: str, offset: int, detail: str) -> None:
        self._examined.report.flag(RULE, topic, self._number, offset, detail)

    def _decide(self, group: list[Block]) -> None:
        outcomes = self._deciding.decide(group, self._approved_id())
        chosen = outcomes[0]
        if len(outcomes) > 1 and not _gives(chosen, group[0]) and _gives(outcomes[1], group[0]):
            self._deciding.choose()
            chosen = outcomes[1]
        self._take(chosen, group[-1])

    def _approved_id(self) -> int:
        """Registry id of the approved records that come next."""
        count = self._deciding.state.approved_count
        while self._next_id is not None and self._next_id[0] <= count:
            self._id, self._next_id = self._next_id[1], next(self._ids, None)
        return self._id

    def _take(self, governed: Governed, block: Block) -> None:
        """Note what was written besides blocks."""
        at = block.stored.offset
        told = Told.DUE if at < self._examined.cut else Told.LATER
        for topic, partition, key, value, headers in governed.outputs:
            if topic == names.DECISIONS:
                self._expected.append(value or b"")
            elif topic in OWN or topic == names.ENTITY_STATUS:
                self._own.wrote(topic, key, value, headers or (), told)
            elif topic in ACROSS:
                cause = told, self._number, at
                self._across.wrote(topic, (partition, key), value, headers or (), cause)
        self._approved = [
            item.value or b"" for item in governed.named() if item.topic == names.APPROVED
        ]
        if self._deciding.state.block <= self._examined.state.blocks:
            for key, value in governed.changelog:
                if key != OWN_KEY:
                    self._remember(key, value, Told.DUE, at)

    def _remember(self, key: bytes, value: bytes | None, told: Told, offset: int) -> None:
        named = hashlib.blake2b(key, digest_size=16).digest()
        said = bytes(16) if value is None else hashlib.blake2b(value, digest_size=16).digest()
        self._entities.add(named, told, said, offset)

    def _same(self, block: Block) -> bool:
        """Whether a block is the one that the replay gave; else that is told."""
        offset, recorded = block.stored.offset, block.stored.value or b""
        if not self._expected:
            self._wrong(names.DECISIONS, offset, "the replay gives no block here")
            return False
        value = self._expected.popleft()
        if value != recorded:
            replayed = codec.decode(value, codec.committed("decision-block"))
            if block.body["approved_digest"] != replayed["approved_digest"]:
                if not self._same_approved(replayed["approved_count"]):
                    return False
                replayed["approved_digest"] = block.body["approved_digest"]
            found = difference(block.body, replayed)
            self._doubt(block.body, replayed)
            if found:
                self._wrong(names.DECISIONS, offset, f"block {block.body['block']}: {found}")
                return False
        self._deciding.follow(block)
        self._compare_own(block.body["block"] + 1)
        return True

    def _doubt(self, recorded: Record, replayed: Record) -> None:
        """Leave open what may come of a restart.

        A batch forgets so many entities at most; which are first depends on the worker's memory.

        Raises:
            NotReplayableError: this may be such a case.

        """
        digest = {"state_digest": recorded["state_digest"]}
        if recorded["state_digest"] == replayed["state_digest"] or difference(
            recorded, replayed | digest
        ):
            return
        if self._deciding.forgets():
            raise NotReplayableError(
                f"up to block {recorded['block']} more was to be forgotten than one batch does:"
                " which came first the ledger does not say"
            )

    def _same_approved(self, count: int) -> bool:
        """Whether the approved records up to a count say what the replay gave."""
        running, written = self._examined.approved.running, self._approved
        first = count - len(written)
        if count > len(running):
            return True  # not read: written behind the cut
        for at, value in enumerate(written):
            offset = running[first + at][0]
            for record in self._examined.evidence.records(
                names.APPROVED, self._number, Span(offset, offset + 1)
            ):
                there = self._examined.evidence.decode(record.value, APPROVED)
                found = difference(there, codec.decode(value, codec.committed(APPROVED)))
                if found:
                    self._wrong(names.APPROVED, offset, found)
                    return False
        return True

    def _compare_own(self, count: int) -> None:
        """Hold what the changelog says of the partition against the replay, at the same block."""
        check = self._examined.state
        if count != check.blocks or self._expected:
            return
        own = orjson.loads(self._deciding.state.own_record()[1])
        for name, said in check.own.items():
            if name in own and own[name] != said:
                if name == "ahead" and self._ticked(own[name], said):
                    continue
                detail = f"the state's {name} is {said!r}, the replay gives {own[name]!r}"
                self._wrong(names.CHANGELOG, check.offset, detail)

    def _ticked(self, before: dict[str, int], ahead: dict[str, int]) -> bool:
        """Whether ticks may have moved what is ahead while nothing else happened.

        That makes no block. No input goes back, and none is read further than the newest tick.
        """
        evidence = self._examined.evidence
        span = evidence.span(names.CONTROL, self._number)
        newest = max(
            (record.timestamp_ms for record in evidence.records(names.CONTROL, self._number, span)),
            default=0,
        )
        return all(ahead.get(topic, 0) >= read_to for topic, read_to in before.items()) and all(
            read_to <= newest for topic, read_to in ahead.items() if before.get(topic) != read_to
        )


def _gives(outcome: Governed, block: Block) -> bool:
    """Whether a replay gives this block."""
    first = next((item for item in outcome.named() if item.topic == names.DECISIONS), None)
    return first is not None and first.value == block.stored.value
