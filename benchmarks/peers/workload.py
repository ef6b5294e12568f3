"""The one input of all peers: what four platforms say of shipments and orders, seeded.

Written to a file once, with the truth of the minimal step; `load` puts it on the raw topics.
Every entity's story is whole and in order; beside it come undecodable records (1 %, of three
kinds), exact repeats (5 %, 5 to 49 records later) and statements of a platform that owns that event
type nowhere there (5 %).
"""

import heapq
import json
import random
import struct
import uuid
import zlib

from benchmarks.peers import spec as telling
from benchmarks.peers import step
from pipeline.contract import codec, names
from pipeline.governance.claims import raw_event
from pipeline.governance.identity import entity_key

SEED = 20261128
DAY_MS = 86_400_000
STEP_MS = 60_000
UNDECODABLE, WRONG, REPEATED = 0.01, 0.05, 0.0537
HEADER = struct.Struct(">BBHH")
TOPICS = tuple(names.raw_topic(platform) for platform in telling.PLATFORMS)
FATES = ("duplicate", "rejected", "approved", "undecodable")
MASK = (1 << 64) - 1
EMPTY = dict.fromkeys(("number", "role", "location", "name", "city", "subdivision", "country"))
PLAN = {"NA": ("DAL1", "CHI1", ("C-ATL", "C-SEA", "C-DEN")),
        "EU": ("RTM1", "LEJ1", ("C-MUC", "C-LYS", "C-WAW"))}  # fmt: skip
TRANSPORT = (
    ("TENDERED", 0), ("ACCEPTED", 0), ("AT_PICKUP", 0), ("GI", 0), ("SHIPPED", 0), ("AT_HUB", 1),
    ("LEFT_HUB", 1), ("AT_CONSIGNEE", 2), ("DELIVERED", 2), ("POD", 2),
)  # fmt: skip
ORDER = ("REL", "CHG", "PICK", "PICK", "PACK", "CHG", "PICK", "PACK", "PICK", "PACK")
ROLES = ("PICKUP", "TRANSIT", "DELIVERY")
ORDERS_SHARE = 0.25
STRANGE = 0.675
"""Share of the records of which a stranger could say the same."""


class Entity:
    """A shipment or an order whose story is being told."""

    def __init__(self, number, chance, began_ms):
        self.number = number
        self.began_ms = began_ms
        self.told = 0
        self.disputed = -1
        """Up to where in its story a stranger spoke."""
        if chance.random() < ORDERS_SHARE:
            self.region, self.kind, self.name = None, "order", f"8{number:09d}"
            self.story = ORDER
        else:
            self.region = chance.choice(("NA", "EU"))
            self.kind, self.name = "shipment", f"B{number:09d}"
            self.story = TRANSPORT
            pickup, hub, places = PLAN[self.region]
            self.places = pickup, hub, chance.choice(places)
        self.key = entity_key("acme", self.kind, self.name).encode()

    def event(self, chance, at_ms):
        """What is said of it next, as a raw event without id."""
        occurred = at_ms - at_ms % 1000
        common = {
            "entity_type": self.kind,
            "entity_id": self.name,
            "classifier": "ACTUAL",
            "occurred": occurred,
            "occurred_precision": "SECOND",
            "recorded": occurred + chance.randrange(STEP_MS),
        }
        if self.kind == "order":
            return common | self._of_order(chance)
        return common | self._of_shipment(chance)

    def _of_order(self, chance):
        code = self.story[self.told]
        if code == "REL":
            return {"platform": "erp-global", "native_status": code,
                    "attributes": {"sales_org": f"{chance.randrange(9000):04d}"}}  # fmt: skip
        document = f"{code}-{self.number}-{self.told}"
        if code == "CHG":
            return {"platform": "erp-global", "native_status": code, "document": document}
        return {
            "platform": "wms-3pl",
            "account": "ACME-3PL",
            "native_status": code,
            "document": document,
            "warehouse_task": f"W{chance.getrandbits(24):08d}",
            "quantity": {
                "value": codec.scaled(chance.randrange(1, 500), codec.QUANTITY_SCALE),
                "unit": "EA",
                "basis": "DELTA",
                "completeness": "PARTIAL",
            },
        }

    def _of_shipment(self, chance):
        code, place = self.story[self.told]
        stop = EMPTY | {"role": ROLES[place], "location": self.places[place]}
        if code == "GI":
            return {"platform": "wms-3pl", "account": "ACME-3PL", "native_status": code,
                    "stop": stop, "document": f"GI-{self.number}"}  # fmt: skip
        if code == "SHIPPED" and self.region == "EU":
            code = "PICKED_UP"
        event = {
            "platform": f"tms-{self.region.lower()}",
            "native_status": code,
            "stop": stop,
            "attributes": {
                "carrier": chance.choice(("Redline Freight", "Alpen Spedition", "Blue Ocean")),
                "trailer": f"TR{chance.getrandbits(20):07d}",
            },
        }
        if code == "TENDERED":
            event["stops"] = [
                EMPTY | {"number": at + 1, "role": role, "location": place}
                for at, (role, place) in enumerate(zip(ROLES, self.places, strict=True))
            ]
        return event


def disputable(entity, event):
    """Whether a stranger may say it: once each, and only what a TMS says."""
    platform = event["platform"]
    return platform.startswith("tms-") and entity.disputed < entity.told


