"""Fixtures for all tests: the Kafka, registry and PostgreSQL that they share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from postgres_cluster import BINARIES, MISSING, PostgresCluster

from pipeline.local.stack import LocalStack

# A slow machine is no finding. The same examples each time: `make properties` looks for others.
settings.register_profile("house", max_examples=100, deadline=None, derandomize=True)
settings.register_profile("long", max_examples=4_000, deadline=None)
settings.load_profile("house")


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
    cache = os.environ.get("MILEPOST_CACHE_DIR")
    folder = tmp_path_factory.mktemp("stack")
    with LocalStack(folder, cache_dir=Path(cache) if cache else None) as local:
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
