"""What open deadlines cost: per event, per tick with nothing due, per tick with 1,000 due, restore.

`python -m benchmarks.kernel.deadlines --open 1000000`. Each open deadline is one shipment's, held
by its deputy. Needs about 3 GB for a million. Nothing is asserted.
"""

import argparse
import gc
import os
import statistics
import time

from benchmarks.kernel import workload
from pipeline.contract import codec, names
from pipeline.contract.bundle import load_bundle
from pipeline.contract.policy_tables import compile_policy
from pipeline.governance.claims import raw_event
from pipeline.streams.state import PARTITION_KEY, PartitionState
from pipeline.testing.driver import TopologyDriver

POLICY = compile_policy(load_bundle())
SCHEMA = codec.committed("raw-event")
DUE = 1_000
FAR_MS = 30 * 86_400_000


def fresh():
    return TopologyDriver([POLICY], partitions=1, start_ms=workload.START_MS - 60_000)


def seconds(act):
    begin = time.process_time()
    act()
    return time.process_time() - begin


def deputy(driver, name, at):
    """A carrier's word that waits for the owner's."""
    event = raw_event(
        event_id=f"e-{name}", platform="carrier-redline", entity_type="shipment", entity_id=name,
        native_status="AF", occurred=at, classifier="ACTUAL", occurred_precision="SECOND",
        stop=workload.EMPTY | {"location": "DAL1", "role": "PICKUP"},
    )  # fmt: skip
    value = codec.encode(dict(event), SCHEMA, driver.raw_schema_id)
    driver._append(workload.CARRIERS, 0, driver.key_of(event).encode(), value, None, at)


def changelog(count):
    """State with so many open deadlines: one governed shipment, copied; all due much later."""
    driver = fresh()
    deputy(driver, "X", workload.START_MS)
    driver._settle()
    state = driver.states[0]
    value = state._stored["acme/shipment/X"]
    far = (workload.START_MS + FAR_MS).to_bytes(8, "big")
    kept = {f"acme/shipment/O{number}".encode(): far + value[8:] for number in range(count)}
    key, own = state.own_record()
    assert key == PARTITION_KEY
    return kept | {key: own}


def with_open(count):
    """A driver with so many open deadlines, and how long its state took to restore."""
    kept = changelog(count)
    found = []
    took = seconds(lambda: found.append(PartitionState.restore(0, kept)))
    driver = fresh()
    driver.states = found
    driver.inputs.clear()
    found[0].positions.clear()
    driver.now_ms = workload.START_MS
    return driver, took


def per_event(driver, shipments):
    """Seconds that one record of the plain workload takes."""
    begin, count = time.process_time(), 0
    for topic, event in workload.plain(shipments):
        body = raw_event(**event)
        value = codec.encode(dict(body), SCHEMA, driver.raw_schema_id)
        key = driver.key_of(body).encode()
        driver._append(topic, 0, key, value, None, event["recorded"])
        driver.now_ms = max(driver.now_ms, event["recorded"])
        count += 1
        if count % 500 == 0:
            driver._settle()
    driver._settle()
    return (time.process_time() - begin) / count


def ticks(driver, number):
    """Seconds of each tick with nothing due."""
    return [seconds(lambda: driver.advance(1)) for _ in range(number)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--open", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--shipments", type=int, default=300)
    given = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    gc.collect()
    gc.freeze()  # as the worker does when it starts
    gc.set_threshold(100_000, 50, 50)
    loaded, restored = with_open(given.open)
    bare, _ = with_open(0)
    took = {0: [], given.open: []}
    for run in range(given.runs):
        for count, driver in ((0, bare), (given.open, loaded)):
            driver.now_ms = workload.START_MS
            took[count].append(per_event_of(driver, given.shipments, run))
    for count, found in took.items():
        print(f"{count:>9} open: {1e6 * min(found):.1f} us per event")
    print(f"ratio per event: {min(took[given.open]) / min(took[0]):.2f}")
    quiet = {count: min(ticks(d, 20)) for count, d in ((0, bare), (given.open, loaded))}
    print(f"tick, nothing due: {1e3 * quiet[0]:.2f} ms / {1e3 * quiet[given.open]:.2f} ms")
    for count, driver in ((0, bare), (given.open, loaded)):
        for number in range(DUE):
            deputy(driver, f"D{number}", driver.now_ms)
        driver._settle()
        before = sum(output.topic == names.APPROVED for output in driver.outputs)
        due = seconds(lambda d=driver: d.advance(5 * 3_600_000))
        acted = sum(output.topic == names.APPROVED for output in driver.outputs) - before
        print(f"tick, {acted} stand in, of {count} open: {1e6 * due / max(acted, 1):.0f} us each")
    print(f"restore: {restored:.1f} s for {given.open}")
    print(
        f"median tick with {given.open} open: {1e3 * statistics.median(ticks(loaded, 20)):.2f} ms"
    )


def per_event_of(driver, shipments, run):
    """The plain workload again, about other shipments: or all would be repeats."""
    said = workload.said

    def renamed(number, place):
        topic, event = said(number, place)
        event["entity_id"] += f"R{run}"
        return topic, event

    workload.said = renamed
    try:
        return per_event(driver, shipments)
    finally:
        workload.said = said


if __name__ == "__main__":
    main()
