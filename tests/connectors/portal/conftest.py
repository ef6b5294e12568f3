"""Fixtures of the portal's tests."""

import pytest
from portal_cluster import PortalCluster
from portal_site import PortalSite


@pytest.fixture(params=("sqlite", "postgresql"))
def new_store(request, tmp_path):
    """Makes empty stores: URLs of databases that hold nothing yet."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgres").create
    names = map(str, range(100))
    return lambda: f"sqlite:///{tmp_path / next(names)}.sqlite"


@pytest.fixture
def url(new_store):
    return new_store()


@pytest.fixture
def portal_cluster(stack, tmp_path, url):
    made = PortalCluster(stack.bootstrap, stack.registry_url, tmp_path, url)
    yield made
    made.close()


@pytest.fixture
def site(tmp_path, url):
    made = PortalSite(tmp_path, MILEPOST_PORTAL_DATABASE_URL=url)
    yield made
    made.close()
