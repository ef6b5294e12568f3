"""The same Kafka and registry in containers, for tests where a Docker engine is at hand.

Needs the `test` extra. Must never be imported by the product.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from docker.errors import DockerException
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.wait_strategies import HttpWaitStrategy, LogMessageWaitStrategy

from pipeline.local import ports
from pipeline.local.faults import StartError
from pipeline.local.pins import load
from pipeline.local.registry import API

KAFKA_IMAGE = f"apache/kafka:{load().kafka_version}"
REGISTRY_IMAGE = f"apicurio/apicurio-registry-mem:{load().registry_version}"
CONTROLLER_PORT = 9093
READY_S = 120


class ContainerStack:
    """Kafka and a registry without durable data, on free loopback ports.

    Raises:
        StartError: there is no Docker engine.

    """

    def __init__(self) -> None:
        try:
            DockerClient()
        except DockerException as error:
            raise StartError(
                f"No Docker engine answers ({error}): start one, or use --kafka=embedded"
            ) from None
        # Clients are told the broker's address, so its port must be known before it starts.
        port = ports.unused()
        self.bootstrap = f"{ports.HOST}:{port}"
        self._kafka = (
            DockerContainer(KAFKA_IMAGE)
            .with_bind_ports(f"{port}/tcp", port)
            .with_envs(**broker_environment(port))
            .waiting_for(
                LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(READY_S)
            )
        )
        self._registry = (
            DockerContainer(REGISTRY_IMAGE)
            .with_exposed_ports(8080)
            .waiting_for(HttpWaitStrategy(8080, f"{API}/subjects").with_startup_timeout(READY_S))
        )

    @property
    def registry_url(self) -> str:
        """Base URL of the registry's Confluent-compatible API."""
        host, port = self._registry.get_container_host_ip(), self._registry.get_exposed_port(8080)
        return f"http://{host}:{port}{API}"

    def __enter__(self) -> Self:
        self._kafka.start()
        try:
            self._registry.start()
        except BaseException:
            self._kafka.stop()
            raise
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        try:
            self._registry.stop()
        finally:
            self._kafka.stop()


def broker_environment(port: int) -> dict[str, str]:
    """Configure the image as one combined node that listens, inside and outside, on `port`.

    The broker also talks to itself at that address, to write transaction markers.
    """
    address = f"{ports.HOST}:{port}"
    return {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": f"1@{ports.HOST}:{CONTROLLER_PORT}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENERS": f"PLAINTEXT://:{port},CONTROLLER://{ports.HOST}:{CONTROLLER_PORT}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{address}",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_BROKER_SESSION_TIMEOUT_MS": "3000",
        "KAFKA_BROKER_HEARTBEAT_INTERVAL_MS": "500",
    }
