"""Runs a scenario once more under what must make no difference: other workers, records read again.

In memory only. Must never decide what is right: the scenario's own expectations are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pipeline.contract import names
from pipeline.governance.vocabulary import Disposition
from pipeline.testing.driver import DriverRecord
from pipeline.testing.expectations import Outcome, Record, compare
from pipeline.testing.scenario_file import AgainStep, EventStep, Scenario, Variant
from pipeline.testing.scenarios import DriverStack, as_written, play

AGAIN: Final = " again"
"""What names of repeats end with."""
_PLACED: Final = frozenset({"ledger_seq", "raw_offset"})
"""Fields of an approved record that tell where it and its claim are."""
_TRACELESS: Final = frozenset({Disposition.DEAD_LETTERED, Disposition.STALE})


class FreshWorkers(DriverStack):
    """A stack where each batch of each partition is a fresh worker's."""

    def _take(self, partition: int, records: list[DriverRecord]) -> None:
        self._restore(partition)
        super()._take(partition, records)


def with_fresh_workers(scenario: Scenario, variant: Variant) -> list[str]:
    """In which ways a variant goes otherwise if no worker ever remembers anything.

    Every record on every topic has to be the same, byte for byte.
    """
    steps = _in_one_order(variant)
    stacks = [DriverStack(scenario), FreshWorkers(scenario)]
    outcomes = [_played(stack, scenario, variant, steps) for stack in stacks]
    only_story = variant.in_any_order == "true"
    problems = compare(variant.then, outcomes[1], only_story=only_story)
    for number, (mine, theirs) in enumerate(
        zip(stacks[1].outputs, stacks[0].outputs, strict=False)
    ):
        if mine != theirs:
            return [*problems, f"output {number} on {theirs.topic} is {mine}, not {theirs}"]
    if len(stacks[1].outputs) != len(stacks[0].outputs):
        problems.append(f"{len(stacks[1].outputs)} outputs, not {len(stacks[0].outputs)}")
    return problems


def with_records_again(scenario: Scenario, variant: Variant, *, at_once: bool) -> list[str]:
    """In which ways a variant goes otherwise if each of its records is read again.

    A repeat has to be a duplicate, or what its first was that left no trace: stale, a dead letter,
    waiting for what the dead letter had waited for. Approved records and stories have to be the
    same, but for where their claims are.

    Args:
        scenario: its file.
        variant: which one.
        at_once: right after each record; else all of them in the end.

    """
    steps = _in_one_order(variant)
    plain, repeated = DriverStack(scenario), DriverStack(scenario)
    _played(plain, scenario, variant, steps)
    outcome = _played(repeated, scenario, variant, _again(steps, at_once=at_once))
    problems = compare(
        variant.then, _without_repeats(outcome), only_story=variant.in_any_order == "true"
    )
    problems += _fates(outcome)
    if _told(repeated) != _told(plain):
        problems.append("approved records or stories differ from those that one reading gives")
    return problems


def _in_one_order(variant: Variant) -> Sequence[Any]:
    if variant.in_any_order == "true":
        return next(as_written(variant.when))
    return variant.when


def _played(
    stack: DriverStack, scenario: Scenario, variant: Variant, steps: Sequence[Any]
) -> Outcome:
    def made(_: Scenario) -> DriverStack:
        return stack

    return play(scenario, variant, made, steps).outcome()


def _again(steps: Sequence[Any], *, at_once: bool) -> list[Any]:
    found: list[Any] = []
    repeats: list[AgainStep] = []
    for step in steps:
        found.append(step)
        if isinstance(step, EventStep | AgainStep):
            repeats.append(AgainStep(id=step.id + AGAIN, again=step.id))
        if at_once:
            found += repeats
            repeats = []
    return found + repeats


def _without_repeats(outcome: Outcome) -> Outcome:
    """What is there besides the repeats."""
    repeats = {
        (row.partition, row.seq) for row in outcome.rows if (row.claim or "").endswith(AGAIN)
    }
    return outcome._replace(
        new=[name for name in outcome.new if not name.endswith(AGAIN)],
        transitions=[
            (partition, moved)
            for partition, moved in outcome.transitions
            if (partition, moved["seq"]) not in repeats
        ],
        letters=[(name, letter) for name, letter in outcome.letters if not name.endswith(AGAIN)],
    )


def _fates(outcome: Outcome) -> Iterator[str]:
    """Repeats that are no duplicates, though what they repeat left a trace."""
    verdicts = {
        (row.partition, row.seq): (row.decision["disposition"], row.decision["reason"])
        for row in outcome.rows
    }
    last = dict(verdicts)
    for partition, moved in outcome.transitions:
        if (partition, moved["seq"]) in last:
            last[partition, moved["seq"]] = moved["after"], moved["reason"]
    told = {row.claim: (row.partition, row.seq) for row in outcome.rows if row.claim}
    for name, place in told.items():
        fate, first = last[place], told.get(name.removesuffix(AGAIN), place)
        if not name.endswith(AGAIN) or fate[0] == Disposition.DUPLICATE:
            continue
        if last[first][0] not in _TRACELESS or fate not in {last[first], verdicts[first]}:
            yield f"{name} is {' '.join(fate)}, and the first was {' '.join(last[first])}"


def _told(stack: DriverStack) -> tuple[list[Record], dict[str, Record]]:
    """Approved records, and each entity's newest story, without where claims are."""
    approved = [
        {name: value for name, value in record.items() if name not in _PLACED}
        for record in stack.records(names.APPROVED)
    ]
    stories = {
        f"{story['entity_type']} {story['entity_id']}": story
        for story in stack.records(names.ENTITY_STATUS)
    }
    return approved, stories
