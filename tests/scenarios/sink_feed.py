"""Governed records of a run as a sink reads them: Avro bytes, with their places in the topics."""

from __future__ import annotations

from connectors.applied import TopicPartition
from connectors.sinks.decoding import SCHEMAS, Decoder
from connectors.sinks.following import Incoming
from pipeline.contract import codec, names
from pipeline.governance.identity import entity_key

SCHEMA_ID = 1
_RECEIVED = {names.APPROVED: "received", names.ENTITY_STATUS: "updated"}


class CommittedSchemas:
    """A registry that knows the committed schemas only, all under one id for each topic."""

    def __init__(self, topic):
        self._topic = topic

    def allowed(self, subject, schema_id):
        return subject == names.subject(self._topic) and schema_id == SCHEMA_ID

    def schema(self, schema_id):
        return codec.definition(SCHEMAS[self._topic]) if schema_id == SCHEMA_ID else None


class TopicDecoders:
    """Decodes each topic as the real decoder does over a registry."""

    def __init__(self):
        self._by_topic = {topic: Decoder(CommittedSchemas(topic)) for topic in SCHEMAS}

    def decode_patiently(self, topic, value):
        return self._by_topic[topic].decode_patiently(topic, value)


def entity_of(record):
    """What files call the entity of a record."""
    return f"{record['entity_type']} {record['entity_id']}"


def key_of(record):
    return entity_key(record["tenant"], record["entity_type"], record["entity_id"])


def incoming(topic, records, start=0):
    """Records of one topic, all in its partition 0 from an offset on."""
    schema = codec.committed(SCHEMAS[topic])
    fields = [field["name"] for field in codec.definition(SCHEMAS[topic])["fields"]]
    return [
        Incoming(
            TopicPartition(topic, 0),
            offset,
            record[_RECEIVED[topic]],
            key_of(record).encode(),
            codec.encode({name: record[name] for name in fields}, schema, SCHEMA_ID),
        )
        for offset, record in enumerate(records, start)
    ]
