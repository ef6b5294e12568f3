"""What a worker was reading when it died, remembered beyond its death.

Some bytes end the process that decodes them, and would end every one that is started anew. So a
worker notes what it is about to decide. If it dies of that, the next one first reads those records
one by one, and notes each; the record that it dies of then goes undecoded to the dead letter from
the third start on. If none of them kills it alone and it dies of the same batch again, the third
one judges that without the plain path. A kill from outside costs a record no more than to be read
once more, unless a second one comes while that record is read alone.

The note lies in memory that is mapped to a file: it costs no call and survives the process, not the
machine. Without such a file (a full disk) everything works but this. Must never judge a record.
"""

from __future__ import annotations

import contextlib
import json
import logging
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from pipeline.governance.reasons import Reason
from pipeline.lane import PartitionBatch, Record
from pipeline.streams.arriving import Refused, as_it_came, decode
from pipeline.streams.state import PartitionState
from pipeline.streams.topology import Surroundings

log = logging.getLogger(__name__)

NOTE_BYTES: Final = 65_536
_LENGTH: Final = 8
TWICE: Final = 2
REFUSED: Final = Refused(
    Reason.DECODER_DIED, "the decoder died of it twice, it was not tried again"
)
_SPOILED = (ValueError, TypeError, KeyError)
"""What a file says that was written half, or by another release."""
Place = tuple[str, int, int]
"""Topic, partition and offset."""
Span = tuple[str, int, int, int]
"""Topic, partition, first offset, and the one behind the last."""


class Run(NamedTuple):
    """Records to be decided together, by what is known of schemas."""

    records: Sequence[Record]
    surroundings: Surroundings


