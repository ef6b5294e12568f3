"""What must not stop the governor, whatever a platform writes: it goes to the dead letter, once."""

import copy
import hashlib
import json
import os
import subprocess
import sys

import pytest
from governed_stack import GARBAGE, PARTITIONS, TMS, WMS

from pipeline.contract import codec, headers, names
from pipeline.governance.identity import partition_of
from pipeline.kafka import clients

pytestmark = pytest.mark.kafka

UNKNOWN_ID = b"\0\0\1\x86\xa0"
ODD_HEADER = """
import asyncio, sys
from aiokafka import AIOKafkaProducer

class Odd(str):
    def encode(self, *_):
        return b"\\xff\\xfe"

async def main(bootstrap, topic, partition):
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    key, value = bytes.fromhex(sys.argv[4]), bytes.fromhex(sys.argv[5])
    sent = await producer.send_and_wait(
        topic, value, key, partition=partition, headers=[(Odd("ab"), b"x")]
    )
    print(sent.offset)
    await producer.stop()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def raw(governed, event, topic=TMS):
    return codec.encode(event, codec.committed("raw-event"), governed.raw_id(topic))


def delivered(governed, shipment, **given):
    return governed.event(shipment, "DELIVERED", stop={"location": "C-ATL"}, **given)


def same_partition(governed, key):
    """An id whose entity lives on the same partition as a key."""
    while True:
        name = governed.name()
        if partition_of(governed.key(name), PARTITIONS) == partition_of(key, PARTITIONS):
            return name


def still_governs(governed, key=b"acme/shipment/X"):
    """The worker is the same process, and the next event on that partition is approved."""
    (place,) = governed.send(delivered(governed, same_partition(governed, key)))
    assert governed.fate(place).verdict == ("approved", "owner_spoke")
    assert governed.worker.running


CRUEL = {
    "garbage": (lambda value: GARBAGE, "undecodable"),
    "nothing": (lambda value: None, "undecodable"),
    "an empty value": (lambda value: b"", "undecodable"),
    "half a record": (lambda value: value[: len(value) // 2], "undecodable"),
    "bytes behind the end": (lambda value: value + b"EOF", "trailing_bytes"),
    "an unknown schema id": (lambda value: UNKNOWN_ID + value[5:], "unknown_schema"),
    "id zero": (lambda value: b"\0\0\0\0\0" + value[5:], "unknown_schema"),
    "an id beyond 31 bits": (lambda value: b"\0\xff\xff\xff\xff" + value[5:], "unknown_schema"),
    "too many bytes": (lambda value: value + b"\0" * 300_000, "record_too_large"),
}


@pytest.mark.parametrize("kind", CRUEL)
def test_bytes_that_are_no_record_are_kept_with_their_reason(governed, kind):
    spoil, reason = CRUEL[kind]
    shipment = governed.name()
    key = governed.key(shipment)
    value = spoil(raw(governed, delivered(governed, shipment)))
    place = governed.put(TMS, key, value, headers=[("trace", b"\xff\0"), ("trace", b"2")])
    fate = governed.fate(place)
    assert fate.verdict == ("dead_lettered", reason)
    assert fate.row["entity"] == key.decode()
    kept_key, kept, told = governed.letter(place)
    assert (kept_key, kept) == (key, value)
    assert told["milepost.dlq.reason"] == reason.encode()
    still_governs(governed, key)


def test_a_number_that_no_reader_could_take_on_goes_no_further(governed):
    """An int of forty bits: an int and a long are the same on the wire."""
    wide = codec.parse(
        json.loads(json.dumps(codec.definition("raw-event")).replace('"int"', '"long"'))
    )
    shipment = governed.name()
    event = delivered(governed, shipment)
    event["stop"] = dict.fromkeys(
        ("number", "role", "location", "name", "city", "subdivision", "country")
    ) | {"location": "C-ATL", "number": 1 << 40}
    value = codec.encode(event, wide, governed.raw_id(TMS))
    place = governed.put(TMS, governed.key(shipment), value)
    assert governed.fate(place).verdict == ("dead_lettered", "undecodable")
    still_governs(governed, governed.key(shipment))


@pytest.mark.parametrize("key", [None, b"", b"\xff"])
def test_what_was_sent_on_before_it_was_refused_is_kept_as_it_came(governed, key):
    shipment = governed.name()
    value = raw(governed, governed.event(shipment, "NOT_A_STATUS"))
    given = [("trace", b"\xff"), ("empty", b""), ("none", None)]
    number = (partition_of(governed.key(shipment), PARTITIONS) + 1) % PARTITIONS
    place = governed.put(TMS, key, value, headers=given, partition=number)
    assert governed.fate(place).verdict == ("rerouted", "wrong_partition")
    kept_key, kept, told = governed.letter(place)
    assert (kept_key, kept) == (key, value)
    assert {name: told[name] for name, _ in given} == dict(given)
    assert names.HEADER_KEY not in told
    still_governs(governed, governed.key(shipment))


def test_a_key_that_is_none_is_no_obstacle(governed):
    for key in (None, b"", b"\xff\xfe", b"//", b"acme/shipment/" + b"x" * 5_000):
        place = governed.put(TMS, key, GARBAGE, partition=2)
        assert governed.fate(place).verdict == ("dead_lettered", "undecodable")
        assert governed.letter(place)[0] == (key or key)
    still_governs(governed)


def test_an_unknown_schema_id_keeps_nobody_else_waiting(governed):
    """Other inputs of its partition go on while the registry is asked a second time."""
    shipment = governed.name()
    key = governed.key(shipment)
    unknown = b"\0\0\1\x86\xa1" + raw(governed, delivered(governed, shipment))[5:]
    strange = governed.put(TMS, key, unknown)
    issued = governed.event(
        same_partition(governed, key),
        "GI",
        platform="wms-3pl",
        account="ACME-3PL",
        stop={"location": "DAL1"},
    )
    (neighbour,) = governed.send(issued)
    assert neighbour[:2] == (WMS, strange[1])
    assert governed.fate(neighbour).verdict == ("approved", "owner_spoke")
    assert governed.fate(strange).verdict == ("dead_lettered", "unknown_schema")
    assert governed.fate(neighbour).seq < governed.fate(strange).seq
    # From here on the id is known to be unknown: nobody waits
    again = governed.put(TMS, key, unknown)
    assert governed.fate(again).verdict == ("dead_lettered", "unknown_schema")


def test_a_flood_of_made_up_schema_ids_costs_a_few_questions(governed):
    shipment = governed.name()
    key, value = governed.key(shipment), raw(governed, delivered(governed, shipment))
    governed.gate.asked.clear()
    flood = [
        clients.Outgoing(TMS, b"\0" + (200_000 + n).to_bytes(4, "big") + value[5:], key)
        for n in range(1_500)
    ]
    places = [tuple(place) for place in clients.deliver(governed.producer, flood)]
    fates = governed.fates(places)
    assert {fate.verdict for fate in fates} == {("dead_lettered", "unknown_schema")}
    assert len(governed.gate.asked) < 500
    still_governs(governed, key)


def evolved(field):
    """The raw event's schema with one more optional field."""
    definition = copy.deepcopy(codec.definition("raw-event"))
    definition["fields"].append(
        {"name": f"x_{field['name']}", "type": field["type"], "doc": "More", "default": None}
    )
    return definition


