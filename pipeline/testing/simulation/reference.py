"""One worker without faults that reads what the ledger says was read, in that order.

It restores nothing, shares nothing and never stops; what it writes must be what was written, byte
for byte. Must never see a worker's memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import orjson

from pipeline.contract import codec, headers, names
from pipeline.contract.codec import Schema
from pipeline.governance import ledger
from pipeline.governance.reasons import Reason
from pipeline.lane.model import Record
from pipeline.streams.arriving import Refused, as_it_came
from pipeline.streams.state import PARTITION_KEY, PartitionState
from pipeline.streams.topology import Governed, govern
from pipeline.testing.simulation.broker import Broker
from pipeline.testing.simulation.knowledge import DECLARED, NEWCOMER, policies
from pipeline.testing.simulation.log import Entry, Log, Transaction
from pipeline.testing.simulation.violation import ViolationError
from pipeline.testing.simulation.worker import RECORD_BYTES_MAX, surrounded

Block = dict[str, Any]
Written = dict[tuple[str, int], list[tuple[bytes | None, bytes | None, Any]]]
_UNREADABLE: Final = frozenset({Reason.UNKNOWN_SCHEMA.value, Reason.SCHEMA_NOT_ALLOWED.value})
_LATER: Final = frozenset({names.raw_topic(NEWCOMER)})
_BY_TOPIC: Final = {names.LINKS: "link", names.CONTROL: "control"}
_CLOCK: Final = ("clock", "ahead")
"""What moves without a block as well."""


class _Schemas(Mapping[tuple[str, int], Schema | Refused]):
    """Every schema id can be read, but for those that the ledger says could not."""

    def __init__(self, refused: dict[tuple[str, int], Refused]) -> None:
        self._refused = refused

    def __getitem__(self, name: tuple[str, int]) -> Schema | Refused:
        found = self._refused.get(name)
        return found or codec.committed(_BY_TOPIC.get(name[0], "raw-event"))

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._refused)

    def __len__(self) -> int:
        return len(self._refused)


class Reference:
    """Follows the ledgers of all partitions.

    Args:
        broker: has the logs.

    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._states = [PartitionState(number) for number in range(broker.partitions)]
        self._authors = [("", 0)] * broker.partitions
        self._due: Written = {}

    def follow(
        self,
        blocks: list[Block],
        transaction: Transaction,
        partition: int,
        kept: dict[bytes, bytes],
    ) -> None:
        """Take the records of these blocks, and note what is written of them.

        Args:
            blocks: of one transaction; none where it moved nothing but a clock.
            transaction: all of it.
            partition: whose blocks they are.
            kept: its changelog before that transaction.

        """
        process, restores = transaction.author
        if self._authors[partition] != (process, restores.get(partition, 0)):
            # In which order it asks those again that wait for an input is nowhere written down
            self._authors[partition] = process, restores.get(partition, 0)
            self._states[partition] = PartitionState.restore(partition, kept)
        written = transaction.records
        records: list[Record] = []
        refused: dict[tuple[str, int], Refused] = {}
        ends: dict[str, int] = {}
        lost: dict[str, list[ledger.Gap]] = {}
        details = _details(written)
        for block in blocks:
            for covered in block["inputs"]:
                ends[covered["topic"]] = covered["next"]
                lost.setdefault(covered["topic"], []).extend(
                    ledger.Gap(gap["first"], gap["next"], retention=True)
                    for gap in covered["gaps"]
                    if gap["cause"] == "RETENTION"
                )
            for row in block["decisions"]:
                topic = block["inputs"][row["input"]]["topic"]
                record = self._record(topic, partition, row["offset"])
                records.append(record)
                if row["reason"] in _UNREADABLE:
                    came = as_it_came(RECORD_BYTES_MAX, partition, record)
                    detail = details.get(came.origin[:3], "")
                    refused[came.schema] = Refused(Reason(row["reason"]), detail)
        schemas, partitions = _Schemas(refused), self._broker.partitions
        through = _through(written, partition)
        surroundings = surrounded(partitions, policies(), schemas, frozenset(through))
        state = self._states[partition]
        ends = dict(sorted(ends.items()))
        result = govern(surroundings, state, records, ends=ends, read_through=through, lost=lost)
        if not isinstance(result, Governed):
            raise ViolationError("determinism", f"partition {partition}: decided without {result}")
        changelog = ((names.CHANGELOG, partition, *item, None) for item in result.changelog)
        for topic, number, key, value, told in (*result.outputs, *changelog):
            self._due.setdefault((topic, number), []).append((key, value, told))

    def compare(self, written: list[tuple[Log, Entry]]) -> None:
        """Hold what is due against what one transaction has.

        Raises:
            ViolationError: they differ.

        """
        due, self._due = self._due, {}
        there: Written = {}
        for log, entry in written:
            place = log.topic, log.partition
            there.setdefault(place, []).append((entry.key, entry.value, entry.headers))
        for place in sorted(due.keys() | there.keys()):
            mine, theirs = due.get(place, []), there.get(place, [])
            for at, (one, other) in enumerate(zip(mine, theirs, strict=False)):
                if one != other and not _same_clock_apart(one, other):
                    self._wrong(place, f"its record {at} is {_short(other)}, due is {_short(one)}")
            if len(mine) != len(theirs):
                self._wrong(place, f"a transaction has {len(theirs)} records, due are {len(mine)}")

    def conclude(self, partition: int, kept: dict[bytes, bytes]) -> None:
        """Hold the state at the end against the changelog.

        Raises:
            ViolationError: they differ.

        """
        restored = PartitionState.restore(partition, kept)
        if restored.digest != self._states[partition].digest:
            self._wrong((names.CHANGELOG, partition), "another state at the end")

    def _record(self, topic: str, partition: int, offset: int) -> Record:
        entry = self._broker.log(topic, partition).entries[offset]
        told = entry.headers or None
        return Record(topic, partition, offset, entry.timestamp_ms, entry.key, entry.value, told)

    def _wrong(self, place: tuple[str, int], found: str) -> None:
        raise ViolationError("determinism", f"{place[0]} {place[1]}: {found}")


