"""`milepost up --brokers 3`: three replicas, two in sync; one broker may go at any time."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, ConfigResource

from pipeline.contract import names
from pipeline.contract import topics as declarations

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
COMMAND = (sys.executable, "-m", "pipeline.cli.main")
DECLARED = declarations.load()


def milepost(env, *arguments):
    told = subprocess.run(
        [*COMMAND, *arguments], env=env, capture_output=True, text=True, timeout=240, check=False
    )
    return told.returncode, told.stdout + told.stderr


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """The whole of Milepost on three brokers: its environment, and what `status` says of it."""
    folder = tmp_path_factory.mktemp("three") / "state"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")}
    env = kept | {"MILEPOST_STATE_DIR": str(folder)}
    if "MILEPOST_CACHE_DIR" in os.environ:
        env["MILEPOST_CACHE_DIR"] = os.environ["MILEPOST_CACHE_DIR"]
    code, told = milepost(env, "up", "--brokers", "3", "--no-traffic", "--detach")
    assert code == 0, told
    try:
        code, told = milepost(env, "status", "--json")
        assert code == 0, told
        yield env, json.loads(told)
    finally:
        milepost(env, "down", "--wipe")
    assert not list(folder.glob("kafka-*"))


def brokers(status):
    return [part for part in status["parts"] if part["name"].startswith("kafka-")]


def test_status_shows_every_broker(stack):
    _, status = stack
    assert [part["name"] for part in brokers(status)] == ["kafka-1", "kafka-2", "kafka-3"]
    assert status["answers"]
    assert len(status["bootstrap"].split(",")) == 3


def test_every_topic_has_three_replicas_of_which_two_must_be_in_sync(stack):
    _, status = stack
    admin = AdminClient({"bootstrap.servers": status["bootstrap"]})
    found = admin.list_topics(timeout=20).topics
    replicas = {
        topic.name: {len(part.replicas) for part in found[topic.name].partitions.values()}
        for topic in DECLARED.topics
    }
    assert replicas == {topic.name: {3} for topic in DECLARED.topics}
    asked = ConfigResource(ConfigResource.Type.TOPIC, names.APPROVED)
    config = admin.describe_configs([asked])[asked].result(20)
    assert config["min.insync.replicas"].value == "2"


def test_one_broker_that_dies_takes_nothing_with_it_and_comes_back(stack):
    env, status = stack
    victim = brokers(status)[0]
    os.kill(victim["pid"], signal.SIGKILL)
    producer = Producer(
        {"bootstrap.servers": status["bootstrap"], "acks": "all", "delivery.timeout.ms": 60_000}
    )
    refused = []
    for number in range(40):
        producer.produce(
            DECLARED.inputs[0].name,
            b"{}",
            str(number).encode(),
            on_delivery=lambda error, _: refused.append(error) if error else None,
        )
    assert producer.flush(60) == 0
    assert refused == []
    until = time.monotonic() + 90
    while True:
        code, told = milepost(env, "status", "--json")
        alive = json.loads(told)
        if code == 0 and brokers(alive)[0]["pid"] not in {None, victim["pid"]}:
            break
        assert time.monotonic() < until, told
    assert Path(env["MILEPOST_STATE_DIR"], "kafka-1").is_dir()
