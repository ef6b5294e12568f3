"""A real Kafka and a real registry, started from Python alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from pipeline.local import ports as ports_module
from pipeline.local.faults import StackInUseError
from pipeline.local.holding import Holding
from pipeline.local.stack import Addresses, LocalStack, addresses, find_running, wipe
from pipeline.settings import load

pytestmark = pytest.mark.kafka
CACHE = Path(os.environ["MILEPOST_CACHE_DIR"]) if "MILEPOST_CACHE_DIR" in os.environ else None


def wait_for(condition, within_s=30):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "not within time"
        time.sleep(0.02)


def create(bootstrap, topic):
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    admin.create_topics([NewTopic(topic, 1)])[topic].result(20)


def write(bootstrap, topic, value):
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    producer.produce(topic, value=value)
    assert producer.flush(20) == 0


def read(bootstrap, topic):
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "local", "log_level": 0})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        record = consumer.poll(20)
        assert record is not None
        return record.value()
    finally:
        consumer.close()


def register(url, subject):
    with httpx.Client(base_url=url, trust_env=False) as client:
        posted = client.post(f"subjects/{subject}/versions", json={"schema": '"string"'})
        return posted.json()["id"]


def subjects(url):
    with httpx.Client(base_url=url, trust_env=False) as client:
        return client.get("subjects").json()


def test_the_stack_carries_a_record(stack):
    create(stack.bootstrap, "local.carries")
    write(stack.bootstrap, "local.carries", b"here")
    assert read(stack.bootstrap, "local.carries") == b"here"


def test_the_stack_carries_a_transaction(stack):
    create(stack.bootstrap, "local.transaction")
    producer = Producer({"bootstrap.servers": stack.bootstrap, "transactional.id": "local"})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce("local.transaction", b"committed")
    producer.commit_transaction(20)
    assert read(stack.bootstrap, "local.transaction") == b"committed"


def test_the_registry_answers_as_confluents_does(stack):
    number = register(stack.registry_url, "local-value")
    with httpx.Client(base_url=stack.registry_url, trust_env=False) as client:
        assert client.get(f"schemas/ids/{number}").json()["schema"] == '"string"'


def test_data_and_addresses_survive_a_restart_and_no_wipe(tmp_path):
    local = LocalStack(tmp_path, cache_dir=CACHE)
    with local:
        first = local.addresses
        assert find_running(tmp_path) == first
        create(first.bootstrap, "kept")
        write(first.bootstrap, "kept", b"still here")
        register(first.registry_url, "kept-value")
    assert find_running(tmp_path) is None
    with local:
        assert local.addresses == first
        assert read(first.bootstrap, "kept") == b"still here"
        assert subjects(first.registry_url) == ["kept-value"]
        with pytest.raises(StackInUseError):
            wipe(tmp_path)
    wipe(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".lock"}


@pytest.mark.slow
def test_two_stacks_run_side_by_side_and_a_port_taken_in_between_is_replaced(
    stack, tmp_path, monkeypatch
):
    with LocalStack(tmp_path, cache_dir=CACHE) as local:
        before = local.addresses
        assert before.bootstrap != stack.bootstrap
        create(before.bootstrap, "mine")
    # Another program takes the port after it was chosen and before the broker binds it.
    taken = int(before.bootstrap.rpartition(":")[2])
    choice = ports_module.is_free
    monkeypatch.setattr(ports_module, "is_free", lambda port: port == taken or choice(port))
    with (
        ports_module.socket.create_server((ports_module.HOST, taken)),
        LocalStack(tmp_path, cache_dir=CACHE) as local,
    ):
        assert local.bootstrap != before.bootstrap
        write(local.bootstrap, "mine", b"1")


def test_one_folder_holds_one_stack(tmp_path):
    holding = Holding(tmp_path)
    holding.take()
    try:
        with pytest.raises(StackInUseError, match="milepost down"):
            LocalStack(tmp_path, cache_dir=CACHE).start()
    finally:
        holding.release()


def test_the_number_of_brokers_of_a_folder_is_fixed(tmp_path):
    (tmp_path / "cluster.json").write_text('{"id": "TWlsZXBvc3QtY29tcG9zZQ", "brokers": 3}')
    with pytest.raises(StackInUseError, match=r"cluster of 3 brokers, not 1: .*--wipe"):
        LocalStack(tmp_path, cache_dir=CACHE).start()
    assert Holding(tmp_path).is_idle()


OWNER = """
import sys, time
from pathlib import Path
from pipeline.local.stack import LocalStack
stack = LocalStack(Path(sys.argv[1]), cache_dir=Path(sys.argv[2]) if sys.argv[2] else None,
                   report=lambda step: print(step.what, flush=True))
