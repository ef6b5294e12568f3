"""The network: Kafka clients, the schema registry, topics on a cluster.

Knows no meaning of a record; addresses are handed in.
"""
