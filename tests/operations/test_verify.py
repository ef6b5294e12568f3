"""What `milepost verify` proves, shown by what it finds when somebody tampers with a topic."""

import pytest
from tampered_topics import (
    TMS,
    Growing,
    altered,
    body_of,
    broken,
    check,
    more_of,
    rows_of,
    run,
)

from pipeline.contract import names
from pipeline.kafka.reading import Span
from pipeline.operations.proof import report as reporting


def test_an_honest_run_is_clean_and_has_every_kind_of_fate(topics):
    report = check(topics)
    assert report.violations == []
    assert report.clean
    assert {"approved", "held", "dead_lettered", "rerouted", "duplicate"} <= set(
        report.dispositions
    )
    assert report.dispositions.total() == report.records
    assert report.approved == sum(
        len(topics.records_of[names.APPROVED, number]) for number in range(4)
    )
    assert (report.pending, report.unreadable, report.lost) == (0, 0, 0)


def test_counts_of_each_input_are_told(topics):
    for item in check(topics).inputs:
        assert item.records == item.decided == len(topics.records_of[item.topic, item.partition])


# What retention takes


def _retain(topics, topic, keep):
    """Let retention take all but the newest records of every partition."""
    taken = 0
    for (name, number), rows in topics.records_of.items():
        if name == topic and len(rows) > keep:
            taken += len(rows) - keep
            del rows[: len(rows) - keep]
            topics.spans[name, number] = Span(rows[0].offset, topics.spans[name, number].end)
    return taken


@pytest.mark.parametrize("topic", [TMS, names.LINKS, names.CONTROL])
def test_inputs_beyond_retention_are_counted_not_blamed(topics, topic):
    taken = _retain(topics, topic, 2)
    report = check(topics)
    assert report.clean
    assert taken > 0
    assert report.unreadable == taken
    assert {item.topic for item in report.beyond} == {topic}
    assert report.document()["beyond_retention"]


def test_dead_letters_and_strays_beyond_retention_are_counted_not_blamed(topics):
    taken = _retain(topics, names.DEAD_LETTER, 1) + _retain(topics, names.REKEYED, 1)
    report = check(topics)
    assert report.violations == []
    assert taken > 0
    assert {item.topic for item in report.beyond} == {names.DEAD_LETTER, names.REKEYED}


def test_a_record_missing_within_retention_is_still_found(topics):
    _retain(topics, TMS, 5)
    del rows_of(topics, TMS)[2]
    assert "inputs" in broken(topics)


def test_what_retention_took_unread_breaks_a_promise_and_is_told(topics):
    rows = topics.records_of[names.DECISIONS, 1]
    block = body_of(rows[-1], "decision-block")
    covered = {
        "topic": "logistics.raw.lost.v1",
        "first": 0,
        "next": 40,
        "gaps": [{"first": 0, "next": 40, "cause": "RETENTION"}],
    }
    rows[-1] = altered(rows[-1], inputs=[*block["inputs"], covered])
    report = check(topics)
    assert report.lost == 40
    assert report.broken["lost"] == 1
    assert "40 offsets from 0 were gone before they were read" in str(
        next(item for item in report.violations if item.rule == "lost")
    )


# Workers that go on meanwhile


def test_a_governor_may_go_on_while_its_work_is_verified():
    driver = run(seed=3, events=150)
    report = check(Growing(driver, more_of(seed=4)))
    assert report.violations == []
    assert report.clean


def test_a_broken_rule_is_told_a_few_times_and_counted_in_full(topics):
    for number in range(4):
        topics.records_of[names.APPROVED, number].clear()
    report = check(topics)
    told = [item for item in report.violations if item.rule == "approved"]
    assert len(told) == reporting.FINDINGS_MAX
    assert report.broken["approved"] > reporting.FINDINGS_MAX
    assert report.document()["broken"]["approved"] == report.broken["approved"]


def test_overlapping_blocks_break_the_tiling(topics):
    rows = rows_of(topics, names.DECISIONS)
    block = body_of(rows[-1], "decision-block")
    at = next(i for i, item in enumerate(block["inputs"]) if item["next"] > item["first"])
    block["inputs"][at]["next"] += 1
    rows[-1] = altered(rows[-1], inputs=block["inputs"])
    assert "tiling" in broken(topics)


def test_nonsense_in_the_ledger_is_a_finding_not_a_crash(topics):
    rows = rows_of(topics, names.DECISIONS)
    rows[1] = rows[1]._replace(value=b"\0\0\0\0\6nonsense")
    assert "chain" in broken(topics)
    rows = rows_of(topics, names.APPROVED)
    rows[1] = rows[1]._replace(value=None)
    assert "approved" in broken(topics)
