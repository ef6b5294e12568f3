"""Milepost's connectors: bring partners' events to raw topics and carry approved ones away."""
