"""Dead letters: found by any filter, told what became of them since, sent through again once."""

import dataclasses

import pytest
from governed_stack import CARRIERS as RAW_CARRIERS
from governed_stack import PARTITIONS
from told_world import CARRIERS, MINUTE_MS, NOW_MS, TMS, World

from pipeline.contract import codec, names
from pipeline.governance.identity import partition_of
from pipeline.kafka.decoding import Decoder
from pipeline.kafka.reading import LogReader
from pipeline.operations import dead_letters
from pipeline.operations.dead_letters import Filter, State
from pipeline.operations.proof.evidence import TopicEvidence


@pytest.fixture
def world():
    return World()


def read(world, **wanted):
    return list(dead_letters.read(world.copies(), Filter(**wanted)))


def one(world, **wanted):
    (letter,) = read(world, **wanted)
    return letter


def again(world, letter, by="kim"):
    return world.replay(dead_letters.outgoing(letter, "id", by, "mapped now"))


# Filters


@pytest.fixture(scope="module")
def many():
    world = World()
    world.say("e1", "S1", "WOBBLY")
    world.say("e2", "S2", "WIBBLY7")
    world.say("e3", "S3", "WIBBLY8")
    world.garble("S4")
    world.say("c1", "S5", "??", CARRIERS, platform="carrier-redline")
    world.pipe_bytes(
        TMS, b"acme/shipment/S6", world.value("x1", "S6", "DELIVERED", platform="nobody")
    )
    return world.copies()


def found(many, **wanted):
    letters = dead_letters.read(many, Filter(**wanted))
    return {(letter.key or b"").decode().rpartition("/")[2] for letter in letters}


def test_no_filter_takes_everything(many):
    assert found(many) == {"S1", "S2", "S3", "S4", "S5", "S6"}


def test_letters_are_found_by_reason_platform_and_key(many):
    assert found(many, reason="unmapped_status") == {"S1", "S2", "S3", "S5"}
    assert found(many, reason="undecodable") == {"S4"}
    assert found(many, platform="carrier-redline") == {"S5"}
    assert found(many, platform="nobody") == {"S6"}
    assert found(many, key="shipment/S3") == {"S3"}


def test_who_sent_what_cannot_be_read_is_told_by_the_topic(many):
    assert found(many, platform="tms-na") == {"S1", "S2", "S3", "S4"}


def test_letters_are_found_by_when_their_record_first_came(many):
    first = NOW_MS + MINUTE_MS
    assert found(many, since_ms=first + MINUTE_MS, until_ms=first + 3 * MINUTE_MS) == {"S2", "S3"}


def test_letters_of_one_cause_have_one_fingerprint_whatever_their_digits(many):
    letters = {
        letter.event["event_id"]: letter.fingerprint
        for letter in dead_letters.read(many, Filter(reason="unmapped_status"))
    }
    assert letters["e2"] == letters["e3"]
    assert len({letters["e1"], letters["e2"], letters["c1"]}) == 3
    assert found(many, fingerprint=letters["e2"]) == {"S2", "S3"}


def test_letters_are_found_by_id_and_by_whether_sending_again_can_help(many):
    names_of = {letter.name: letter for letter in dead_letters.read(many, Filter())}
    name = next(iter(names_of))
    assert len(list(dead_letters.read(many, Filter(ids=frozenset({name}))))) == 1
    assert found(many, retryable=True) == {"S1", "S2", "S3", "S5", "S6"}


def test_filters_narrow_each_other(many):
    assert found(many, reason="unmapped_status", platform="tms-na", key="S2") == {"S2"}


# What became of them


def teach(world, status="WOBBLY"):
    """Activate a bundle that maps a status."""
    policy = next(iter(world.policies.values()))
    rows = policy.dialects["tms-na"]
    taught = {**policy.dialects, "tms-na": {**rows, status: rows["DELIVERED"]}}
    world.policies["next"] = dataclasses.replace(policy, version="next", dialects=taught)
    world.activate("next")


def test_a_letter_that_nobody_touched_is_open(world):
    world.say("e1", "S1", "WOBBLY")
    letter = one(world)
    assert letter.since.state is State.OPEN
    assert letter.replays == 0
    assert one(world, open=True) == letter


