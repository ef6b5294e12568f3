"""`milepost verify --deep` decides everything anew, and finds what nothing else could show."""

import json
from unittest.mock import patch

import pytest
from tampered_topics import (
    BLOCK,
    DECLARED,
    POLICY,
    STORY,
    TMS,
    Growing,
    altered,
    body_of,
    check,
    more_of,
    reseal,
    rows_of,
    run,
)

from pipeline.contract import codec, names
from pipeline.governance.ledger import state_digest
from pipeline.kafka.reading import Span
from pipeline.operations.verify import Audit, verify
from pipeline.streams.quarantine import REFUSED
from pipeline.testing.replaying.replay import KernelReplay


def deep(topics, find_policy=lambda _: POLICY):
    return verify(topics, DECLARED, Audit(replay=KernelReplay(find_policy)))


def found(topics):
    """Rules that only a replay shows to be broken."""
    assert check(topics).violations == []
    return deep(topics)


def with_verdict(rows, wanted):
    """The first block with such a verdict, and its place there."""
    for at, record in enumerate(rows):
        for place, row in enumerate(body_of(record, BLOCK)["decisions"]):
            if wanted(row):
                return at, place
    raise AssertionError("no such verdict")


def changed_verdict(record, place, **changes):
    rows = body_of(record, BLOCK)["decisions"]
    rows[place] |= changes
    return altered(record, decisions=rows)


def test_an_honest_run_is_decided_the_same_again(topics):
    report = deep(topics)
    assert report.violations == []
    assert [(item.blocks, item.why) for item in report.replayed] == [
        (len(topics.records_of[names.DECISIONS, number]), "") for number in range(4)
    ]
    document = report.document()
    assert set(document["rules"]) - set(check(topics).document()["rules"]) == {
        "replayed",
        "derived",
    }


def test_what_the_decoder_died_of_is_not_read_again():
    driver = run(events=50)
    with patch("pipeline.testing.driver._refused", lambda *_: REFUSED):
        driver.pipe_bytes(TMS, b"acme/shipment/S1", b"\0\0\0\0\x62deadly", partition=0)
        driver.advance(1_000)
    report = deep(driver.copies())
    assert report.violations == []
    assert [item.why for item in report.replayed] == [""] * 4
    blocks = driver.copies().records_of[names.DECISIONS, 0]
    given = {row["reason"] for one in blocks for row in body_of(one, BLOCK)["decisions"]}
    assert "decoder_died" in given


VERDICTS = {
    "reason": "differs_from_owner",
    "rule": "another",
    "claim": "another",
    "occurred": 1,
    "received": 1,
    "deadline": 1,
    "event_type": "departed",
    "platform": "portal",
}


@pytest.mark.parametrize("field", VERDICTS)
def test_a_verdict_that_was_altered_with_everything_that_seals_it_is_found(topics, field):
    rows = topics.records_of[names.DECISIONS, 1]
    at, place = with_verdict(rows, lambda row: row["disposition"] == "approved")
    rows[at] = changed_verdict(rows[at], place, **{field: VERDICTS[field]})
    reseal(topics, 1)
    report = found(topics)
    assert set(report.broken) == {"replayed"}
    first = report.first["replayed"]
    assert first[1:4] == (names.DECISIONS, 1, rows[at].offset)
    assert f"decisions[{place}].{field} is {VERDICTS[field]!r}, the replay gives" in first.detail


def test_a_verdict_and_its_approved_record_that_agree_on_a_lie_are_found(topics):
    rows = topics.records_of[names.DECISIONS, 2]
    approved = topics.records_of[names.APPROVED, 2]
    at, place = with_verdict(rows, lambda row: row["disposition"] == "approved")
    rows[at] = changed_verdict(rows[at], place, rule="ours")
    approved[0] = altered(approved[0], rule="ours")
    reseal(topics, 2)
    report = found(topics)
    assert set(report.broken) == {"replayed"}
    assert report.first["replayed"].partition == 2


