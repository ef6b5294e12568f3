"""Send one event of your platform: Avro, Milepost's key, Java's partitioner.

Needs confluent-kafka and fastavro, nothing of Milepost. Run it as
MILEPOST_BOOTSTRAP_SERVERS=… MILEPOST_REGISTRY_URL=… python produce.py SHIPMENT-ID
"""  # noqa: INP001  a script, in no package

import io
import json
import os
import struct
import sys
from datetime import UTC, datetime
from urllib.request import urlopen

import fastavro
from confluent_kafka import Producer

if len(sys.argv) != 2:
    sys.exit(__doc__)
TENANT, PLATFORM = "acme", "tms-na"
TOPIC = f"logistics.raw.{PLATFORM}.v1"
REGISTRY = os.environ["MILEPOST_REGISTRY_URL"]

with urlopen(f"{REGISTRY}/subjects/{TOPIC}-value/versions/latest") as answer:  # noqa: S310  ours
    latest = json.load(answer)
schema = fastavro.parse_schema(json.loads(latest["schema"]))

shipment = sys.argv[1]
event = {
    "event_id": f"{shipment}-shipped-1",  # yours, and the same whenever you send it again
    "platform": PLATFORM,
    "entity_type": "shipment",
    "entity_id": shipment,  # as you write it
    "native_status": "SHIPPED",  # your own code: the policy's dialect maps it
    "classifier": "ACTUAL",
    "occurred": datetime.now(UTC).replace(microsecond=0),
    "occurred_precision": "SECOND",
    "stop": {"role": "ORIGIN", "location": "DAL1"},
}
value = io.BytesIO()
value.write(struct.pack(">bI", 0, latest["id"]))  # magic byte, schema id
fastavro.schemaless_writer(value, schema, event)

# tenant/type/id, the id in its one spelling, / and % escaped in each part
parts = (TENANT, "shipment", shipment.strip().upper())
key = "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)

producer = Producer(  # one for the life of your process
    {
        "bootstrap.servers": os.environ["MILEPOST_BOOTSTRAP_SERVERS"],
        "partitioner": "murmur2_random",  # librdkafka's default is another than Java's
        "enable.idempotence": True,  # and acks=all
    }
)
failures: list[str] = []
producer.produce(
    TOPIC,
    value.getvalue(),
    key.encode(),
    on_delivery=lambda error, _: failures.append(str(error)) if error else None,
)
# Only what Kafka has acknowledged is sent; else send the same event again, repeats are recognised
if producer.flush(30) or failures:
    sys.exit(f"not delivered: {failures or 'no answer in 30 s'}")
print(f"sent {event['event_id']} to {TOPIC} under the key {key}")  # noqa: T201  its output
