"""Simulated systems around Milepost: for the demo, for tests, for trying things out."""