class Quarantine:
    """Notes what is being decoded, and knows what its predecessors died of.

    Args:
        folder: where notes are kept; None: nothing is remembered.
        worker: its name, the same at each start.

    """

    def __init__(self, folder: Path | None = None, worker: str = "") -> None:
        name = quote(worker, safe="")
        self._kept = (folder or Path()) / f"{name}.suspects.json"
        self._note: mmap.mmap | None = None
        self.suspects: dict[Span, int] = {}
        """What predecessors were deciding when they died, and how many of them did."""
        self.deadly: set[Place] = set()
        """Records that two of them died of."""
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._learn(folder / f"{name}.reading")
        except OSError as error:
            log.warning("what kills the decoder will not be remembered: %s", error)

    def _learn(self, path: Path) -> None:
        """Read what was kept and what was being done at the end, and begin a note of one's own."""
        with contextlib.suppress(FileNotFoundError, *_SPOILED):
            kept = json.loads(self._kept.read_text("utf-8"))
            known = {(str(t), int(p), int(a), int(b)): int(n) for t, p, a, b, n in kept["suspects"]}
            self.deadly = {(str(t), int(p), int(o)) for t, p, o in kept["deadly"]}
            self.suspects = known
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(handle).st_size < NOTE_BYTES:
                os.pwrite(handle, bytes(NOTE_BYTES), 0)  # a full disk shows now, not in the middle
            self._note = mmap.mmap(handle, NOTE_BYTES)
        finally:
            os.close(handle)
        length = int.from_bytes(self._note[:_LENGTH], "big")
        if not 0 < length <= NOTE_BYTES - _LENGTH:
            return
        try:
            topics, number, alone = json.loads(self._note[_LENGTH : _LENGTH + length])
            spans = [(str(t), int(number), int(a), int(b)) for t, (a, b) in topics.items()]
        except _SPOILED as error:
            log.warning("what the last worker was reading can't be read: %s", error)
            return
        finally:
            self._clear()
        if alone:
            self.deadly |= {span[:3] for span in spans}
        else:
            for span in spans:
                self._suspect(span)
        log.error(
            "the last worker died while it read %s of partition %d: %s", topics, number,
            "not read again" if alone else "read one by one now",
        )  # fmt: skip
        self._keep()

    def runs(self, surroundings: Surroundings, part: PartitionBatch[PartitionState]) -> list[Run]:
        """Cut a batch so that a deadly record stands alone, under a schema that is refused.

        What two predecessors died of is not judged by the plain path.
        """
        if any(self._deaths(part.partition, part.records, TWICE)):
            surroundings = replace(surroundings, plainly=False)
        if not self.deadly:
            return [Run(part.records, surroundings)]
        runs: list[Run] = []
        together: list[Record] = []
        for record in part.records:
            if (record.topic, part.partition, record.offset) not in self.deadly:
                together.append(record)
                continue
            if together:
                runs.append(Run(together, surroundings))
            came = as_it_came(surroundings.record_bytes_max, part.partition, record)
            refusing = replace(surroundings, schemas={came.schema: REFUSED}, plainly=False)
            runs.append(Run([record], refusing))
            together = []
        return [*runs, Run(together, surroundings)] if together or not runs else runs

    @contextlib.contextmanager
    def reading(self, run: Run, part: PartitionBatch[PartitionState]) -> Iterator[None]:
        """Note that a batch is being decided; its records are tried one by one first if need be.

        The note stays when that fails: what a panic of the plain path ends is a death, too.
        """
        if self.suspects:
            self._try_each(run, part)
        before = part.state.positions
        self._write({t: (before.get(t, 0), end) for t, end in part.ends.items()}, part.partition)
        yield
        self._clear()

    def survived(self, part: PartitionBatch[PartitionState]) -> None:
        """Nothing in this batch is under suspicion any more."""
        if self.suspects:
            over = {
                (topic, number, first, end)
                for topic, number, first, end in self.suspects
                if number == part.partition and part.state.positions.get(topic, 0) >= end
            }
            if over:
                for span in over:
                    del self.suspects[span]
                self._keep()

    def _try_each(self, run: Run, part: PartitionBatch[PartitionState]) -> None:
        number = part.partition
        for record in self._deaths(number, run.records, 1):
            topic, offset = record.topic, record.offset
            if (topic, number, offset) in self.deadly:
                continue
            came = as_it_came(run.surroundings.record_bytes_max, number, record)
            if came.fault is None and came.schema in run.surroundings.schemas:
                self._write({topic: (offset, offset + 1)}, number, alone=True)
                decode(run.surroundings.schemas, came)
                self._clear()

    def _suspect(self, span: Span) -> None:
        """Count a death over a span, and those over what lies in it."""
        topic, number, first, end = span
        before = [
            known
            for known in self.suspects
            if known[:2] == (topic, number) and known[2] < end and first < known[3]
        ]
        self.suspects[span] = 1 + max((self.suspects.pop(known) for known in before), default=0)

    def _deaths(self, number: int, records: Iterable[Record], least: int) -> Iterator[Record]:
        """Those of a partition's records that so many predecessors may have died of."""
        mine = [
            (topic, first, end)
            for (topic, n, first, end), deaths in self.suspects.items()
            if n == number and deaths >= least
        ]
        if mine:
            for record in records:
                if any(record.topic == t and a <= record.offset < b for t, a, b in mine):
                    yield record

    def _write(
        self, topics: Mapping[str, tuple[int, int]], number: int, *, alone: bool = False
    ) -> None:
        if self._note is None:
            return
        told = json.dumps([topics, number, alone]).encode()
        if len(told) <= NOTE_BYTES - _LENGTH:
            self._note[_LENGTH : _LENGTH + len(told)] = told
            self._note[:_LENGTH] = len(told).to_bytes(_LENGTH, "big")  # last: it makes it valid

    def _clear(self) -> None:
        if self._note is not None:
            self._note[:_LENGTH] = bytes(_LENGTH)

    def _keep(self) -> None:
        """Write down what is known of the dead."""
        new = self._kept.with_suffix(".new")
        try:
            new.write_text(
                json.dumps(
                    {
                        "suspects": [[*span, n] for span, n in sorted(self.suspects.items())],
                        "deadly": sorted(self.deadly),
                    }
                ),
                "utf-8",
            )
            new.replace(self._kept)
        except OSError as error:
            log.warning("what kills the decoder can't be written down: %s", error)
