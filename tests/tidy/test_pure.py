"""What a fresh interpreter has loaded once the pure parts are imported: no way to the outside."""

from __future__ import annotations

import subprocess
import sys

import pytest

NETWORK = {"confluent_kafka", "faust", "mode", "aiohttp", "httpx", "fastapi", "starlette"}
GOVERNANCE_MAY_NOT = NETWORK | {"fastavro", "orjson", "pydantic", "socket", "ssl", "yaml", "random"}


def loaded_by(module: str) -> set[str]:
    told = subprocess.run(
        [sys.executable, "-c", f"import {module}, sys; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return set(told.split())


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("pipeline.governance.kernel", GOVERNANCE_MAY_NOT),
        ("pipeline.streams.topology", NETWORK),
        ("connectors.formats.x12.shipment_status", NETWORK | {"sqlalchemy"}),
    ],
)
def test_importing_it_brings_nothing_that_could_do_io(module, forbidden):
    assert not loaded_by(module) & forbidden