stack.start()
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def owner(tmp_path):
    """Start a process that starts a stack in `tmp_path`."""
    started = []

    def start():
        arguments = [sys.executable, "-c", OWNER, str(tmp_path), str(CACHE or "")]
        started.append(subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.stdout.close()
        process.wait()


@pytest.mark.fault
@pytest.mark.slow
def test_a_stack_whose_owner_is_killed_ends_and_starts_again_with_its_data(owner, tmp_path):
    process = owner()
    wait_for(lambda: find_running(tmp_path) is not None)
    where = find_running(tmp_path)
    create(where.bootstrap, "kept")
    write(where.bootstrap, "kept", b"still here")
    pids = [part.pid for part in Holding(tmp_path).read().parts]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert find_running(tmp_path) is None
    with LocalStack(tmp_path, cache_dir=CACHE) as local:
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        assert read(local.bootstrap, "kept") == b"still here"


@pytest.mark.fault
@pytest.mark.slow
def test_a_start_that_was_killed_at_any_moment_blocks_nothing(owner, tmp_path):
    moments = (
        (tmp_path / "owner.lock").exists,
        (tmp_path / "kafka-1" / "data").exists,
        (tmp_path / "kafka-1" / "formatted").exists,
        (tmp_path / "logs" / "kafka-1.log").exists,
    )
    for moment in moments:
        process = owner()
        wait_for(moment)
        process.kill()
        process.wait()
    with LocalStack(tmp_path, cache_dir=CACHE) as local:
        create(local.bootstrap, "works")
    assert Holding(tmp_path).is_idle()


@pytest.mark.fault
@pytest.mark.slow
def test_a_broker_that_was_killed_comes_back_with_its_data(tmp_path):
    with LocalStack(tmp_path, cache_dir=CACHE) as local:
        create(local.bootstrap, "kept")
        write(local.bootstrap, "kept", b"still here")
        (broker,) = local.brokers
        broker.kill()
        assert broker.pid is None
        broker.start()
        broker.wait_ready()
        assert read(local.bootstrap, "kept") == b"still here"


class TestWhichKafkaIsUsed:
    @pytest.fixture
    def running(self, tmp_path):
        holding = Holding(tmp_path / "state")
        holding.take()
        local = LocalStack(tmp_path / "state", external=Addresses("local:1", "http://local"))
        local._holding = holding
        local.tell()
        yield tmp_path / "state"
        holding.release()

    def test_the_one_that_is_set(self, running):
        settings = load(
            {
                "MILEPOST_STATE_DIR": str(running),
                "MILEPOST_BOOTSTRAP_SERVERS": "set:1",
                "MILEPOST_REGISTRY_URL": "http://set",
            }
        )
        assert addresses(settings) == Addresses("set:1", "http://set")

    def test_else_the_running_local_one(self, running):
        settings = load({"MILEPOST_STATE_DIR": str(running)})
        assert addresses(settings) == Addresses("local:1", "http://local")

    def test_else_none(self, tmp_path):
        assert addresses(load({"MILEPOST_STATE_DIR": str(tmp_path / "none")})) is None
