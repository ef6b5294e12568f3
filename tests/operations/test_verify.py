"""What `milepost verify` proves, shown by what it finds when somebody tampers with a topic."""

import json

import pytest
from tampered_topics import (
    STORY,
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

from pipeline.contract import codec, names
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


# One record of each topic deleted, doubled, altered, swapped; and every end cut off

COMPACTED = {names.CHANGELOG, names.ENTITY_STATUS}
DELETED = {
    names.DECISIONS: "chain",
    names.APPROVED: "approved",
    names.ENTITY_STATUS: "status",
    names.DEAD_LETTER: "dead_letters",
    names.REKEYED: "inputs",
    names.LINKS: "inputs",
    names.CONTROL: "inputs",
    names.CHANGELOG: "state",
    TMS: "inputs",
}


@pytest.mark.parametrize(("topic", "rule"), DELETED.items())
def test_a_deleted_record_is_found(topics, topic, rule):
    if topic == names.ENTITY_STATUS:
        rows = rows_of(topics, topic)
        key = rows[-1].key
        rows[:] = [record for record in rows if record.key != key]
    elif topic == names.CHANGELOG:
        rows = rows_of(topics, topic)
        key = next(record.key for record in rows if record.key != b"\0partition")
        rows[:] = [record for record in rows if record.key != key]
    else:
        del rows_of(topics, topic, least=2)[1]
    found = broken(topics)
    assert rule in found
    assert "counts" in found or rule != "inputs"


@pytest.mark.parametrize(("topic", "rule"), DELETED.items())
def test_a_topic_whose_end_is_cut_off_is_found(topics, topic, rule):
    cut = 0
    for (name, number), rows in topics.records_of.items():
        if name == topic and len(rows) > 2:
            if topic in {names.CHANGELOG, names.ENTITY_STATUS}:
                del rows[len(rows) // 2 :]
            else:
                del rows[-1]
            topics.spans[name, number] = Span(0, rows[-1].offset + 1)
            cut += 1
    assert cut
    found = broken(topics)
    assert ("state" if topic == names.DECISIONS else rule) in found


DOUBLED = {
    names.DECISIONS: "chain",
    names.APPROVED: "approved",
    names.DEAD_LETTER: "dead_letters",
    names.ENTITY_STATUS: "status",
    names.CHANGELOG: "state",
    names.REKEYED: "unread",
    names.LINKS: "unread",
    names.CONTROL: "unread",
    TMS: "unread",
}


@pytest.mark.parametrize(("topic", "rule"), DOUBLED.items())
def test_a_doubled_record_is_found(topics, topic, rule):
    """As a producer without transactions would: the same record once more, at the end."""
    (place, rows) = next(
        (place, rows) for place, rows in topics.records_of.items() if place[0] == topic and rows
    )
    end = topics.spans[place].end
    first = next(row for row in rows if _superseded(row, rows)) if topic in COMPACTED else rows[0]
    rows.append(first._replace(offset=end))
    topics.spans[place] = Span(0, end + 1)
    if rule == "unread":
        # The ledger claims to have read beyond it, so it was passed over
        _move_on(topics, *place, end + 1)
    assert rule in broken(topics)


def _superseded(record, rows):
    """Whether a later record of a compacted topic takes this one's place."""
    later = [row.value for row in rows if row.key == record.key and row.offset > record.offset]
    return bool(later) and later[-1] != record.value and record.key != b"\0partition"


def _move_on(topics, topic, number, position):
    """Let a ledger's last block of an input reach further, its hash and state put right."""
    rows = topics.records_of[names.DECISIONS, number]
    for at in range(len(rows) - 1, -1, -1):
        block = body_of(rows[at], "decision-block")
        covered = next((item for item in block["inputs"] if item["topic"] == topic), None)
        if covered is not None:
            gap = {"first": covered["next"], "next": position, "cause": "MARKER"}
            covered["gaps"].append(gap)
            covered["next"] = position
            rows[at] = altered(rows[at], inputs=block["inputs"])
            return


SWAPPED = {
    names.DECISIONS: "chain",
    names.APPROVED: "sequence",
    names.DEAD_LETTER: "dead_letters",
    names.ENTITY_STATUS: "status",
    names.CHANGELOG: "state",
    TMS: "inputs",
    names.LINKS: "inputs",
    names.REKEYED: "inputs",
    names.CONTROL: "inputs",
}


@pytest.mark.parametrize(("topic", "rule"), SWAPPED.items())
def test_two_records_in_the_wrong_order_are_found(topics, topic, rule):
    rows = rows_of(topics, topic, least=2 if topic == names.REKEYED else 4)
    if topic in COMPACTED:
        first = next(i for i, row in enumerate(rows) if _superseded(row, rows))
        second = max(i for i, row in enumerate(rows) if row.key == rows[first].key)
    elif topic == names.APPROVED:
        first = next(i for i, r in enumerate(rows) if body_of(r)["entity_seq"] == 1)
        second = next(i for i, r in enumerate(rows) if r.key == rows[first].key and i > first)
    elif topic == names.CONTROL:
        first, second = 0, len(rows) - 1  # an activation and a tick
    else:
        first = 0
        second = next(i for i, r in enumerate(rows) if r.value != rows[0].value and i > 0)
    one, two = rows[first], rows[second]
    rows[first] = two._replace(offset=one.offset, timestamp_ms=one.timestamp_ms)
    rows[second] = one._replace(offset=two.offset, timestamp_ms=two.timestamp_ms)
    assert rule in broken(topics)


@pytest.mark.parametrize("topic", [TMS, names.LINKS, names.CONTROL, names.REKEYED])
def test_an_altered_input_is_found(topics, topic):
    rows = rows_of(topics, topic, least=1)
    value = bytearray(rows[0].value)
    value[-1] ^= 1
    rows[0] = rows[0]._replace(value=bytes(value))
    assert "inputs" in broken(topics)


def test_an_altered_story_is_found(topics):
    rows = rows_of(topics, names.ENTITY_STATUS)
    newest = max(i for i, row in enumerate(rows) if row.key == rows[0].key)
    rows[newest] = altered(rows[newest], entity_seq=body_of(rows[newest], STORY)["entity_seq"] - 1)
    assert broken(topics) == {"status"}


def test_an_altered_block_is_found_by_the_block_after_it(topics):
    rows = rows_of(topics, names.DECISIONS)
    rows[0] = altered(rows[0], policy_version="another")
    assert broken(topics) == {"chain"}


def test_an_altered_last_block_is_found_by_the_state(topics):
    rows = rows_of(topics, names.DECISIONS)
    rows[-1] = altered(rows[-1], policy_version="another")
    assert broken(topics) == {"state"}


def test_an_altered_dead_letter_is_found(topics):
    rows = rows_of(topics, names.DEAD_LETTER, least=1)
    rows[0] = rows[0]._replace(value=(rows[0].value or b"") + b"!")
    assert broken(topics) == {"dead_letters"}


def test_a_dead_letter_with_another_reason_is_found(topics):
    rows = rows_of(topics, names.DEAD_LETTER, least=1)
    rows[0] = rows[0]._replace(
        headers=[
            (name, b"unknown_platform" if name == "milepost.dlq.reason" else value)
            for name, value in rows[0].headers
        ]
    )
    assert broken(topics) == {"dead_letters"}


CARRIED = {
    "native_status": "OTHER",
    "amount": 99,
    "currency": "EUR",
    "document": "D-0",
    "platform": "portal",
    "recorded": 1,
    "source_event_id": "another",
    "raw_digest": "00" * 16,
    "quantity": {"value": 1_000_000, "unit": "EA", "basis": "DELTA", "completeness": "COMPLETE"},
}


@pytest.mark.parametrize("field", CARRIED)
def test_an_approved_record_that_carries_something_else_than_its_claim_is_found(topics, field):
    rows = rows_of(topics, names.APPROVED)
    changed = CARRIED[field]
    if field == "quantity":
        schema = codec.definition("raw-event")
        fields = next(f for f in schema["fields"] if f["name"] == "quantity")["type"][1]["fields"]
        changed = {
            item["name"]: {"value": 1_000_000, "unit": "EA"}.get(
                item["name"], item.get("default", "DELTA")
            )
            for item in fields
        }
    rows[0] = altered(rows[0], **{field: changed})
    assert broken(topics) == {"carried", "altered"}


DERIVED = {
    "status_after": "delivered",
    "advances_status": None,
    "flags": ["late"],
    "rule": "another-rule",
    "policy_version": "0",
    "agree": ["portal"],
}


@pytest.mark.parametrize("field", DERIVED)
def test_an_approved_record_that_carries_another_decision_is_found(topics, field):
    rows = rows_of(topics, names.APPROVED)
    body = body_of(rows[0])
    changed = not body[field] if field == "advances_status" else DERIVED[field]
    rows[0] = altered(rows[0], **{field: changed})
    assert broken(topics) == {"altered"}


def test_an_approved_time_that_is_not_its_claims_is_found(topics):
    rows = rows_of(topics, names.APPROVED)
    rows[0] = altered(rows[0], occurred=body_of(rows[0])["occurred"] + 86_400_000)
    assert broken(topics) == {"carried", "altered"}


def test_a_header_that_says_otherwise_than_its_record_is_found(topics):
    rows = rows_of(topics, names.APPROVED)
    rows[0] = rows[0]._replace(
        headers=[
            (name, b"CORRECT" if name == names.HEADER_ACTION else value)
            for name, value in rows[0].headers
        ]
    )
    assert broken(topics) == {"approved"}


def test_an_approved_record_that_nobody_decided_is_found(topics):
    rows = rows_of(topics, names.APPROVED)
    place = names.APPROVED, rows[0].partition
    end = topics.spans[place].end
    invented = altered(rows[-1], milestone_id="00000000-0000-5000-8000-000000000000", revision=1)
    rows.append(invented._replace(offset=end))
    topics.spans[place] = Span(0, end + 1)
    found = check(topics)
    assert {"approved", "sequence"} == set(found.broken)
    assert "no verdict published milestone 00000000" in str(
        next(item for item in found.violations if item.rule == "approved")
    )


def test_an_invented_stray_is_found(topics):
    rows = rows_of(topics, names.REKEYED, least=1)
    place = names.REKEYED, rows[0].partition
    end = topics.spans[place].end
    rows.append(rows[0]._replace(offset=end))
    topics.spans[place] = Span(0, end + 1)
    assert "rerouted" in broken(topics)


def test_a_state_that_was_tampered_with_is_found(topics):
    rows = rows_of(topics, names.CHANGELOG)
    at = max(i for i, record in enumerate(rows) if record.key != b"\0partition")
    rows[at] = rows[at]._replace(value=rows[at].value + b" ")
    assert broken(topics) == {"state"}


def test_a_position_that_was_tampered_with_is_found(topics):
    rows = rows_of(topics, names.CHANGELOG)
    own = json.loads(rows[-1].value)
    own["positions"][TMS] += 1
    rows[-1] = rows[-1]._replace(value=json.dumps(own).encode())
    found = check(topics)
    assert set(found.broken) == {"state"}
    assert TMS in found.violations[0].detail


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
