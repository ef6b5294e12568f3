"""Fixtures of the portal's tests."""

import pytest
from portal_cluster import PortalCluster


@pytest.fixture
def portal_cluster(stack, tmp_path):
    made = PortalCluster(stack.bootstrap, stack.registry_url, tmp_path)
    yield made
    made.close()