RECURSIVE = {
    "type": "record",
    "name": "Deep",
    "fields": [{"name": "inner", "type": ["null", "Deep"], "default": None}],
}
DANGERS = {
    "recursive": ["null", RECURSIVE],
    "items without size": ["null", {"type": "array", "items": "null"}],
}


@pytest.mark.parametrize("kind", DANGERS)
@pytest.mark.parametrize("place", ["foreign", "own"])
def test_a_schema_that_could_crash_the_decoder_is_never_used(governed, kind, place):
    definition = evolved({"name": kind.split()[0], "type": DANGERS[kind]})
    foreign = f"strange-{kind.split()[0]}-value"
    subject = names.subject(TMS) if place == "own" else foreign
    number = governed.registry.register(subject, definition)
    shipment = governed.name()
    event = delivered(governed, shipment)
    value = raw(governed, event)[5:]
    # Five thousand levels, or thirty million items: what crashes a process that decodes it
    tail = b"\2" * 5_000 + b"\0" if kind == "recursive" else b"\2\x80\xe1\xeb\x17\0"
    bomb = b"\0" + number.to_bytes(4, "big") + value + tail
    written = governed.put(TMS, governed.key(shipment), bomb)
    assert governed.fate(written).verdict == ("dead_lettered", "schema_not_allowed")
    assert governed.letter(written)[1] == bomb
    still_governs(governed, governed.key(shipment))


