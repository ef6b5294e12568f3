"""Follow approved milestones: your own tables, each revision once, effects for what is new only.

Needs confluent-kafka and fastavro, nothing of Milepost. Run it as
MILEPOST_BOOTSTRAP_SERVERS=… MILEPOST_REGISTRY_URL=… python consume.py DATABASE.sqlite SCHEMA.avsc
The schema is fetched when the file isn't there; keep it with your code from then on.
"""  # noqa: INP001  a script, in no package

import io
import json
import os
import sqlite3
import struct
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import fastavro
from confluent_kafka import Consumer, KafkaException, TopicPartition

TOPIC, GROUP = "logistics.approved-milestones.v1", "your-team"  # one group per database
REGISTRY = os.environ["MILEPOST_REGISTRY_URL"]
if len(sys.argv) != 3:
    sys.exit(__doc__)
# The schema you were built with: words that a newer one adds then come out as UNRECOGNISED
SCHEMA = Path(sys.argv[2])
if not SCHEMA.exists():
    with urlopen(f"{REGISTRY}/subjects/{TOPIC}-value/versions/latest") as answer:  # noqa: S310  ours
        SCHEMA.write_text(json.load(answer)["schema"])
mine = fastavro.parse_schema(json.loads(SCHEMA.read_text()))
written: dict[int, Any] = {}

db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.executescript("""
CREATE TABLE IF NOT EXISTS position(partition PRIMARY KEY, next, live_from);
CREATE TABLE IF NOT EXISTS milestone(id PRIMARY KEY, revision, entity, seq, type, occurred, stands);
CREATE TABLE IF NOT EXISTS to_post(event_id PRIMARY KEY, entity, seq, type, action);
""")


def decode(value: bytes) -> Any:
    """A record, read with your schema from what it was written with."""
    schema_id = struct.unpack(">bI", value[:5])[1]
    if schema_id not in written:
        with urlopen(f"{REGISTRY}/schemas/ids/{schema_id}") as answer:  # noqa: S310  ours
            written[schema_id] = fastavro.parse_schema(json.loads(json.load(answer)["schema"]))
    return fastavro.schemaless_reader(io.BytesIO(value[5:]), written[schema_id], mine)


def assigned(consumer: Consumer, partitions: list[TopicPartition]) -> None:
    """Go on where the database ends; what the topic holds at the first start is history."""
    for part in partitions:
        find = db.execute("SELECT next FROM position WHERE partition = ?", (part.partition,))
        row = find.fetchone()
        if row is None:
            end = consumer.get_watermark_offsets(part, timeout=30)[1]
            db.execute("INSERT INTO position VALUES (?, 0, ?)", (part.partition, end))
        part.offset = row[0] if row else 0
    consumer.assign(partitions)


def take(m: dict[str, Any], *, live: bool) -> None:
    """One revision: upsert by (milestone_id, revision), then whatever follows from it."""
    known = "UNRECOGNISED" not in (m["action"], m["assurance"], m["classifier"])
    stands = m["action"] != "RETRACT" if known else None  # None: don't show it, don't book it
    entity = f"{m['tenant']}/{m['entity_type']}/{m['entity_id']}"
    about = (entity, m["entity_seq"], m["event_type"])
    newer = db.execute(
        "INSERT INTO milestone VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
        " (revision, seq, occurred, stands) = (excluded.revision, excluded.seq, excluded.occurred,"
        " excluded.stands) WHERE excluded.revision > milestone.revision",
        (m["milestone_id"], m["revision"], *about, m["occurred"].isoformat(), stands),
    ).rowcount
    books = m["assurance"] == "AUTHORITATIVE" and m["classifier"] == "ACTUAL"
    if newer and known and live and books:  # to be posted by entity in order of seq, key: event_id
        row = (m["event_id"], *about, m["action"])
        db.execute("INSERT OR IGNORE INTO to_post VALUES (?, ?, ?, ?, ?)", row)


consumer = Consumer(
    {
        "bootstrap.servers": os.environ["MILEPOST_BOOTSTRAP_SERVERS"],
        "group.id": GROUP,
        "isolation.level": "read_committed",
        "session.timeout.ms": 6_000,  # so soon another takes over what a killed one had
        "enable.auto.commit": False,  # the position is in the database, beside the effects
        "auto.offset.reset": "error",  # records that retention took must not go unnoticed
    }
)
consumer.subscribe([TOPIC], on_assign=assigned)
while True:
    message = consumer.poll(1.0)
    if message is None:
        continue
    if message.error() is not None:
        raise KafkaException(message.error())
    at, offset = message.partition(), message.offset()
    db.execute("BEGIN IMMEDIATE")
    row = db.execute("SELECT live_from FROM position WHERE partition = ?", (at,)).fetchone()
    milestone = decode(message.value() or b"")
    take(milestone, live=offset >= row[0])
    db.execute("UPDATE position SET next = ? WHERE partition = ?", (offset + 1, at))
    db.execute("COMMIT")
    told = [milestone[name] for name in ("entity_id", "event_type", "action", "assurance")]
    print(*told, milestone["occurred"].isoformat(), flush=True)  # noqa: T201  its output