def test_an_approved_record_that_says_more_than_was_decided_is_found_where_it_is(topics):
    rows = topics.records_of[names.APPROVED, 0]
    rows[3] = altered(rows[3], status_after="delivered", agree=["portal"])
    reseal(topics, 0)
    report = found(topics)
    first = report.first["replayed"]
    assert first[1:4] == (names.APPROVED, 0, rows[3].offset)
    assert "status_after is 'delivered', the replay gives" in first.detail


def test_records_that_were_decided_in_another_order_than_the_ledger_says_are_found(topics):
    for number in range(4):
        rows = topics.records_of[names.DECISIONS, number]
        for at, record in enumerate(rows):
            body = body_of(record, BLOCK)
            if len(body["decisions"]) > 1 and len(body["inputs"]) > 1:
                body["decisions"].reverse()
                rows[at] = altered(record, decisions=body["decisions"])
                reseal(topics, number)
                assert "replayed" in deep(topics).broken
                return
    raise AssertionError("no block with records of two inputs")


def test_a_clock_that_moved_otherwise_is_found(topics):
    rows = topics.records_of[names.DECISIONS, 3]
    at = next(
        at
        for at, record in enumerate(rows)
        if any(row["cause"] == -1 for row in body_of(record, BLOCK)["transitions"])
    )
    body = body_of(rows[at], BLOCK)
    rows[at] = altered(rows[at], clock_after=body["clock_before"])
    reseal(topics, 3)
    report = found(topics)
    assert report.first["replayed"][1:4] == (names.DECISIONS, 3, rows[at].offset)


def test_a_state_that_does_not_follow_from_what_was_decided_is_found(topics):
    """Also where the ledger's digest of the state was put right with it."""
    states = topics.records_of[names.CHANGELOG, 1]
    at = max(at for at, record in enumerate(states) if record.key != b"\0partition")
    forged = states[at]._replace(value=states[at].value + b" ")
    own = max(at for at, record in enumerate(states) if record.key == b"\0partition")
    told = json.loads(states[own].value)
    before, key = int(told["digest"], 16), forged.key
    digest = f"{state_digest(before, key, states[at].value, forged.value):032x}"
    states[at] = forged
    states[own] = states[own]._replace(value=json.dumps(told | {"digest": digest}).encode())
    rows = topics.records_of[names.DECISIONS, 1]
    rows[-1] = altered(rows[-1], state_digest=digest)
    reseal(topics, 1)
    report = found(topics)
    assert "state_digest is" in report.first["replayed"].detail


OWN = {
    "clock": 1,
    "trust": {"seen": {}},
    "policy_version": "another",
    "approved_count": 1,
    "complete": {"tms-na": 5},
}


@pytest.mark.parametrize("field", OWN)
def test_what_the_state_says_of_its_partition_must_follow_too(topics, field):
    states = topics.records_of[names.CHANGELOG, 1]
    at = max(at for at, record in enumerate(states) if record.key == b"\0partition")
    told = json.loads(states[at].value) | {field: OWN[field]}
    states[at] = states[at]._replace(value=json.dumps(told).encode())
    report = found(topics)
    first = report.first["replayed"]
    assert first[1:4] == (names.CHANGELOG, 1, states[at].offset)
    assert f"the state's {field} is" in first.detail


def test_an_entity_of_which_the_state_is_not_the_ledgers_is_named(topics):
    states = topics.records_of[names.CHANGELOG, 1]
    at = max(at for at, record in enumerate(states) if record.key != b"\0partition")
    states[at] = states[at]._replace(value=states[at].value + b" ")
    report = deep(topics)
    assert set(report.broken) == {"state", "replayed"}
    assert report.first["replayed"][1:4] == (names.CHANGELOG, 1, states[at].offset)


# What follows from the decisions


def appended(topics, topic, record):
    """Somebody else's record at the end of a topic that the ledger doesn't tile."""
    number = record.partition
    end = topics.spans[topic, number].end
    topics.records_of[topic, number].append(record._replace(offset=end))
    topics.spans[topic, number] = Span(0, end + 1)
    return end


def last_of(topics, topic):
    rows = next(rows for place, rows in topics.records_of.items() if place[0] == topic and rows)
    return rows, len(rows) - 1


def with_text(record, name, **changes):
    schema = codec.committed(name)
    body = codec.decode(record.value, schema) | changes
    return record._replace(value=codec.encode(body, schema, codec.schema_id(record.value)))


