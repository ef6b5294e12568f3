"""The governed stack that these modules share."""

import governed_stack
import pytest


@pytest.fixture(scope="session")
def shared_stack():
    with governed_stack.borrowed() as stack:
        yield stack


@pytest.fixture
def governed(shared_stack):
    """The shared stack, its worker running."""
    if not shared_stack.worker.running:
        shared_stack.start()
    yield shared_stack
    shared_stack.gate.closed = False
