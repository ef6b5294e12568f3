"""`milepost verify --resume` goes on where an audit was interrupted, and says so."""

import pytest
from tampered_topics import DECLARED, NOW_MS, TMS, altered, check

from pipeline.contract import names
from pipeline.kafka.reading import Span
from pipeline.operations.proof.proven import Proven
from pipeline.operations.verify import Audit, verify


class AuditEndedError(Exception):
    """Somebody ended the audit."""


def until_partition(number):
    def tell(course):
        if course.partition == number:
            raise AuditEndedError

    return tell


def run_audit(topics, file, *, resume=False, tell=None, deep=False):
    proven = Proven(file, resume=resume, deep=deep)
    return verify(topics, DECLARED, Audit(tell=tell, proven=proven, now_ms=lambda: NOW_MS))


def interrupt(topics, file, at=2):
    with pytest.raises(AuditEndedError):
        run_audit(topics, file, tell=until_partition(at))


def test_an_interrupted_audit_goes_on_with_the_partitions_that_are_not_proven(topics, tmp_path):
    file = tmp_path / "proven.json"
    interrupt(topics, file)
    whole = check(topics)
    for topic in (names.APPROVED, TMS, names.CHANGELOG):
        topics.records_of[topic, 0].clear()  # not read again, so not missed
    report = run_audit(topics, file, resume=True)
    assert report.clean
    assert [item.partition for item in report.taken_over] == [0, 1]
    assert report.taken_over[0].since == 0
    assert report.taken_over[0].proven_ms == NOW_MS
    assert (report.records, report.approved, report.dispositions) == (
        whole.records,
        whole.approved,
        whole.dispositions,
    )
    assert sorted(report.inputs) == sorted(whole.inputs)
    assert not file.exists()


def test_a_new_audit_takes_nothing_over(topics, tmp_path):
    interrupt(topics, tmp_path / "proven.json")
    topics.records_of[names.APPROVED, 0].clear()
    report = run_audit(topics, tmp_path / "proven.json")
    assert report.taken_over == []
    assert report.first["approved"].partition == 0


def test_a_partition_whose_ledger_is_another_one_is_read_again(topics, tmp_path):
    interrupt(topics, tmp_path / "proven.json")
    rows = topics.records_of[names.DECISIONS, 1]
    rows[-1] = altered(rows[-1], policy_version="another")
    report = run_audit(topics, tmp_path / "proven.json", resume=True)
    assert [item.partition for item in report.taken_over] == [0]
    assert set(report.broken) == {"state"}


def test_what_was_added_to_a_proven_partition_is_counted(topics, tmp_path):
    interrupt(topics, tmp_path / "proven.json")
    span = topics.spans[names.DECISIONS, 0]
    topics.spans[names.DECISIONS, 0] = Span(0, span.end + 7)
    report = run_audit(topics, tmp_path / "proven.json", resume=True)
    assert report.taken_over[0].since == 7


def test_a_proof_without_a_replay_is_none_for_who_wants_one(topics, tmp_path):
    interrupt(topics, tmp_path / "proven.json")
    report = run_audit(topics, tmp_path / "proven.json", resume=True, deep=True)
    assert report.taken_over == []


def test_a_partition_in_which_something_was_found_is_not_taken_over(topics, tmp_path):
    del topics.records_of[names.APPROVED, 0][1]
    interrupt(topics, tmp_path / "proven.json")
    report = run_audit(topics, tmp_path / "proven.json", resume=True)
    assert [item.partition for item in report.taken_over] == [1]
    assert report.first["approved"].partition == 0


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 0, "partitions": {"0": {}}}'])
def test_proofs_that_cannot_be_read_are_none(topics, tmp_path, content):
    file = tmp_path / "proven.json"
    file.write_text(content)
    assert run_audit(topics, file, resume=True).taken_over == []


def test_the_first_place_of_each_rule_is_told(topics):
    for number in (3, 1):
        rows = topics.records_of[names.DEAD_LETTER, number]
        rows[0] = rows[0]._replace(value=b"other")
    first = check(topics).first["dead_letters"]
    assert first.partition == 1
    document = check(topics).document()
    assert document["first"]["dead_letters"]["offset"] == first.offset
