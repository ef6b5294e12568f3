"""One event's way through a real Kafka and registry: approved, held, rerouted, once."""

import json
import time

import pytest
from governed_stack import CARRIERS, PARTITIONS, ROOT, TMS

from connectors.sources.catalogue import Addresses, run_source
from pipeline.contract import codec, names
from pipeline.contract import headers as contract_headers
from pipeline.governance.claims import Origin, Raw
from pipeline.governance.identity import partition_of
from pipeline.settings import Settings

pytestmark = pytest.mark.kafka
SAMPLES = sorted((ROOT / "partners/scac-carrier/fixtures").glob("*.edi"))


def test_an_owners_event_is_approved(governed):
    shipment = governed.name()
    (place,) = governed.send(governed.event(shipment, "DELIVERED", stop={"location": "C-ATL"}))
    fate = governed.fate(place)
    assert fate.verdict == ("approved", "owner_spoke")
    (record,) = governed.story(shipment)
    assert (record["event_type"], record["action"]) == ("delivered", "ASSERT")
    assert record["assurance"] == "AUTHORITATIVE"
    assert record["status_after"] == "delivered"
    assert (record["raw_topic"], record["raw_partition"], record["raw_offset"]) == place
    assert (record["ledger_partition"], record["ledger_seq"]) == (fate.partition, fate.seq)


def test_real_partner_files_become_approved_milestones(governed, tmp_path):
    """Times by hand: 08:00 and 16:30 Pacific standard time, 12:30 Eastern daylight time."""
    settings = Settings(state_dir=tmp_path, mailbox_poll_ms=50)
    (tmp_path / "mailbox").mkdir()
    for path in SAMPLES:
        (tmp_path / "mailbox" / path.name).write_bytes(path.read_bytes())
    where = Addresses(governed.bootstrap, governed.registry_url)
    run_source("mailbox", settings, where, once=True)

    def told(shipment):
        return {
            record["event_type"]: (
                time.strftime("%Y-%m-%d %H:%M", time.gmtime(record["occurred"] / 1000)),
                record["stop"]["location"],
                record["action"],
            )
            for record in governed.story(shipment, tenant="samples")
        }

    governed.watch.until(lambda: len(told("1234567")) == 2 and told("75027674"))
    assert told("1234567") == {
        "departed": ("2006-03-01 16:00", "SFO", "ASSERT"),
        "delivered": ("2006-03-02 00:30", "RNO", "ASSERT"),
    }
    assert told("75027674") == {"delivered": ("2016-07-26 16:30", "BRATTLEBORO", "ASSERT")}


def test_a_stray_comes_out_once_where_it_belongs(governed):
    shipment = governed.name()
    key = governed.key(shipment)
    event = governed.event(shipment, "DELIVERED", stop={"location": "C-ATL"})
    value = codec.encode(event, codec.committed("raw-event"), governed.raw_id(TMS))
    home = partition_of(key, PARTITIONS)
    place = governed.put(TMS, key, value, partition=(home + 1) % PARTITIONS)
    assert governed.fate(place).verdict == ("rerouted", "wrong_partition")
    (record,) = governed.watch.until(lambda: governed.story(shipment))
    assert record["ledger_partition"] == home
    # The place and time of its first arrival stay its own
    assert (record["raw_topic"], record["raw_partition"], record["raw_offset"]) == place
    # The same once more, where it belongs, changes nothing
    again = governed.put(TMS, key, value)
    assert governed.fate(again).verdict == ("duplicate", "repeated")
    assert len(governed.story(shipment)) == 1


def test_an_order_and_its_shipment_tell_each_other(governed):
    shipment, order = governed.name(), governed.name("9")
    stops = [
        {"number": 1, "role": "PICKUP", "location": "DAL1"},
        {"number": 2, "role": "DELIVERY", "location": "C-ATL"},
    ]
    (tender,) = governed.send(governed.event(shipment, "TENDERED", orders=[order], stops=stops))
    assert governed.fate(tender).verdict == ("approved", "owner_spoke")
    key = f"acme/order/{order}"
    links = governed.watch.until(
        lambda: [
            fate.verdict
            for (topic, _, _), fate in governed.watch.fates.items()
            if topic == names.LINKS and fate.row["entity"] == key
        ]
    )
    assert links == [("applied", "link_applied")]


def test_a_worker_that_starts_again_says_nothing_twice(governed):
    shipments = [governed.name() for _ in range(20)]
    places = governed.send(
        *(governed.event(name, "DELIVERED", stop={"location": "C-ATL"}) for name in shipments)
    )
    governed.fates(places)
    assert governed.worker.end() == 0, governed.worker.log()
    (meanwhile,) = governed.send(governed.event(shipments[0], "POD", stop={"location": "C-ATL"}))
    governed.start()
    assert governed.fate(meanwhile).verdict == ("approved", "owner_spoke")
    assert [len(governed.story(name)) for name in shipments] == [2] + [1] * 19


def test_what_an_operator_replays_is_judged_by_its_first_time(governed):
    """A replayed record carries its origin; where that can't be read it is data's fault."""
    shipment = governed.name()
    event = governed.event(shipment, "DELIVERED", stop={"location": "C-ATL"})
    value = codec.encode(event, codec.committed("raw-event"), governed.raw_id(TMS))
    number = partition_of(governed.key(shipment), PARTITIONS)
    received = int(time.time() * 1000) - 3_600_000
    event["occurred"] = received - 60_000
    value = codec.encode(event, codec.committed("raw-event"), governed.raw_id(TMS))
    origin = Origin(TMS, number, 123_456, received)
    key = governed.key(shipment)
    sent = contract_headers.forwarded(Raw(key, value, ()), key, origin, 0)
    place = governed.put(names.REPLAY, key, value, headers=sent)
    assert governed.fate(place).verdict == ("approved", "owner_spoke")
    (record,) = governed.story(shipment)
    assert (record["received"], record["raw_offset"]) == (received, 123_456)
    broken = governed.put(
        names.REPLAY,
        governed.key(shipment),
        value,
        headers=[(names.HEADER_ORIGIN, json.dumps(["no origin"]).encode())],
    )
    assert governed.fate(broken).verdict == ("dead_lettered", "field_invalid")


def test_what_is_written_down_verifies(governed):
    report = governed.verify()
    assert report.violations == []
    assert report.records > 0
    assert CARRIERS in {item.topic for item in report.inputs if item.decided}
