"""What `milepost verify` finds when somebody tampers with one record of a topic, and where.

Each rule that is broken names the first topic, partition and offset at which it is.
"""

import json

import pytest
from tampered_topics import (
    BLOCK,
    OWN_KEY,
    STORY,
    TMS,
    altered,
    body_of,
    check,
    first_places,
    own_state,
    place_of,
    rows_of,
)

from pipeline.contract import codec, names
from pipeline.kafka.reading import Span
from pipeline.operations.proof.ledger import digest_of

INPUTS = [TMS, names.LINKS, names.CONTROL, names.REKEYED]


def block_with(topics, number, wanted):
    """Where the block is that has such a verdict, or a later turn of one."""
    for record in topics.records_of[names.DECISIONS, number]:
        body = body_of(record, BLOCK)
        if any(wanted(row) for row in (*body["decisions"], *body["transitions"])):
            return place_of(record)
    raise AssertionError("no such verdict")


def block_that_approved(topics, record):
    said = body_of(record)
    return block_with(
        topics,
        record.partition,
        lambda row: (
            (row["milestone_id"], row["revision"]) == (said["milestone_id"], said["revision"])
        ),
    )


def block_that_sent(topics, record, disposition, numbers):
    """Where the block is that sent these bytes elsewhere."""
    for number in numbers:
        for found in topics.records_of[names.DECISIONS, number]:
            for row in body_of(found, BLOCK)["decisions"]:
                if (row["disposition"], row["digest"]) == (disposition, digest_of(record.value)):
                    return place_of(found)
    raise AssertionError("no such verdict")


def superseded(record, rows):
    """Whether a later record of a compacted topic takes this one's place."""
    later = [row.value for row in rows if row.key == record.key and row.offset > record.offset]
    return bool(later) and later[-1] != record.value and record.key != OWN_KEY


# Deleted


@pytest.mark.parametrize("topic", INPUTS)
def test_a_deleted_input_is_named(topics, topic):
    gone = rows_of(topics, topic, least=2).pop(1)
    found = first_places(topics)
    assert found["inputs"] == found["counts"] == place_of(gone)


def test_a_deleted_stray_is_missed_where_it_was_sent_on(topics):
    gone = rows_of(topics, names.REKEYED, least=2).pop(1)
    sent = block_that_sent(topics, gone, "rerouted", range(4))
    assert first_places(topics)["rerouted"] == sent


def test_a_deleted_block_is_named_by_the_block_after_it_and_by_what_it_had_decided(topics):
    rows = rows_of(topics, names.DECISIONS)
    gone = rows.pop(1)
    body = body_of(gone, BLOCK)
    topic = body["inputs"][0]["topic"]
    unread = topic, gone.partition, body["decisions"][0]["offset"]
    found = first_places(topics)
    assert found["chain"] == found["tiling"] == place_of(rows[1])
    assert found["unread"] == found["counts"] == unread
    assert found["approved"] == (names.APPROVED, gone.partition, 0)


def test_a_deleted_approved_record_is_missed_by_its_block_and_by_the_next_of_its_entity(topics):
    rows = rows_of(topics, names.APPROVED)
    gone = rows.pop(1)
    heir = next(row for row in rows if row.key == gone.key and row.offset > gone.offset)
    found = first_places(topics)
    assert found["approved"] == block_that_approved(topics, gone)
    assert found["sequence"] == place_of(heir)
    assert found["altered"] == place_of(rows[1])


def test_an_entity_without_a_story_is_named_by_its_newest_approved_record(topics):
    rows = rows_of(topics, names.ENTITY_STATUS)
    key, number = rows[-1].key, rows[-1].partition
    rows[:] = [record for record in rows if record.key != key]
    newest = [row for row in topics.records_of[names.APPROVED, number] if row.key == key][-1]
    assert first_places(topics) == {"status": place_of(newest)}