def test_a_repaired_letter_says_so_and_is_not_open_any_more(world):
    world.say("e1", "S1", "WOBBLY")
    first_ms = world.now_ms
    teach(world)
    again(world, one(world))
    letter = one(world)
    assert letter.since == (State.REPAIRED, "approved", "owner_spoke")
    assert read(world, open=True) == []
    (record,) = world.records(names.APPROVED)
    assert record["received"] == first_ms
    assert record["raw_topic"] == TMS


def test_a_second_replay_is_a_duplicate_and_changes_nothing(world):
    world.say("e1", "S1", "WOBBLY")
    teach(world)
    letter = one(world)
    again(world, letter)
    again(world, letter)
    assert one(world).since.state is State.REPAIRED
    assert len(world.records(names.APPROVED)) == 1
    rows = [row for block in world.records(names.DECISIONS) for row in block["decisions"]]
    assert [row["disposition"] for row in rows if row["claim"] == "e1"] == [
        "dead_lettered",
        "approved",
        "duplicate",
    ]


def test_a_replay_that_fails_again_leaves_a_newer_letter_that_counts(world):
    world.say("e1", "S1", "WOBBLY")
    again(world, one(world))
    first, second = read(world)
    assert (first.since.state, first.replays) == (State.FAILED, 0)
    assert (second.since.state, second.replays) == (State.OPEN, 1)
    assert second.document()["replay"] == {"id": "id", "by": "kim", "why": "mapped now"}
    assert (second.origin, second.value, second.key) == (first.origin, first.value, first.key)
    assert read(world, open=True) == [second]
    teach(world)
    again(world, second)
    assert [letter.since.state for letter in read(world)] == [State.FAILED, State.REPAIRED]


def test_a_replay_that_is_not_decided_yet_is_sent(world):
    world.say("e1", "S1", "WOBBLY")
    letter = one(world)
    world.stop()
    again(world, letter)
    assert one(world).since.state is State.SENT


def test_a_replay_that_waits_again_is_not_repaired_yet(world):
    world.say("e1", "S1", "WOBBLY", stop=None)
    teach(world)
    again(world, one(world))
    assert one(world).since == (State.SENT, "held", "stop_unresolved")


def test_an_entity_is_complete_again_when_what_it_missed_is_replayed(world):
    """Its schema id was unknown; once it is registered, the replay is read and the flag goes."""
    value = world.value("e1", "S1", "DELIVERED", schema_id=77)
    world.pipe_bytes(TMS, b"acme/shipment/S1", value)
    assert one(world).reason == "unknown_schema"
    assert flags(world) == ["incomplete"]
    world._schemas[TMS, 77] = codec.committed("raw-event")
    again(world, one(world))
    assert one(world).since.state is State.REPAIRED
    assert flags(world) == []


def flags(world):
    told = [r for r in world.records(names.ENTITY_STATUS) if r["entity_id"] == "S1"]
    return told[-1]["flags"]


# What is sent


def test_bytes_headers_and_times_are_the_records_own(world):
    world.pipe_bytes(TMS, b"acme/shipment/S1", b"<html>", [("trace", b"\xff"), ("n", None)])
    letter = one(world)
    outgoing = dead_letters.outgoing(letter, "id", "kim", "why")
    assert (outgoing.topic, outgoing.key, outgoing.value) == (
        names.REPLAY,
        b"acme/shipment/S1",
        b"<html>",
    )
    assert outgoing.partition == letter.partition
    told = dict(outgoing.headers)
    assert told["trace"] == b"\xff"
    assert not any(name.startswith(("milepost.dlq.", "kafka_dlt-")) for name in told)
    assert told[names.HEADER_REPLAY_COUNT] == b"1"
    assert str(letter.origin.received).encode() in told[names.HEADER_ORIGIN]


@pytest.mark.parametrize("count", [b"\xff\xfe", b"-1", b"\xd9\xa1", b"9" * 5_000, None])
def test_a_platform_cannot_spoil_the_count_with_a_header_of_its_own(world, count):
    spoilt = [(names.HEADER_REPLAY_COUNT, count), (names.HEADER_ORIGIN, b"{}")]
    world.pipe_bytes(TMS, b"acme/shipment/S1", b"<html>", spoilt)
    letter = one(world)
    assert letter.replays == 0
    assert letter.origin.topic == TMS
    told = dict(dead_letters.outgoing(letter, "id", "kim", "why").headers)
    assert told[names.HEADER_REPLAY_COUNT] == b"1"


