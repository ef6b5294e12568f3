"""Tools for tests of topologies, shipped with the product."""