def test_a_deleted_dead_letter_is_missed_by_its_block(topics):
    gone = rows_of(topics, names.DEAD_LETTER, least=2).pop(1)
    sent = block_that_sent(topics, gone, "dead_lettered", [gone.partition])
    assert first_places(topics) == {"dead_letters": sent, "torn": sent}


def test_an_entity_that_is_gone_from_the_state_is_found_by_what_the_state_says_of_itself(topics):
    rows = rows_of(topics, names.CHANGELOG)
    key = next(record.key for record in rows if record.key != OWN_KEY)
    rows[:] = [record for record in rows if record.key != key]
    assert first_places(topics) == {"state": own_state(topics, rows[0].partition)}


def test_an_entity_whose_newest_state_alone_is_gone_is_found_by_what_the_state_says_of_itself(
    topics,
):
    rows = rows_of(topics, names.CHANGELOG)
    newest = {record.key: record for record in rows}
    gone = next(one for one in rows if one.key != OWN_KEY and superseded(one, rows))
    rows.remove(newest[gone.key])
    assert first_places(topics) == {"state": own_state(topics, gone.partition)}


# Cut off: the newest records of every partition are gone


def cut(topics, topic):
    """Cut the ends off; the lowest partition's number and first lost record."""
    lost = {}
    for (name, number), rows in topics.records_of.items():
        if name == topic and len(rows) > 2:
            kept = len(rows) // 2 if topic in {names.CHANGELOG, names.ENTITY_STATUS} else -1
            lost[number] = rows[kept]
            del rows[kept:]
            topics.spans[name, number] = Span(0, rows[-1].offset + 1)
    number = min(lost)
    return number, lost[number]


@pytest.mark.parametrize("topic", INPUTS)
def test_an_input_that_is_cut_off_is_named_from_where_it_ends(topics, topic):
    _, gone = cut(topics, topic)
    found = first_places(topics)
    assert found["inputs"] == found["counts"] == place_of(gone)


@pytest.mark.parametrize("topic", [names.DECISIONS, names.CHANGELOG])
def test_ledger_and_state_know_where_the_other_one_should_end(topics, topic):
    number, _ = cut(topics, topic)
    assert first_places(topics) == {"state": own_state(topics, number)}


def test_approved_records_that_are_cut_off_are_missed_by_the_block_that_decided_them(topics):
    _, gone = cut(topics, names.APPROVED)
    decided = block_that_approved(topics, gone)
    assert first_places(topics) == {"approved": decided, "torn": decided}


def test_dead_letters_that_are_cut_off_are_missed_by_their_block(topics):
    number, gone = cut(topics, names.DEAD_LETTER)
    sent = block_that_sent(topics, gone, "dead_lettered", [number])
    assert first_places(topics) == {"dead_letters": sent, "torn": sent}


def test_stories_that_are_cut_off_leave_older_ones_behind_their_entities(topics):
    number, _ = cut(topics, names.ENTITY_STATUS)
    newest = {row.key: row for row in topics.records_of[names.APPROVED, number]}
    told = {row.key: row for row in topics.records_of[names.ENTITY_STATUS, number]}
    behind = [
        place_of(told.get(key, row))
        for key, row in newest.items()
        if key not in told or body_of(told[key], STORY)["entity_seq"] < body_of(row)["entity_seq"]
    ]
    assert first_places(topics) == {"status": min(behind, key=lambda place: place[2])}


# Doubled, as a producer without transactions would: the same record once more, at the end


def doubled(topics, topic, wanted=lambda *_: True):
    """Where the second one is."""
    place, rows = next(
        (place, rows) for place, rows in topics.records_of.items() if place[0] == topic and rows
    )
    again = next(row for row in rows if wanted(row, rows))
    again = again._replace(offset=topics.spans[place].end)
    rows.append(again)
    topics.spans[place] = Span(0, again.offset + 1)
    return place_of(again)


@pytest.mark.parametrize("topic", INPUTS)
def test_a_doubled_input_that_the_ledger_claims_to_have_passed_is_named(topics, topic):
    place = doubled(topics, topic)
    _move_on(topics, *place)
    found = first_places(topics)
    assert found["unread"] == found["counts"] == place