def test_a_schema_of_another_topic_is_not_allowed(governed):
    shipment = governed.name()
    value = raw(governed, delivered(governed, shipment))
    foreign = governed.registry.id_for(names.subject(names.LINKS), "link")
    spoiled = b"\0" + foreign.to_bytes(4, "big") + value[5:]
    place = governed.put(TMS, governed.key(shipment), spoiled)
    assert governed.fate(place).verdict == ("dead_lettered", "schema_not_allowed")


def test_a_record_that_compression_let_through_is_told_by_its_digest(governed):
    """A raw topic takes a megabyte, compressed; what comes out may fit into no dead letter."""
    producer = clients.producer(
        governed.settings,
        governed.bootstrap,
        **{"compression.type": "zstd", "message.max.bytes": 60_000_000},
    )
    key = governed.key(governed.name())
    number = partition_of(key, PARTITIONS)
    for size, kept in ((1_040_000, True), (3_000_000, False), (30_000_000, False)):
        value = b"\0" * size
        sent = clients.Outgoing(TMS, value, key, (), number)
        place = tuple(clients.deliver(producer, [sent])[0])
        assert governed.fate(place).verdict == ("dead_lettered", "record_too_large")
        letter_key, letter, told = governed.letter(place)
        assert letter_key == key
        if kept:
            assert letter == value
            assert headers.OMITTED not in told
        else:
            assert letter is None
            assert told[headers.OMITTED] == b"value"
            assert told[headers.SIZE] == str(size).encode()
            digest = hashlib.blake2b(value, digest_size=16).hexdigest()
            assert told[headers.DIGEST] == digest.encode()
    still_governs(governed, key)


def test_headers_and_keys_without_measure_are_left_out_too(governed):
    producer = clients.producer(
        governed.settings,
        governed.bootstrap,
        **{"compression.type": "zstd", "message.max.bytes": 60_000_000},
    )
    shipment = governed.name()
    value = raw(governed, delivered(governed, shipment))
    huge = b"\0" * 3_000_000
    heavy = clients.Outgoing(TMS, value, governed.key(shipment), (("h", huge),), 1)
    long = clients.Outgoing(TMS, value, huge, (), 1)
    for record, omitted in ((heavy, b"value,headers"), (long, b"value,key")):
        place = tuple(clients.deliver(producer, [record])[0])
        assert governed.fate(place).verdict == ("dead_lettered", "record_too_large")
        told = governed.letter(place)[2]
        assert told[headers.OMITTED] in {omitted, b"value,headers,key"}
    still_governs(governed)


def test_ids_without_measure_make_no_block_too_large(governed):
    shipment = governed.name()
    key = governed.key(shipment)
    records = [
        clients.Outgoing(
            TMS, raw(governed, delivered(governed, shipment, event_id=f"{n}" + "Ö" * 60_000)), key
        )
        for n in range(30)
    ]
    records += [
        clients.Outgoing(
            TMS, raw(governed, delivered(governed, shipment, platform=f"{n}" + "Ö" * 60_000)), key
        )
        for n in range(30)
    ]
    places = [tuple(place) for place in clients.deliver(governed.producer, records)]
    reasons = {fate.verdict[1] for fate in governed.fates(places)}
    assert reasons == {"field_invalid", "unknown_platform"}
    still_governs(governed, key)


def test_an_entity_cannot_grow_without_measure(governed):
    shipment = governed.name()
    key = governed.key(shipment)
    records = [
        clients.Outgoing(
            TMS,
            raw(
                governed,
                governed.event(shipment, "SHIPPED", attributes={"note": "z" * 200_000})
                | {"occurred": 1_790_000_000_000 + n * 60_000},
            ),
            key,
        )
        for n in range(20)
    ]
    places = [tuple(place) for place in clients.deliver(governed.producer, records)]
    governed.fates(places)
    still_governs(governed, key)


def test_a_header_name_that_is_no_text_is_no_obstacle(governed):
    shipment = governed.name()
    key = governed.key(shipment)
    value = raw(governed, delivered(governed, shipment))
    number = partition_of(key, PARTITIONS)
    told = subprocess.run(
        [
            *(sys.executable, "-c", ODD_HEADER, governed.bootstrap, TMS, str(number)),
            *(key.hex(), value.hex()),
        ],
        env=os.environ | {"AIOKAFKA_NO_EXTENSIONS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert governed.fate((TMS, number, int(told.stdout))).verdict == ("approved", "owner_spoke")
    still_governs(governed, key)


def test_what_was_refused_verifies(governed):
    report = governed.verify(deep=True)
    assert report.violations == []
    assert report.dead_letters > 20
