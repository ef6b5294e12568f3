"""A real Kafka and a real registry, started from Python alone."""

import httpx
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

pytestmark = pytest.mark.kafka


def test_the_stack_carries_a_record(stack):
    admin = AdminClient({"bootstrap.servers": stack.bootstrap})
    admin.create_topics([NewTopic("local.carries", 1)])["local.carries"].result(10)
    producer = Producer({"bootstrap.servers": stack.bootstrap})
    producer.produce("local.carries", value=b"here")
    assert producer.flush(10) == 0
    consumer = Consumer(
        {
            "bootstrap.servers": stack.bootstrap,
            "group.id": "local",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe(["local.carries"])
    try:
        record = consumer.poll(20)
        assert record is not None
        assert record.value() == b"here"
    finally:
        consumer.close()


def test_the_registry_answers_as_confluents_does(stack):
    schema = {"schema": '"string"'}
    with httpx.Client(base_url=stack.registry_url, trust_env=False) as client:
        posted = client.post("subjects/local-value/versions", json=schema)
        assert posted.status_code == 200
        found = client.get(f"schemas/ids/{posted.json()['id']}")
        assert found.json()["schema"] == '"string"'
