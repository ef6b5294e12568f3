"""Fixtures for all tests: the Kafka, registry and PostgreSQL that they share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from postgres_cluster import BINARIES, MISSING, PostgresCluster

from pipeline.local import broker
from pipeline.local.artifacts import Artifacts
from pipeline.local.stack import LocalStack

# A slow machine is no finding. The same examples each time: `make properties` looks for others.
settings.register_profile("house", max_examples=100, deadline=None, derandomize=True)
settings.register_profile("long", max_examples=4_000, deadline=None)
settings.load_profile("house")

# A broker of a few minutes spends half of its CPU time on optimising code that it hardly runs.
broker.JAVA_OPTIONS = (*broker.JAVA_OPTIONS, "-XX:TieredStopAtLevel=1")

LONGEST = {"test_fault_campaign.py", "test_scenarios_on_kafka.py"}
"""Files of tests that wait for minutes, each on a stack of its own."""
CACHE = Path(os.environ["MILEPOST_CACHE_DIR"]) if "MILEPOST_CACHE_DIR" in os.environ else None


@dataclass(frozen=True)
class Stack:
    """Where the tests' Kafka and registry are."""

    bootstrap: str
    registry_url: str


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kafka",
        choices=("embedded", "external", "testcontainers"),
        default="embedded",
        help="Kafka and registry for the tests: start them here (default), use "
        "MILEPOST_BOOTSTRAP_SERVERS and MILEPOST_REGISTRY_URL, or start containers",
    )
    parser.addoption(
        "--update-records",
        action="store_true",
        help="write tests/scenarios/records/ anew instead of comparing with it",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where processes share the files: what waits longest begins first, what computes comes last.

    Files that share a stack keep their order: some leave records there that others would count.
    """
    if hasattr(config, "workerinput"):
        waiting = {item.path for item in items if item.get_closest_marker("kafka")}
        items.sort(key=lambda item: (item.path.name not in LONGEST, item.path not in waiting))


@pytest.fixture(scope="session", autouse=True)
def artifacts(request: pytest.FixtureRequest) -> None:
    """Kafka and the registry are downloaded before anything waits for one of them to start."""
    embedded = request.config.getoption("--kafka") == "embedded"
    if embedded and any(item.get_closest_marker("kafka") for item in request.session.items):
        Artifacts(CACHE).ensure()


@pytest.fixture
def patience(request: pytest.FixtureRequest) -> None:
    """Long runs are for those who ask for them."""
    if "slow" not in request.config.getoption("-m"):
        pytest.skip("a long run: pytest -m slow")


@pytest.fixture(scope="session")
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    kind = request.config.getoption("--kafka")
    if kind == "external":
        yield _external()
        return
    if kind == "testcontainers":
        from pipeline.local.containers import (  # noqa: PLC0415 - an extra that the other two kinds do without
            ContainerStack,
        )

        with ContainerStack() as containers:
            yield Stack(containers.bootstrap, containers.registry_url)
        return
    with LocalStack(tmp_path_factory.mktemp("stack"), cache_dir=CACHE) as local:
        yield Stack(local.bootstrap, local.registry_url)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    """A PostgreSQL server that the tests share; each makes databases of its own there."""
    if BINARIES is None:
        pytest.skip(MISSING)
    cluster = PostgresCluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


def _external() -> Stack:
    bootstrap = os.environ.get("MILEPOST_BOOTSTRAP_SERVERS")
    registry = os.environ.get("MILEPOST_REGISTRY_URL")
    if not bootstrap or not registry:
        pytest.fail("--kafka=external needs MILEPOST_BOOTSTRAP_SERVERS and MILEPOST_REGISTRY_URL")
    return Stack(bootstrap, registry)
