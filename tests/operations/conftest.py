"""The governed stack, for operations that need a real one; else topics of a run in memory."""

import copy

import governed_stack
import pytest
from tampered_topics import run


@pytest.fixture(scope="session")
def shared_stack():
    with governed_stack.borrowed() as stack:
        yield stack


@pytest.fixture
def governed(shared_stack):
    """The shared stack, its worker running."""
    if not shared_stack.worker.running:
        shared_stack.start()
    return shared_stack


@pytest.fixture(scope="session")
def original():
    """Topics of a governed run; not to be changed."""
    return run().copies()


@pytest.fixture
def topics(original):
    return copy.deepcopy(original)