def test_a_story_that_tells_something_else_is_found(topics):
    rows, at = last_of(topics, names.ENTITY_STATUS)
    rows[at] = with_text(rows[at], STORY, status="delivered", flags=["incomplete"])
    report = found(topics)
    assert set(report.broken) == {"derived"}
    assert report.first["derived"][1:4] == (
        names.ENTITY_STATUS,
        rows[at].partition,
        rows[at].offset,
    )


def test_an_altered_alert_is_found(topics):
    rows, at = last_of(topics, names.ALERTS)
    rows[at] = with_text(rows[at], "alert", summary="All is well")
    report = found(topics)
    assert report.first["derived"][1:4] == (names.ALERTS, rows[at].partition, rows[at].offset)


def test_a_missing_and_an_invented_alert_are_found(topics):
    rows, at = last_of(topics, names.ALERTS)
    gone = rows.pop(at)
    assert set(found(topics).broken) == {"derived"}
    rows.append(gone)
    at = appended(topics, names.ALERTS, gone)
    assert found(topics).first["derived"][1:4] == (names.ALERTS, gone.partition, at)


def test_a_dead_letter_that_names_another_origin_is_found(topics):
    rows = rows_of(topics, names.DEAD_LETTER, least=1)
    headers = [
        (name, b"another" if name == "milepost.dlq.origin" else value)
        for name, value in rows[0].headers
    ]
    rows[0] = rows[0]._replace(headers=headers)
    report = found(topics)
    assert report.first["derived"][1:4] == (names.DEAD_LETTER, rows[0].partition, rows[0].offset)


def test_a_link_that_nobody_sent_is_found(topics):
    rows, at = last_of(topics, names.LINKS)
    forged = with_text(rows[at], "link", status="delivered")
    at = appended(topics, names.LINKS, forged)
    report = found(topics)
    assert report.first["derived"][1:4] == (names.LINKS, forged.partition, at)


def test_a_re_keyed_record_under_another_key_is_found(topics):
    rows = rows_of(topics, names.REKEYED, least=1)
    rows[0] = rows[0]._replace(key=b"demo/shipment/ANOTHER")
    report = deep(topics)
    assert "derived" in report.broken


# What can't be replayed is said


def test_records_beyond_retention_end_a_replay_and_that_is_said(topics):
    rows = topics.records_of[TMS, 2]
    del rows[:5]
    topics.spans[TMS, 2] = Span(rows[0].offset, topics.spans[TMS, 2].end)
    report = deep(topics)
    assert report.clean
    ended = report.replayed[2]
    assert ended.blocks < ended.of
    assert "no longer has offset" in ended.why
    assert [item.why for item in report.replayed if item.partition != 2] == ["", "", ""]


def test_a_policy_that_is_gone_ends_a_replay_and_that_is_said(topics):
    report = deep(topics, lambda _: None)
    assert report.clean
    assert all("not published any more" in item.why for item in report.replayed)


def test_retention_of_what_was_written_is_no_finding(topics):
    for topic in (names.DEAD_LETTER, names.ALERTS):
        for number in range(4):
            rows = topics.records_of[topic, number]
            if len(rows) > 1:
                del rows[:-1]
                topics.spans[topic, number] = Span(rows[0].offset, topics.spans[topic, number].end)
    report = deep(topics)
    assert report.violations == []
    assert {item.topic for item in report.beyond} >= {names.DEAD_LETTER, names.ALERTS}


def test_schema_ids_of_another_registry_change_nothing(topics):
    """Approved records are chained as they are written; the rest says the same under another id."""
    for number in range(4):
        rows = topics.records_of[names.APPROVED, number]
        for at in range(len(rows) // 2, len(rows)):
            rows[at] = rows[at]._replace(value=b"\0\0\0\1\0" + rows[at].value[5:])
        reseal(topics, number)
    report = deep(topics)
    assert report.violations == []


def test_a_governor_may_go_on_while_its_work_is_replayed():
    driver = run(seed=3, events=150)
    report = deep(Growing(driver, more_of(seed=4)))
    assert report.violations == []
    assert [item.why for item in report.replayed] == [""] * 4
