"""`milepost verify` names a transaction of which one side is missing."""

from copied_topics import CopiedTopics
from tampered_topics import body_of, check

from pipeline.contract import names
from pipeline.kafka.reading import Span, UndecidedError


def transaction(topics, topic, number, ordinal):
    """Records of a topic that one transaction wrote: they lie without a gap."""
    runs = [[]]
    for record in topics.records_of[topic, number]:
        if runs[-1] and record.offset != runs[-1][-1].offset + 1:
            runs.append([])
        runs[-1].append(record)
    return runs[ordinal]


def torn(topics):
    return [item for item in check(topics).violations if item.rule == "torn"]


def test_a_block_without_any_of_its_approved_records_is_a_torn_transaction(topics):
    gone = transaction(topics, names.APPROVED, 2, 3)
    topics.records_of[names.APPROVED, 2] = [
        record for record in topics.records_of[names.APPROVED, 2] if record not in gone
    ]
    (found,) = torn(topics)
    assert (found.topic, found.partition) == (names.DECISIONS, 2)
    assert f"none of the {len(gone)} approved records" in found.detail
    block = next(r for r in topics.records_of[names.DECISIONS, 2] if r.offset == found.offset)
    assert body_of(block, "decision-block")["approved_count"] > 0


def test_one_of_several_approved_records_that_is_missing_is_no_torn_transaction(topics):
    for number in range(4):
        for ordinal in range(8):
            run = transaction(topics, names.APPROVED, number, ordinal)
            if len(run) > 1:
                topics.records_of[names.APPROVED, number].remove(run[0])
                assert torn(topics) == []
                return
    raise AssertionError("no transaction with two approved records")


def test_a_block_without_any_of_its_dead_letters_is_a_torn_transaction(topics):
    gone = transaction(topics, names.DEAD_LETTER, 1, 0)
    rows = topics.records_of[names.DEAD_LETTER, 1]
    rows[:] = [record for record in rows if record not in gone]
    (found,) = torn(topics)
    assert "none of the 1 dead letters" in found.detail


def test_approved_records_whose_block_is_missing_are_a_torn_transaction(topics):
    rows = topics.records_of[names.DECISIONS, 2]
    gone = next(
        row
        for row in rows
        if any(verdict["revision"] for verdict in body_of(row, "decision-block")["decisions"])
    )
    rows.remove(gone)
    found = torn(topics)
    assert {(item.topic, item.partition) for item in found} == {(names.APPROVED, 2)}
    assert "the ledger, which lacks 1 blocks, does not know them" in found[0].detail


def test_a_transaction_that_was_torn_and_made_again_is_named(topics):
    run = transaction(topics, names.APPROVED, 2, 0)
    end = topics.spans[names.APPROVED, 2].end
    again = [record._replace(offset=end + at) for at, record in enumerate(run)]
    topics.records_of[names.APPROVED, 2] += again
    topics.spans[names.APPROVED, 2] = Span(0, end + len(again) + 1)
    assert {item.offset for item in torn(topics)} == {run[0].offset, end}


class Hanging(CopiedTopics):
    """Topics on one partition of which a transaction stays open."""

    def __init__(self, copied, place, offset):
        super().__init__()
        self.records_of, self.spans = copied.records_of, copied.spans
        self._place, self._offset = place, offset

    def span(self, topic, partition):
        if (topic, partition) == self._place:
            raise UndecidedError(topic, partition, Span(0, self._offset))
        return super().span(topic, partition)


def test_a_transaction_that_stays_open_is_named_and_what_lies_behind_it_is_missed(topics):
    rows = topics.records_of[names.APPROVED, 3]
    open_at = rows[-1].offset
    report = check(Hanging(topics, (names.APPROVED, 3), open_at))
    assert set(report.broken) == {"torn", "approved"}
    assert report.first["torn"].detail.startswith("a transaction that begins here stays open")
    assert report.first["torn"][1:4] == (names.APPROVED, 3, open_at)
