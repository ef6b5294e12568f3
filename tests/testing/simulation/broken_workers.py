"""Workers that are broken on purpose, each in one way that has lost or doubled events somewhere."""

from __future__ import annotations

from pipeline.contract import names
from pipeline.lane.engine import Engine
from pipeline.lane.inlet import Inlet
from pipeline.lane.model import Decided
from pipeline.lane.reading import Reading
from pipeline.lane.restore import Restorer
from pipeline.lane.writer import Writer
from pipeline.streams.governor import Decider, Governing
from pipeline.testing.simulation.coordinator import Coordinator
from pipeline.testing.simulation.group import Group
from pipeline.testing.simulation.producer import SimulatedWriter

_PRODUCE, _DECIDE, _ENDS = Writer._produce, Decider._part, Restorer._ends
_RELOAD, _PART, _AIM, _RESTORE = Inlet.reload, Inlet._part, Reading.aim, Governing.restore


def nothing(*_):
    """Do nothing, and find nothing wrong."""


def reload_but_read_on(self, *more):
    self.went = {number: dict(part.reading.position) for number, part in self.parts.items()}
    _RELOAD(self, *more)


def part_that_reads_on(self, number, changelog):
    part = _PART(self, number, changelog)
    went = getattr(self, "went", {}).pop(number, None)
    if went is not None:
        part.reading = Reading(number, went)
        part.reading.select(self._chosen(part))
    return part


def produce_one_twice(self, outputs):
    outputs = list(outputs)
    again = [output for output in outputs if output.topic == names.APPROVED][:1]
    return _PRODUCE(self, outputs + again)


def without_one(topic):
    async def decide(self, part):
        result = await _DECIDE(self, part)
        if isinstance(result, Decided):
            outputs = list(result.outputs)
            at = next((at for at, o in enumerate(outputs) if o.topic == topic), len(outputs))
            return Decided(outputs[:at] + outputs[at + 1 :], result.changelog, result.positions)
        return result

    return decide


async def with_another_letter(self, part):
    result = await _DECIDE(self, part)
    if isinstance(result, Decided):
        result.outputs = [
            o._replace(value=(o.value or b"") + b"\0") if o.topic == names.DEAD_LETTER else o
            for o in result.outputs
        ]
    return result


async def without_a_change(self, part):
    result = await _DECIDE(self, part)
    if isinstance(result, Decided) and len(result.changelog) > 2:
        result.changelog = result.changelog[1:]
    return result


def ends_of_what_is_stable(self, partitions, interrupted):
    ends = _ENDS(self, partitions, interrupted)
    broker = self._consumer.process.broker
    return ends and {number: broker.log(names.CHANGELOG, number).stable for number in ends}


def read_at_once(self, append_ms, ends):
    return _AIM(self, append_ms, dict.fromkeys(ends, 0))


def restore_trustingly(self, partition, changelog):
    state = _RESTORE(self, partition, changelog)
    state.trust.held_back.clear()
    return state


BROKEN = {
    "offsets are committed outside the transaction": [
        (SimulatedWriter, "send_offsets_to_transaction", nothing),
    ],
    "an abort does not rewind": [
        (Inlet, "reload", reload_but_read_on), (Inlet, "_part", part_that_reads_on),
    ],
    "state is kept after an abort": [(Engine, "_reload", nothing)],
    "epochs do not fence": [(Coordinator, "check", nothing)],
    "generations do not fence": [(Group, "check", nothing)],
    "an approved record is produced twice": [(Writer, "_produce", produce_one_twice)],
    "a link is dropped": [(Decider, "_part", without_one(names.LINKS))],
    "an approved record is dropped": [(Decider, "_part", without_one(names.APPROVED))],
    "a dead letter is dropped": [(Decider, "_part", without_one(names.DEAD_LETTER))],
    "a dead letter has other bytes": [(Decider, "_part", with_another_letter)],
    "a change of state is not written": [(Decider, "_part", without_a_change)],
    "a restore does not wait for a predecessor's offsets": [
        (Restorer, "_wait_stable", lambda *_: True),
    ],
    "a restore trusts the last stable offset": [(Restorer, "_ends", ends_of_what_is_stable)],
    "a restore forgets who is not trusted": [(Governing, "restore", restore_trustingly)],
    "a tick moves the clock past what is unread": [(Reading, "aim", read_at_once)],
    "what was put off is never taken up again": [(Reading, "wake", nothing)],
}  # fmt: skip
"""What to exchange, by what goes wrong."""