def _move_on(topics, topic, number, offset):
    """Have a ledger's last block of an input reach behind an offset, as if a marker were there."""
    rows = topics.records_of[names.DECISIONS, number]
    for place in range(len(rows) - 1, -1, -1):
        block = body_of(rows[place], BLOCK)
        covered = next((item for item in block["inputs"] if item["topic"] == topic), None)
        if covered is not None:
            covered["gaps"].append({"first": offset, "next": offset + 1, "cause": "MARKER"})
            covered["next"] = offset + 1
            rows[place] = altered(rows[place], inputs=block["inputs"])
            return


def test_a_doubled_block_is_named_and_blames_no_record(topics):
    first = rows_of(topics, names.DECISIONS)[0]
    place = doubled(topics, names.DECISIONS)
    found = first_places(topics)
    assert found["chain"] == found["tiling"] == place
    again = body_of(first, BLOCK)
    twice = again["inputs"][0]["topic"], place[1], again["decisions"][0]["offset"]
    assert found["counts"] == twice
    assert not {"inputs", "unread", "carried", "approved"} & found.keys()


def test_a_doubled_approved_record_is_named(topics):
    place = doubled(topics, names.APPROVED)
    found = first_places(topics)
    assert found["approved"] == found["sequence"] == place
    assert found["torn"] == (names.APPROVED, place[1], 0)  # the transaction that is there twice


def test_a_doubled_stray_is_named(topics):
    place = doubled(topics, names.REKEYED)
    assert first_places(topics) == {"rerouted": place}


def test_a_doubled_dead_letter_is_named(topics):
    place = doubled(topics, names.DEAD_LETTER)
    assert first_places(topics) == {"dead_letters": place}


def test_a_story_that_is_told_again_after_a_newer_one_is_named(topics):
    place = doubled(topics, names.ENTITY_STATUS, superseded)
    assert first_places(topics) == {"status": place}


def test_a_state_that_is_written_again_after_a_newer_one_is_found(topics):
    _, number, _ = doubled(topics, names.CHANGELOG, superseded)
    assert first_places(topics) == {"state": own_state(topics, number)}


# Swapped


def swap(rows, first, second):
    """Let two records change places; where the former and the latter place is."""
    one, two = rows[first], rows[second]
    rows[first] = two._replace(offset=one.offset, timestamp_ms=one.timestamp_ms)
    rows[second] = one._replace(offset=two.offset, timestamp_ms=two.timestamp_ms)
    return place_of(one), place_of(two)


def another(rows):
    """Ordinal of a record that differs from the first one."""
    return next(place for place, row in enumerate(rows) if row.value != rows[0].value)


@pytest.mark.parametrize("topic", INPUTS)
def test_inputs_in_the_wrong_order_are_named_at_the_former_one(topics, topic):
    rows = rows_of(topics, topic, least=2)
    second = len(rows) - 1 if topic == names.CONTROL else another(rows)  # an activation and a tick
    former, _ = swap(rows, 0, second)
    assert first_places(topics) == {"inputs": former}


def test_blocks_in_the_wrong_order_are_named_at_the_former_one_and_blame_no_record(topics):
    former, _ = swap(rows_of(topics, names.DECISIONS), 0, 1)
    assert first_places(topics) == {"chain": former}


def test_approved_records_in_the_wrong_order_are_named_at_the_former_one(topics):
    rows = rows_of(topics, names.APPROVED)
    first = next(place for place, row in enumerate(rows) if body_of(row)["entity_seq"] == 1)
    second = next(
        place for place, row in enumerate(rows) if row.key == rows[first].key and place > first
    )
    former, _ = swap(rows, first, second)
    assert first_places(topics) == {"sequence": former, "altered": former}


def test_dead_letters_in_the_wrong_order_are_named_at_the_latter_one(topics):
    rows = rows_of(topics, names.DEAD_LETTER)
    _, latter = swap(rows, 0, another(rows))
    assert first_places(topics) == {"dead_letters": latter}


