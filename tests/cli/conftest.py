"""Commands run in this process, on the governed stack where they need one."""

import json
from typing import NamedTuple

import governed_stack
import pytest
from typer.testing import CliRunner

from pipeline.cli.main import app


class Told(NamedTuple):
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self):
        return json.loads(self.out)


@pytest.fixture(scope="session")
def shared_stack():
    with governed_stack.borrowed() as stack:
        yield stack


@pytest.fixture
def milepost():
    """Run a command; an exception that it lets through fails the test."""

    def run(*arguments):
        result = CliRunner().invoke(app, [str(item) for item in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Told(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def governed(shared_stack, monkeypatch):
    """The shared stack, its worker running, as commands find it."""
    if not shared_stack.worker.running:
        shared_stack.start()
    monkeypatch.setenv("MILEPOST_BOOTSTRAP_SERVERS", shared_stack.bootstrap)
    monkeypatch.setenv("MILEPOST_REGISTRY_URL", shared_stack.registry_url)
    monkeypatch.setenv("MILEPOST_STATE_DIR", str(shared_stack.folder / "state"))
    return shared_stack