def _through(written: list[tuple[Log, Entry]], partition: int) -> dict[str, int]:
    """How far every input was read, as the partition's own record has it."""
    for log, entry in reversed(written):
        if (log.topic, log.partition, entry.key) == (names.CHANGELOG, partition, PARTITION_KEY):
            own = orjson.loads(entry.value or b"{}")
            inputs = DECLARED.union(own["ahead"])
            if len(inputs) == len(own["ahead"]):
                inputs |= _LATER  # which then holds back the clock
            return {topic: own["ahead"].get(topic, own["clock"]) for topic in inputs}
    return {}


def _details(written: Iterable[tuple[Log, Entry]]) -> dict[tuple[str, int, int], str]:
    """What dead letters say of why, by origin."""
    found = {}
    for log, entry in written:
        if log.topic == names.DEAD_LETTER:
            told = dict(entry.headers or [])
            origin = headers.read_origin(told[f"{names.DEAD_LETTER_PREFIX}origin"] or b"")
            detail = told[f"{names.DEAD_LETTER_PREFIX}detail"] or b""
            found[origin.topic, origin.partition, origin.offset] = detail.decode()
    return found


def _same_clock_apart(one: Any, other: Any) -> bool:
    """Whether both say the same of the partition, but for a clock that moved without a block."""
    if one[0] != PARTITION_KEY or other[0] != PARTITION_KEY:
        return False
    mine, theirs = orjson.loads(one[1]), orjson.loads(other[1])
    return all(mine[name] == theirs[name] for name in mine.keys() - set(_CLOCK))


def _short(record: Any) -> str:
    key, value, told = record
    return f"{key!r} {(value or b'')[:300]!r} {told!r}"[:700]