def test_stories_in_the_wrong_order_are_named_at_the_latter_one(topics):
    rows = rows_of(topics, names.ENTITY_STATUS)
    _, latter = swap(rows, *_successors(rows))
    assert first_places(topics) == {"status": latter}


def test_states_in_the_wrong_order_are_found(topics):
    rows = rows_of(topics, names.CHANGELOG)
    swap(rows, *_successors(rows))
    assert first_places(topics) == {"state": own_state(topics, rows[0].partition)}


def _successors(rows):
    """Ordinals of an entity's record and of its newest."""
    first = next(place for place, row in enumerate(rows) if superseded(row, rows))
    return first, max(place for place, row in enumerate(rows) if row.key == rows[first].key)


# Altered


@pytest.mark.parametrize("topic", INPUTS)
def test_an_altered_input_is_named(topics, topic):
    rows = rows_of(topics, topic, least=1)
    value = bytearray(rows[0].value)
    value[-1] ^= 1
    rows[0] = rows[0]._replace(value=bytes(value))
    assert first_places(topics)["inputs"] == place_of(rows[0])


def test_an_altered_story_is_named(topics):
    rows = rows_of(topics, names.ENTITY_STATUS)
    newest = max(i for i, row in enumerate(rows) if row.key == rows[0].key)
    rows[newest] = altered(rows[newest], entity_seq=body_of(rows[newest], STORY)["entity_seq"] - 1)
    assert first_places(topics) == {"status": place_of(rows[newest])}


def test_an_altered_block_is_named_by_the_block_after_it(topics):
    rows = rows_of(topics, names.DECISIONS)
    rows[0] = altered(rows[0], policy_version="another")
    assert first_places(topics) == {"chain": place_of(rows[1])}


def test_an_altered_last_block_is_found_by_the_state(topics):
    rows = rows_of(topics, names.DECISIONS)
    rows[-1] = altered(rows[-1], policy_version="another")
    assert first_places(topics) == {"state": own_state(topics, rows[0].partition)}


def test_an_altered_dead_letter_is_named(topics):
    rows = rows_of(topics, names.DEAD_LETTER, least=1)
    rows[0] = rows[0]._replace(value=(rows[0].value or b"") + b"!")
    assert first_places(topics) == {"dead_letters": place_of(rows[0])}


def test_a_dead_letter_with_another_reason_is_named(topics):
    rows = rows_of(topics, names.DEAD_LETTER, least=1)
    rows[0] = with_header(rows[0], "milepost.dlq.reason", b"unknown_platform")
    assert first_places(topics) == {"dead_letters": place_of(rows[0])}


OMITTED = [("milepost.dlq.omitted", b"value"), ("milepost.dlq.value-digest", b"")]


def test_a_dead_letter_too_large_for_its_value_is_known_by_its_digest(topics):
    rows = rows_of(topics, names.DEAD_LETTER, least=1)
    digest = digest_of(rows[0].value).hex().encode()
    headers = [*rows[0].headers, *OMITTED]
    rows[0] = rows[0]._replace(value=None, headers=headers)
    assert first_places(topics) == {"dead_letters": place_of(rows[0])}
    for said, wanted in ((b"no digest", {"dead_letters": place_of(rows[0])}), (digest, {})):
        rows[0] = with_header(rows[0], "milepost.dlq.value-digest", said)
        assert first_places(topics) == wanted


def with_header(record, name, value):
    headers = [(own, value if own == name else said) for own, said in record.headers]
    return record._replace(headers=headers)


CARRIED = {
    "native_status": "OTHER",
    "amount": 99,
    "currency": "EUR",
    "document": "D-0",
    "platform": "portal",
    "recorded": 1,
    "source_event_id": "another",
    "occurred": 1,
    "quantity": {"value": 1_000_000, "unit": "EA", "basis": "DELTA", "completeness": "COMPLETE"},
}