def strangers(entity, event):
    """The same statement by the TMS of the other region: it owns nothing where this happened."""
    other = {"NA": "tms-eu", "EU": "tms-na"}[entity.region]
    code = {"SHIPPED": "PICKED_UP", "PICKED_UP": "SHIPPED"}.get(event["native_status"])
    return event | {"platform": other, "native_status": code or event["native_status"],
                    "account": None, "stops": []}  # fmt: skip


def records(count, raw_id, base_ms, seed=SEED):
    """So many records, as they come.

    Args:
        count: how many.
        raw_id: registry id of the raw event schema.
        base_ms: when the first story begins; a record comes every 100 ms of its time.
        seed: of everything that is left to chance.

    Yields:
        Index of the topic, key, value, and what the minimal step must make of it.

    """
    chance, schema = random.Random(seed), codec.committed("raw-event")
    head = b"\0" + raw_id.to_bytes(4, "big")
    crowd, repeats, number = [], [], 0
    in_flight = max(8, count // 50)
    for at in range(count):
        if repeats and repeats[0][0] <= at:
            _, _, topic, key, value = heapq.heappop(repeats)
            yield topic, key, value, "duplicate"
            continue
        if len(crowd) < in_flight:
            crowd.append(Entity(number, chance, at))
            number += 1
        place = chance.randrange(len(crowd))
        entity = crowd[place]
        draw = chance.random()
        event = entity.event(chance, base_ms + at * 100)
        event["event_id"] = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        fate = "approved"
        if draw < UNDECODABLE:
            fate = "undecodable"
        elif draw < UNDECODABLE + WRONG / STRANGE and disputable(entity, event):
            fate, event = "rejected", strangers(entity, event)
            entity.disputed = entity.told
        else:
            entity.told += 1
            if entity.told == len(entity.story):
                crowd[place] = Entity(number, chance, at)
                number += 1
        topic = telling.PLATFORMS.index(event["platform"])
        value = codec.encode(dict(raw_event(**event)), schema, raw_id)
        if fate == "undecodable":
            value = spoiled(value, head, chance.randrange(3))
        elif chance.random() < REPEATED:
            due = at + chance.randrange(5, 50)
            heapq.heappush(repeats, (due, at, topic, entity.key, value))
        yield topic, entity.key, value, fate


def spoiled(value, head, kind):
    """A record that nobody can read: another magic byte, an unknown schema id, or cut short."""
    if kind == 0:
        return b"\7" + value[1:]
    if kind == 1:
        return head[:1] + (999_999).to_bytes(4, "big") + value[5:]
    return value[:20]


class Truth:
    """What the minimal step makes of the records so far: the counts and sums of its outputs."""

    def __init__(self, spec):
        self._step = step.Step(spec)
        self._states = {}
        self.counts = dict.fromkeys(FATES, 0)
        self.sums = dict.fromkeys(("approved", "rejected", "undecodable"), 0)
        self.input = 0
        self.story = 0
        """Sum over what the approved records say, whatever else they carry."""

    def take(self, key, value):
        """Decide one record; its fate."""
        self.input = (self.input + zlib.crc32(key + value)) & MASK
        record = self._step.decode(value)
        if record is None:
            fate, new, out = step.UNDECODABLE, None, None
        else:
            fate, new, out = self._step.judge(record, self._states.get(key))
        if new is not None:
            self._states[key] = new
        if fate == step.APPROVED:
            self.story = (self.story + zlib.crc32(sentence(key.decode(), record))) & MASK
        name = FATES[fate]
        self.counts[name] += 1
        if fate != step.DUPLICATE:
            sent = out if fate == step.APPROVED else value
            self.sums[name] = (self.sums[name] + zlib.crc32(key + sent)) & MASK
        return name

    def told(self):
        return {
            "count": sum(self.counts.values()),
            "counts": dict(self.counts),
            "input": self.input,
            "sums": dict(self.sums),
            "story": self.story,
        }


def sentence(key, record):
    """What any approved record says, whoever wrote it: which event of what, when, by whom."""
    told = key, record["event_id"], record["milestone"], record["occurred"], record["platform"]
    return "|".join(map(str, told)).encode()


def write(path, count, raw_id, base_ms):
    """Write the records, and the truth beside them.

    Raises:
        AssertionError: generator and reference step do not agree on a record.

    """
    truth = Truth(telling.spec(raw_id))
    with path.open("wb") as file:
        for topic, key, value, fate in records(count, raw_id, base_ms):
            found = truth.take(key, value)
            assert found == fate, (found, fate, value)
            file.write(HEADER.pack(topic, FATES.index(fate), len(key), len(value)) + key + value)
    told = truth.told() | {"raw_id": raw_id, "base_ms": base_ms, "bytes": path.stat().st_size}
    path.with_suffix(".json").write_text(json.dumps(told), "utf-8")
    return told


def read(path, most=None):
    """Records of a file: index of the topic, key, value."""
    content = path.read_bytes()
    at, left = 0, most
    while at < len(content) and left != 0:
        topic, _, key_bytes, value_bytes = HEADER.unpack_from(content, at)
        at += HEADER.size
        middle, end = at + key_bytes, at + key_bytes + value_bytes
        yield topic, content[at:middle], content[middle:end]
        at = end
        if left is not None:
            left -= 1
