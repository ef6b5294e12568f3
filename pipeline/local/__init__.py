"""A real Kafka and a real schema registry on this machine, from Python alone.

Holds artifacts, child processes and the stack made of them. Must never know what flows through
the topics, and nothing outside `testing`, `console` and `cli` may import it.
"""
