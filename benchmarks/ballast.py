"""State that lies there: many orders of which one thing was said, as the changelog keeps them."""

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

    """

    def __init__(self, now_ms, raw_id, partitions=4):
        self.partitions = partitions
        self._driver = TopologyDriver([spec.policy()], partitions=partitions, start_ms=now_ms)
        self._driver.raw_schema_id = raw_id
        key, value = said(0, "REL", now_ms - workload.DAY_MS, random.Random(1), 1)
        self._driver.pipe_bytes(ERP, key, value)
        self.value = next(
            kept for log in self._driver.changelog for name, kept in log.items() if name == key
        )

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
