"""Fixtures of the portal's tests."""

import pytest
from portal_cluster import PortalCluster
from portal_site import PortalSite


@pytest.fixture
def portal_cluster(stack, tmp_path):
    made = PortalCluster(stack.bootstrap, stack.registry_url, tmp_path)
    yield made
    made.close()


@pytest.fixture
def site(tmp_path):
    made = PortalSite(tmp_path)
    yield made
    made.close()
