"""A small world told to the in-memory driver, for tests of what operators ask about it."""

from copied_topics import RecordedDriver

from pipeline.contract import codec, names
from pipeline.contract.bundle import load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.identity import partition_of

NOW_MS = 1_790_000_000_000
MINUTE_MS = 60_000
TMS = "logistics.raw.tms-na.v1"
CARRIERS = "logistics.raw.carriers.v1"
POLICY = compile_policy(load_bundle())
ATLANTA = dict.fromkeys(
    ("number", "role", "location", "name", "city", "subdivision", "country")
) | {"location": "C-ATL"}


def event(name, entity_id, status, **given):
    """What a platform says happened an hour ago, with every field of the schema."""
    fields = codec.definition("raw-event")["fields"]
    defaults = {field["name"]: field["default"] for field in fields if "default" in field}
    return (
        defaults
        | {
            "event_id": name,
            "platform": "tms-na",
            "entity_type": "shipment",
            "entity_id": entity_id,
            "native_status": status,
            "classifier": "ACTUAL",
            "occurred": NOW_MS - 60 * MINUTE_MS,
            "occurred_precision": "SECOND",
            "stop": ATLANTA,
        }
        | given
    )


class World(RecordedDriver):
    """Says things as platforms do, a minute after one another."""

    def __init__(self):
        super().__init__([POLICY], start_ms=NOW_MS)

    def say(self, name, entity_id, status, topic=TMS, **given):
        self.now_ms += MINUTE_MS
        return self.pipe(topic, event(name, entity_id, status, **given))

    def value(self, *said, schema_id=None, **given):
        """The bytes that a platform would write."""
        number = self.raw_schema_id if schema_id is None else schema_id
        return codec.encode(event(*said, **given), codec.committed("raw-event"), number)

    def garble(self, entity_id, value=b"<html>"):
        self.now_ms += MINUTE_MS
        return self.pipe_bytes(TMS, f"acme/shipment/{entity_id}".encode(), value)

    def stray(self, name, entity_id, status):
        key = f"acme/shipment/{entity_id}".encode()
        number = (partition_of(key, self.partitions) + 1) % self.partitions
        return self.pipe_bytes(TMS, key, self.value(name, entity_id, status), partition=number)

    def replay(self, outgoing):
        """Append what an operator's replay would send."""
        return self.pipe_bytes(
            names.REPLAY,
            outgoing.key,
            outgoing.value,
            list(outgoing.headers),
            partition=outgoing.partition,
        )
