"""Topics in memory, as evidence for an audit: copies of what a stack holds, or of a driver's run.

A tampering test rewrites a copy; `verify` reads copies and real topics through the same seam.
"""

from __future__ import annotations

from collections import defaultdict

from pipeline.contract import codec, names
from pipeline.kafka.reading import Span, Stored
from pipeline.testing.driver import TopologyDriver


class CopiedTopics:
    """Evidence whose records can be deleted, doubled, altered and swapped."""

    def __init__(self):
        self.records_of = defaultdict(list)
        """Records by (topic, partition)."""
        self.spans = {}

    @classmethod
    def of(cls, evidence, topics):
        """Copy topics of any evidence."""
        copied = cls()
        for topic in topics:
            for number in evidence.partitions(topic):
                span = evidence.span(topic, number)
                copied.spans[topic, number] = span
                copied.records_of[topic, number] = list(evidence.records(topic, number, span))
        return copied

    def partitions(self, topic):
        return sorted(number for name, number in self.spans if name == topic)

    def span(self, topic, partition):
        return self.spans.get((topic, partition), Span(0, 0))

    def records(self, topic, partition, span):
        for record in list(self.records_of[topic, partition]):
            if span.start <= record.offset < span.end:
                yield record

    def since(self, topic, partition, time_ms):
        later = (r.offset for r in self.records_of[topic, partition] if r.timestamp_ms >= time_ms)
        return next(later, self.span(topic, partition).end)

    def written(self, number):
        return codec.committed({1: "raw-event", 2: "link", 3: "control"}[number])

    def decode(self, value, name):
        codec.schema_id(value)
        return codec.decode(value or b"", codec.committed(name))

    def newest(self, topic):
        """The place in `records_of` of a topic's last record: its list and index."""
        rows = max(
            (self.records_of[topic, number] for number in self.partitions(topic)),
            key=lambda rows: rows[-1].timestamp_ms if rows else -1,
        )
        return rows, len(rows) - 1


class RecordedDriver(TopologyDriver):
    """A driver that also keeps its inputs; `copies` gives all its topics, markers included.

    Outputs take a transaction marker behind them, as on a broker.
    """

    def __init__(self, *args, **kwargs):
        self.appended = []
        super().__init__(*args, **kwargs)

    def _append(self, topic, partition, key, value, headers, at_ms):
        place = super()._append(topic, partition, key, value, headers, at_ms)
        self.appended.append(
            Stored(topic, partition, place.offset, at_ms, key, value, list(headers or ()))
        )
        return place

    def _take(self, partition, records):
        before = len(self.outputs)
        super()._take(partition, records)
        self.batches.append((self.now_ms, self.outputs[before:]))

    @property
    def batches(self):
        return self.__dict__.setdefault("_batches", [])

    def copies(self):
        copied = CopiedTopics()
        topics = [names.DECISIONS, names.APPROVED, names.ENTITY_STATUS, names.DEAD_LETTER]
        for topic in [*topics, names.CHANGELOG, names.REKEYED, names.LINKS, names.ALERTS]:
            for number in range(self.partitions):
                copied.spans[topic, number] = Span(0, 0)
        for record in self.appended:
            self._add(copied, record)
        for at_ms, outputs in self.batches:
            written = set()
            for topic, partition, key, value, headers in outputs:
                if topic in {names.LINKS, names.REKEYED}:
                    continue  # among the inputs already
                end = copied.spans[topic, partition].end
                self._add(
                    copied, Stored(topic, partition, end, at_ms, key, value, list(headers or ()))
                )
                written.add((topic, partition))
            for place in written:
                copied.spans[place] = Span(0, copied.spans[place].end + 1)
        return copied

    def _add(self, copied, record):
        place = record.topic, record.partition
        copied.records_of[place].append(record)
        copied.spans[place] = Span(0, record.offset + 1)
