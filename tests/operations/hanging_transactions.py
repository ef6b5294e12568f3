"""Transactions that a broker never ends: written past the coordinator, as a late request is.

Speaks just enough of Kafka's protocol to append a transactional batch that no coordinator knows of,
which brokers take where `transaction.partition.verification.enable` is off.
"""

import socket
import struct

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from governed_stack import until

PRODUCE, VERSION = 0, 7
TRANSACTIONAL = 0x10
NOT_LEADER = 6
VERIFICATION = "transaction.partition.verification.enable"


def crc32c(content):
    value = 0xFFFFFFFF
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def batch(producer_id, epoch, sequence, value=b"late"):
    """One record in a transactional batch."""
    record = b"\0\0\0\x01" + bytes([2 * len(value)]) + value + b"\0"
    body = (
        struct.pack(">hiqqqhii", TRANSACTIONAL, 0, 0, 0, producer_id, epoch, sequence, 1)
        + bytes([2 * len(record)])
        + record
    )
    tail = b"\x02" + struct.pack(">I", crc32c(body)) + body
    return struct.pack(">qii", 0, len(tail) + 4, -1) + tail


def text(content):
    return struct.pack(">h", len(content)) + content.encode()


def append(bootstrap, topic, name, producer_id, epoch, sequence):
    """Append a record of a transaction to partition 0; the error code of the broker."""
    said = []

    def answered():
        said.append(_append(bootstrap, topic, name, producer_id, epoch, sequence))
        return said[-1] != NOT_LEADER  # a topic that was just created has no leader for a moment

    until(answered)
    return said[-1]


def _append(bootstrap, topic, name, producer_id, epoch, sequence):
    records = batch(producer_id, epoch, sequence)
    request = struct.pack(">hhi", PRODUCE, VERSION, 1) + text("test") + text(name)
    request += struct.pack(">hii", -1, 10_000, 1) + text(topic)
    request += struct.pack(">iii", 1, 0, len(records)) + records
    host, _, port = bootstrap.split(",")[0].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = b""
        while len(answer) < 4 or len(answer) < 4 + struct.unpack(">i", answer[:4])[0]:
            answer += connection.recv(4_096)
    at = 4 + 4 + 4 + 2 + len(topic) + 4 + 4  # sizes, correlation, topic, partition
    return struct.unpack_from(">h", answer, at)[0]


def verify(bootstrap, enabled):
    """Have the brokers ask the coordinator about each partition of a transaction, or not."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    entry = ConfigEntry(VERIFICATION, enabled, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.BROKER, "1", incremental_configs=[entry])
    for answer in admin.incremental_alter_configs([resource]).values():
        answer.result(20)


def finished(bootstrap, topic, name, end):
    """A transaction with one record that was ended in this way."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": name, "linger.ms": 0})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic, b"whole", partition=0)
    producer.flush(20)
    getattr(producer, end)(20)


def begun(bootstrap, name):
    """A producer whose transaction has one record on the topic of its own name, and stays open."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": name, "linger.ms": 0})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(name, b"open")
    producer.flush(20)
    return producer
