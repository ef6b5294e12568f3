"""What read_committed readers of the outputs see, in their order, as soon as they may.

Must never look at what they may not see yet.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Final

from pipeline.contract import codec, headers, names
from pipeline.governance.ledger import approved_digest
from pipeline.testing.simulation.broker import Broker
from pipeline.testing.simulation.conservation import Ledger
from pipeline.testing.simulation.log import Entry
from pipeline.testing.simulation.violation import ViolationError

_ORIGIN: Final = f"{names.DEAD_LETTER_PREFIX}origin"


class Readers:
    """Readers of approved milestones, links and dead letters.

    Args:
        broker: has the logs.

    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._readers = {
            names.APPROVED: self._approved,
            names.LINKS: self._link,
            names.DEAD_LETTER: self._letter,
        }
        self._at = {
            (topic, number): 0 for topic in self._readers for number in range(broker.partitions)
        }
        self._revisions: Counter[str] = Counter()
        self._numbers: Counter[bytes] = Counter()
        self._digests = defaultdict[int, tuple[int, bytes]](lambda: (0, b""))
        self._links: dict[str, set[int]] = {}
        self._letters: Counter[int] = Counter()

    def look(self) -> None:
        """Read what has become visible.

        Raises:
            ViolationError: it is not what is due.

        """
        for place, at in self._at.items():
            log = self._broker.logs.get(place)
            if log is None or at == log.end:
                continue
            entries, self._at[place] = log.read(at, 1_000)
            for entry in entries:
                self._readers[place[0]](place[1], entry)

    def conclude(self, ledgers: Iterable[Ledger]) -> None:
        """Hold everything seen against what the ledgers say.

        Raises:
            ViolationError: something is missing, or too much.

        """
        for ledger in ledgers:
            number = ledger.partition
            count, chained = self._digests[number]
            if (count, chained.hex()) != ledger.approved:
                raise ViolationError("once", f"partition {number}: {count} approved records, the"
                                     f" ledger vouches for {ledger.approved[0]}")  # fmt: skip
            if self._letters[number] != ledger.dead:
                raise ViolationError("letters", f"partition {number}: {self._letters[number]} dead"
                                     f" letters, {ledger.dead} verdicts")  # fmt: skip
        for source, seqs in self._links.items():
            if len(seqs) != max(seqs):
                raise ViolationError("links", f"of {source} up to {max(seqs)}: {sorted(seqs)}")

    def _approved(self, partition: int, entry: Entry) -> None:
        value = entry.value or b""
        record = codec.decode(value, codec.committed("approved-milestone"))
        milestone, key = record["milestone_id"], entry.key or b""
        self._revisions[milestone] += 1
        if record["revision"] != self._revisions[milestone]:
            raise ViolationError("once", f"revision {record['revision']} of {milestone} where"
                                 f" {self._revisions[milestone]} is due")  # fmt: skip
        self._numbers[key] += 1
        if record["entity_seq"] != self._numbers[key]:
            raise ViolationError("once", f"number {record['entity_seq']} of {key.decode()} where"
                                 f" {self._numbers[key]} is due")  # fmt: skip
        count, chained = self._digests[partition]
        self._digests[partition] = count + 1, approved_digest(chained, value)

    def _link(self, partition: int, entry: Entry) -> None:
        del partition
        record = codec.decode(entry.value or b"", codec.committed("link"))
        seqs = self._links.setdefault(record["source"], set())
        if record["source_seq"] in seqs:
            told = f"{record['source']} tells its link {record['source_seq']} twice"
            raise ViolationError("links", told)
        seqs.add(record["source_seq"])

    def _letter(self, partition: int, entry: Entry) -> None:
        self._letters[partition] += 1
        told = dict(entry.headers or [])
        origin = headers.read_origin(told[_ORIGIN] or b"")
        first = self._broker.log(origin.topic, origin.partition).entries[origin.offset]
        kept = [item for item in entry.headers or [] if not item[0].startswith(headers.FAMILIES)]
        if (entry.key, entry.value, kept) != (first.key, first.value, first.headers or []):
            where = f"{origin.topic} {origin.partition} {origin.offset}"
            raise ViolationError("letters", f"the dead letter of {where} is not what was there")
