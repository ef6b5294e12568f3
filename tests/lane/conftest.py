"""The fixture of the lane's tests."""

import pytest
from lane_cluster import Cluster


@pytest.fixture
def cluster(stack, tmp_path):
    made = Cluster(stack.bootstrap, tmp_path)
    yield made
    made.close()