@pytest.mark.parametrize("field", CARRIED)
def test_an_approved_record_that_carries_something_else_is_named_by_its_claim(topics, field):
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
    # Of a claim that came straight here: what was sent on is named where it was sent to
    place = next(i for i, row in enumerate(rows) if body_of(row)["raw_partition"] == row.partition)
    rows[place] = altered(rows[place], **{field: changed})
    said = body_of(rows[place])
    claim = said["raw_topic"], said["raw_partition"], said["raw_offset"]
    assert first_places(topics) == {"carried": claim, "altered": place_of(rows[place])}


def test_an_approved_record_that_names_other_bytes_is_named(topics):
    rows = rows_of(topics, names.APPROVED)
    rows[1] = altered(rows[1], raw_digest="00" * 16)
    assert first_places(topics) == {"carried": place_of(rows[1]), "altered": place_of(rows[1])}


DERIVED = {
    "status_after": "delivered",
    "advances_status": None,
    "flags": ["late"],
    "rule": "another-rule",
    "policy_version": "0",
    "agree": ["portal"],
}


@pytest.mark.parametrize("field", DERIVED)
def test_an_approved_record_that_carries_another_decision_is_named(topics, field):
    rows = rows_of(topics, names.APPROVED)
    body = body_of(rows[0])
    changed = not body[field] if field == "advances_status" else DERIVED[field]
    rows[0] = altered(rows[0], **{field: changed})
    assert first_places(topics) == {"altered": place_of(rows[0])}


def test_among_what_one_block_approved_the_altered_record_is_told_by_where_it_begins_and_ends(
    topics,
):
    """The ledger vouches for a block's approved records together."""
    number, block = next(
        (number, body)
        for number in range(4)
        for body in (body_of(row, BLOCK) for row in topics.records_of[names.DECISIONS, number])
        if sum(row["revision"] > 0 for row in (*body["decisions"], *body["transitions"])) > 1
    )
    rows = topics.records_of[names.APPROVED, number]
    last = block["approved_count"] - 1
    count = sum(row["revision"] > 0 for row in (*block["decisions"], *block["transitions"]))
    rows[last] = altered(rows[last], rule="another-rule")
    found = check(topics).first["altered"]
    assert found[1:4] == place_of(rows[last - count + 1])
    assert f"up to offset {rows[last].offset}," in found.detail


def test_a_header_that_says_otherwise_than_its_record_is_named(topics):
    rows = rows_of(topics, names.APPROVED)
    rows[0] = with_header(rows[0], names.HEADER_ACTION, b"CORRECT")
    assert first_places(topics) == {"approved": place_of(rows[0])}


def test_an_approved_record_that_nobody_decided_is_named(topics):
    rows = rows_of(topics, names.APPROVED)
    place = names.APPROVED, rows[0].partition
    end = topics.spans[place].end
    invented = altered(rows[-1], milestone_id="00000000-0000-5000-8000-000000000000", revision=1)
    rows.append(invented._replace(offset=end))
    topics.spans[place] = Span(0, end + 1)
    assert first_places(topics) == {"approved": (*place, end), "sequence": (*place, end)}
    detail = check(topics).first["approved"].detail
    assert detail.startswith("no verdict published milestone 00000000")


def test_a_state_that_was_tampered_with_is_found(topics):
    rows = rows_of(topics, names.CHANGELOG)
    at = max(i for i, record in enumerate(rows) if record.key != OWN_KEY)
    rows[at] = rows[at]._replace(value=rows[at].value + b" ")
    assert first_places(topics) == {"state": own_state(topics, rows[at].partition)}


def test_a_position_that_was_tampered_with_is_found(topics):
    rows = rows_of(topics, names.CHANGELOG)
    own = json.loads(rows[-1].value)
    own["positions"][TMS] += 1
    rows[-1] = rows[-1]._replace(value=json.dumps(own).encode())
    assert first_places(topics) == {"state": place_of(rows[-1])}
    assert TMS in check(topics).first["state"].detail
