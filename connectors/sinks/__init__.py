"""Sinks: what reads the governed topics and applies them to a system outside."""
