"""Deterministic simulation of the governed path: everything from one seed, faults included.

What runs is what ships: the lane's engine with its inlet, restorer and transactional writer, the
governor's decider and look-ups, `topology.govern`, `PartitionState`. What is simulated is around
them: the broker (logs, epochs and fencing, transactions whose markers come late, last stable
offsets, the consumer group, retention, compaction), clients, registry, policy topic, clock,
threads, the end of a process, and platforms and operators that write.

Threads take turns, and a worker may be interrupted, stopped or killed at every call of a client; so
its order of operations is its own, and the schedule is the seed's. The shape is TigerBeetle's:
first anything may go wrong, then nothing does any more and all that was written must be decided.
The invariants of `audit` are checked after every step, among them that a worker without faults
which reads what the ledger read writes the same bytes.

Not simulated: Faust's channel between lane and agent, the watchdog, a broker that crashes or loses
data, several brokers, sinks and connectors, librdkafka's own code, records too large to produce.
"""
