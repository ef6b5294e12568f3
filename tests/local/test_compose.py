"""Those who have Docker get the same Kafka and registry. No engine runs these tests."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline.local import pins
from pipeline.local.containers import (
    KAFKA_IMAGE,
    REGISTRY_IMAGE,
    ContainerStack,
    broker_environment,
)
from pipeline.local.faults import StartError

FILE = Path(__file__).parents[2] / "docker-compose.kafka.yml"
COMPOSE = yaml.safe_load(FILE.read_text("utf-8"))
SERVICES = COMPOSE["services"]


def test_the_versions_are_the_pinned_ones():
    known = pins.load()
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{known.kafka_version}" == KAFKA_IMAGE
    assert SERVICES["registry"]["image"].endswith(f":{known.registry_version}")
    assert SERVICES["registry"]["image"] == REGISTRY_IMAGE
    assert SERVICES["registry-volume"]["image"] == REGISTRY_IMAGE


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_open_on_loopback_only(name):
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", ["kafka", "registry"])
def test_health_is_checked_and_data_kept(name):
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] == "CMD"
    volume, _, _ = service["volumes"][0].partition(":")
    assert volume in COMPOSE["volumes"]


def test_the_broker_is_configured_as_for_tests_in_containers():
    assert broker_environment(9092).items() <= SERVICES["kafka"]["environment"].items()


def test_the_cluster_id_is_one():
    assert len(SERVICES["kafka"]["environment"]["CLUSTER_ID"]) == 22


def test_the_compose_client_accepts_the_file():
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("there is no Docker client")
    plugin = subprocess.run([docker, "compose", "version"], capture_output=True, check=False)
    if plugin.returncode != 0:
        pytest.skip("the Docker client has no compose plugin")
    command = [docker, "compose", "-f", str(FILE), "config", "--quiet"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_without_an_engine_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(StartError, match=r"No Docker engine answers .* --kafka=embedded"):
        ContainerStack()
