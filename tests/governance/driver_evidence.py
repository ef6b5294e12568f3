"""What the in-memory driver took and produced, as `milepost verify` reads topics."""

from __future__ import annotations

from pipeline.contract import codec
from pipeline.contract.topics import load
from pipeline.kafka.reading import Span, Stored
from pipeline.operations.verify import Audit, verify
from pipeline.testing.replaying.replay import KernelReplay

SCHEMAS = {1: "raw-event", 2: "link", 3: "control"}


class DriverEvidence:
    def __init__(self, driver):
        self._partitions = driver.partitions
        self._logs = {
            place: [
                Stored(
                    *place,
                    record.offset,
                    record.timestamp_ms,
                    record.key,
                    record.value,
                    list(record.headers or ()),
                )
                for record in records
            ]
            for place, records in driver.inputs.items()
        }
        for output in driver.outputs:
            place = output.topic, output.partition
            if place in driver.inputs:
                continue
            log = self._logs.setdefault(place, [])
            log.append(
                Stored(*place, len(log), 0, output.key, output.value, list(output.headers or ()))
            )

    def partitions(self, topic):
        return list(range(self._partitions))

    def span(self, topic, partition):
        return Span(0, len(self._logs.get((topic, partition), ())))

    def records(self, topic, partition, span):
        yield from self._logs.get((topic, partition), [])[span.start : span.end]

    def written(self, number):
        return codec.committed(SCHEMAS[number])

    def decode(self, value, name):
        return codec.decode(value or b"", codec.committed(name))


def violations(driver):
    """What the independent prover has against a run."""
    replay = KernelReplay(lambda name: driver.policies.get(name.version))
    report = verify(DriverEvidence(driver), load(), Audit(replay=replay))
    assert [item.why for item in report.replayed] == [""] * driver.partitions
    return [str(item) for item in report.violations]
