"""A registry that is away is an outage: what needs it waits, everything else goes on."""

import copy
import time

import pytest
from governed_stack import TMS, WMS

from pipeline.contract import codec, headers, names
from pipeline.governance.claims import Origin, Raw

pytestmark = pytest.mark.kafka


def newer(governed, field):
    """Register the raw event with one more field; a value to write with it."""
    definition = copy.deepcopy(codec.definition("raw-event"))
    definition["fields"].append(
        {"name": field, "type": ["null", "string"], "doc": "More", "default": None}
    )
    number = governed.registry.register(names.subject(TMS), definition)
    return number, codec.parse(definition)


def delivered(governed, shipment):
    return governed.event(shipment, "DELIVERED", stop={"location": "C-ATL"})


def issued(governed, shipment):
    return governed.event(
        shipment, "GI", platform="wms-3pl", account="ACME-3PL", stop={"location": "DAL1"}
    )


def test_known_schemas_flow_on_without_a_registry(governed):
    first, second = governed.name(), governed.name()
    governed.fates(governed.send(delivered(governed, first)))
    governed.gate.closed = True
    governed.gate.asked.clear()
    (place,) = governed.send(delivered(governed, second))
    assert governed.fate(place).verdict == ("approved", "owner_spoke")
    assert governed.gate.asked == []


def test_an_unknown_schema_waits_for_the_registry_and_goes_on_by_itself(governed):
    """Its input waits, the others of its partition don't; nothing is sent to the dead letter."""
    shipment = governed.name()
    number, schema = newer(governed, "x_waits")
    value = codec.encode(delivered(governed, shipment) | {"x_waits": "?"}, schema, number)
    governed.fates(governed.send(issued(governed, governed.name())))
    governed.gate.closed = True
    waiting = governed.put(TMS, governed.key(shipment), value)
    (neighbour,) = governed.send(issued(governed, shipment))
    assert (neighbour[0], neighbour[1]) == (WMS, waiting[1])
    assert governed.fate(neighbour).verdict == ("approved", "owner_spoke")
    governed.watch.until(lambda: "can't be used" in governed.worker.log())
    governed.watch.look()
    assert waiting not in governed.watch.fates
    governed.gate.closed = False
    assert governed.fate(waiting).verdict == ("approved", "owner_spoke")
    assert governed.worker.running


def test_a_replayed_record_with_an_unknown_schema_waits_without_spinning(governed):
    """It came from another input than the one that it waits on."""
    shipment = governed.name()
    number, schema = newer(governed, "x_replayed")
    value = codec.encode(delivered(governed, shipment) | {"x_replayed": "?"}, schema, number)
    key = governed.key(shipment)
    governed.gate.closed = True
    governed.gate.asked.clear()
    origin = Origin(TMS, 0, 99_999, int(time.time() * 1000))
    replayed = governed.put(
        names.REPLAY, key, value, headers=headers.forwarded(Raw(key, value, ()), key, origin, 0)
    )
    (neighbour,) = governed.send(delivered(governed, shipment))
    assert governed.fate(neighbour).verdict == ("approved", "owner_spoke")
    asked = len(governed.gate.asked)
    assert asked < 10
    governed.gate.closed = False
    assert governed.fate(replayed).verdict[0] in {"approved", "duplicate", "stale"}


def test_a_worker_starts_without_a_registry_and_waits_for_it(governed):
    assert governed.worker.end() == 0
    governed.gate.closed = True
    governed.start()
    governed.watch.until(lambda: "waiting: The schema registry" in governed.worker.log())
    shipment = governed.name()
    (place,) = governed.send(delivered(governed, shipment))
    governed.gate.closed = False
    assert governed.fate(place).verdict == ("approved", "owner_spoke")
