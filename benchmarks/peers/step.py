"""The minimal step, as every Python peer runs it: decode, validate, dedupe, own, map, encode.

`MinimalStep.java` is its twin. Standard library and fastavro only: other environments import it.
"""

import json
import os
import time
import uuid
from io import BytesIO
from pathlib import Path

import fastavro

DUPLICATE, REJECTED, APPROVED, UNDECODABLE = range(4)
NOT_OWNER, NOT_READ = b"not_owner", b"undecodable"
"""What the header `reason` of rejected and undecodable records says."""
ID_BYTES = 16
TEXT_ID = 36


def told():
    """What the harness wrote for this run: topics, names, options, and the tables as `spec`."""
    return json.loads(Path(os.environ["BENCH_RUN"]).read_text("utf-8"))


def first(at=None, cpu_s=None):
    """Tell the harness that the first record is in hand.

    Args:
        at: since when, in seconds; None: since now.
        cpu_s: CPU of this process by then.

    """
    now = (time.time(), time.process_time()) if at is None else (at, cpu_s)
    os.write(1, b"\nFIRST %.6f %.6f\n" % now)


class Step:
    """One decision after another; state is the caller's.

    State of an entity: for each platform one byte, the code of what it said last (0: nothing), then
    the ids of the last events, 16 bytes each, oldest first.
    """

    def __init__(self, spec):
        self.platforms = {name: at for at, name in enumerate(spec["platforms"])}
        self.meanings = {
            (platform, code): milestone
            for platform, codes in spec["meanings"].items()
            for code, milestone in codes.items()
        }
        self.places = spec["places"]
        self.owners = {
            (milestone, region): owner
            for milestone, regions in spec["owners"].items()
            for region, owner in regions.items()
        }
        self.milestones = [None, *spec["milestones"]]
        self.codes = {name: code for code, name in enumerate(self.milestones) if name}
        self.window = spec["window"] * ID_BYTES
        self.raw = fastavro.parse_schema(without_logical_types(spec["raw_schema"]))
        self.approved = fastavro.parse_schema(without_logical_types(spec["approved_schema"]))
        self.raw_head = b"\0" + spec["raw_id"].to_bytes(4, "big")
        self.approved_head = b"\0" + spec["approved_id"].to_bytes(4, "big")

    def decode(self, value):
        """The record with its milestone and region, or None if it can't be read."""
        if value is None or value[:5] != self.raw_head:
            return None
        source = BytesIO(value)
        source.seek(5)
        try:
            record = fastavro.schemaless_reader(source, self.raw, None)
        except Exception:  # noqa: BLE001  fastavro raises a dozen kinds on bad bytes
            return None
        stop = record["stop"]
        place = stop and stop["location"]
        region = self.places.get(place) if place else ""
        milestone = self.meanings.get((record["platform"], record["native_status"]))
        if (
            source.tell() != len(value)
            or milestone is None
            or region is None
            or not record["entity_type"]
            or not record["entity_id"]
            or record["occurred"] <= 0
            or len(record["event_id"]) != TEXT_ID
        ):
            return None
        try:
            record["id"] = uuid.UUID(record["event_id"]).bytes
        except ValueError:
            return None
        record["milestone"] = milestone
        record["region"] = region or None
        return record

    def decide(self, value, state):
        """What becomes of one record.

        Args:
            value: as it came.
            state: of its entity; None: it is new.

        Returns:
            Fate, the entity's new state (None: unchanged), and the approved value.

        """
        record = self.decode(value)
        return (UNDECODABLE, None, None) if record is None else self.judge(record, state)

    def judge(self, record, state):
        """The same for a record that could be read; its milestone fields are filled in."""
        event_id = record["id"]
        count = len(self.platforms)
        last, ids = (bytes(count), b"") if state is None else (state[:count], state[count:])
        if seen(ids, event_id):
            return DUPLICATE, None, None
        ids = (ids + event_id)[-self.window :]
        milestone, platform = record["milestone"], record["platform"]
        if self.owners.get((milestone, record["region"] or "")) != platform:
            return REJECTED, last + ids, None
        at = self.platforms[platform]
        record["milestone_code"] = code = self.codes[milestone]
        record["previous"] = self.milestones[last[at]]
        target = BytesIO()
        target.write(self.approved_head)
        fastavro.schemaless_writer(target, self.approved, record)
        return APPROVED, last[:at] + bytes((code,)) + last[at + 1 :] + ids, target.getvalue()


def seen(ids, event_id):
    """Whether an id is among these, each at a multiple of its length."""
    at = ids.find(event_id)
    while at != -1 and at % ID_BYTES:
        at = ids.find(event_id, at + 1)
    return at != -1


def without_logical_types(node):
    """A schema whose times and decimals stay the numbers and bytes that they are."""
    if isinstance(node, dict):
        drop = {"logicalType", "precision", "scale"} if "logicalType" in node else set()
        return {
            name: without_logical_types(item) for name, item in node.items() if name not in drop
        }
    if isinstance(node, list):
        return [without_logical_types(item) for item in node]
    return node