def test_a_record_that_says_nothing_of_its_origin_is_no_letter(world):
    world.say("e1", "S1", "WOBBLY")
    copies = world.copies()
    for rows in copies.records_of.values():
        rows[:] = [
            row._replace(headers=[]) if row.topic == names.DEAD_LETTER else row for row in rows
        ]
    assert list(dead_letters.read(copies, Filter())) == []


# On a real stack


@pytest.fixture
def evidence(governed):
    with LogReader(governed.settings, governed.bootstrap) as reader:
        yield TopicEvidence(reader, Decoder(governed.registry))


def replay(governed, letters, **given):
    given = {"by": "test", "why": "a test", "dry_run": False} | given
    return dead_letters.replay(governed.settings, governed.bootstrap, letters, **given)


@pytest.mark.kafka
def test_a_dry_run_sends_nothing(governed, evidence):
    shipment = governed.name()
    governed.fates(governed.send(governed.event(shipment, "WOBBLY")))
    letters = list(dead_letters.read(evidence, Filter(key=shipment)))
    ends = [evidence.span(names.REPLAY, number) for number in range(PARTITIONS)]
    done = replay(governed, letters, dry_run=True)
    assert (done.sent, done.by_reason) == (1, {"unmapped_status": 1})
    assert [evidence.span(names.REPLAY, number) for number in range(PARTITIONS)] == ends


@pytest.mark.kafka
def test_a_schema_that_was_registered_too_late_is_made_up_for(governed, evidence):
    """Case 19: refused for its unknown id, flagged, registered, replayed, complete."""
    probe = {"type": "record", "name": "Probe", "fields": [{"name": "n", "type": "int"}]}
    number = governed.registry.register("probe-value", probe) + 1
    shipment = governed.name()
    key = governed.key(shipment)
    event = governed.event(shipment, "DELIVERED", stop={"location": "C-ATL"})
    definition = codec.definition("raw-event") | {
        "fields": [
            *codec.definition("raw-event")["fields"],
            {"name": "x_late", "type": ["null", "string"], "doc": "More", "default": None},
        ]
    }
    value = codec.encode(event | {"x_late": None}, codec.parse(definition), number)
    place = governed.put(TMS, key, value)
    assert governed.fate(place).verdict == ("dead_lettered", "unknown_schema")
    (after,) = governed.send(governed.event(shipment, "POD", stop={"location": "C-ATL"}))
    governed.fate(after)
    assert governed.story(shipment)[0]["flags"] == ["incomplete"]
    assert governed.registry.register(names.subject(TMS), definition) == number
    letters = list(dead_letters.read(evidence, Filter(key=shipment)))
    assert replay(governed, letters).sent == 1
    governed.watch.until(lambda: len(governed.story(shipment)) == 2)
    delivered = governed.story(shipment)[-1]
    assert (delivered["event_type"], delivered["flags"]) == ("delivered", [])
    assert (delivered["raw_topic"], delivered["raw_offset"]) == (place[0], place[2])
    letter = next(iter(dead_letters.read(evidence, Filter(key=shipment))))
    assert letter.since.state is State.REPAIRED
    # Once more: the kernel knows it
    assert replay(governed, [letter]).sent == 1
    number = partition_of(key, PARTITIONS)
    end = evidence.span(names.REPLAY, number).end
    assert governed.fate((names.REPLAY, number, end - 1)).verdict == ("duplicate", "repeated")
    assert len(governed.story(shipment)) == 2


@pytest.mark.kafka
def test_a_letter_without_its_bytes_is_not_sent(governed, evidence):
    key = governed.key(governed.name())
    record = governed.put_large(RAW_CARRIERS, key, 3_000_000)
    assert governed.fate(record).verdict == ("dead_lettered", "record_too_large")
    letters = list(dead_letters.read(evidence, Filter(key=key.decode())))
    assert [letter.omitted for letter in letters] == ["value"]
    done = replay(governed, letters)
    assert (done.sent, done.left_out) == (0, 1)
