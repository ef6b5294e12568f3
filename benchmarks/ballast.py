"""State that lies there: many orders of which one thing was said, as the changelog keeps them.

Or shipments whose story is whole, ten milestones each.
"""

import random
import uuid

from benchmarks.peers import spec, workload
from pipeline.contract import codec, names
from pipeline.governance.claims import raw_event
from pipeline.governance.identity import entity_key, partition_of
from pipeline.streams.state import PARTITION_KEY
from pipeline.testing.driver import TopologyDriver

ERP = names.raw_topic("erp-global")


def order(number):
    """Name of an order of the ballast."""
    return f"7{number:09d}"


def said(number, code, at_ms, chance, raw_id):
    """Key and value of something that the ERP says of an order."""
    event = raw_event(
        event_id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        platform="erp-global",
        native_status=code,
        document=None if code == "REL" else f"{code}-{chance.getrandbits(40)}",
        entity_type="order",
        entity_id=order(number),
        classifier="ACTUAL",
        occurred=at_ms - at_ms % 1000,
        occurred_precision="SECOND",
        recorded=at_ms,
    )
    key = entity_key("acme", "order", order(number)).encode()
    return key, codec.encode(dict(event), codec.committed("raw-event"), raw_id)


class Ballast:
    """One governed order, to be copied under other names; nothing in its state is its name.

    Args:
        now_ms: when it was said.
        raw_id: of the raw event schema.
        partitions: of every input.
        whole: a shipment with its whole story instead.

    """

    def __init__(self, now_ms, raw_id, partitions=4, *, whole=False):
        self.partitions = partitions
        self._driver = TopologyDriver([spec.policy()], partitions=partitions, start_ms=now_ms)
        self._driver.raw_schema_id = raw_id
        key = self._ship(now_ms) if whole else self._release(now_ms)
        self.value = next(
            kept for log in self._driver.changelog for name, kept in log.items() if name == key
        )

    def _release(self, now_ms):
        key, value = said(0, "REL", now_ms - workload.DAY_MS, random.Random(1), 1)
        self._driver.pipe_bytes(ERP, key, value)
        return key

    def _ship(self, now_ms):
        chance = random.Random(1)
        stories = (workload.Entity(number, chance, 0) for number in range(100))
        shipment = next(entity for entity in stories if entity.kind == "shipment")
        for _ in shipment.story:
            event = shipment.event(chance, now_ms - workload.DAY_MS + shipment.told * 3_600_000)
            event["event_id"] = str(uuid.UUID(int=chance.getrandbits(128), version=4))
            self._driver.pipe(names.raw_topic(event["platform"]), event)
            shipment.told += 1
        return shipment.key

    def keys(self, count):
        """Partition and key of each order."""
        for number in range(count):
            key = entity_key("acme", "order", order(number)).encode()
            yield partition_of(key, self.partitions), key

    def own_records(self):
        """Each partition's own record: a policy in force, nothing read but its activation."""
        for state in self._driver.states:
            state.positions = {names.CONTROL: state.positions[names.CONTROL]}
            key, value = state.own_record()
            assert key == PARTITION_KEY
            yield state.partition, value
