"""What is decided, and nothing else: pure functions over (policy, state, records).

Standard library only. Knows no Kafka, no Avro, no clock and no randomness.
"""
