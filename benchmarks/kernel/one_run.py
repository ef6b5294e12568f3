"""One run of one version's `govern` over a workload; prints its CPU time as JSON.

`python benchmarks/kernel/one_run.py TREE plain|hard SHIPMENTS [--profile]`: TREE is a checkout.
"""

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import workload

BATCH = 500


def policy(handed_over):
    from pipeline.contract.bundle import load_bundle
    from pipeline.contract.policy_tables import compile_policy

    bundle = load_bundle()
    if handed_over:
        at = datetime.fromtimestamp(workload.START_MS / 1000 + 4 * 3600, UTC)
        rules = []
        for rule in bundle.rules:
            if rule.rule != "transport-na":
                rules.append(rule)
                continue
            rules.append(rule.model_copy(update={"until": at}))
            after = {"rule": "later", "from_": at, "handover": "by_occurrence"}
            rules.append(rule.model_copy(update=after))
        bundle = bundle.model_copy(update={"rules": rules})
    return compile_policy(bundle)


def run(kind, shipments):
    """CPU seconds in `govern`, records, and the driver at the end."""
    from pipeline.contract import codec, names
    from pipeline.governance.claims import raw_event
    from pipeline.testing import driver as driving

    spent = [0.0]
    untimed = driving.govern

    def timed(*args, **named):
        begin = time.process_time()
        result = untimed(*args, **named)
        spent[0] += time.process_time() - begin
        return result

    driving.govern = timed
    driver = driving.TopologyDriver(
        [policy(kind == "hard")], partitions=1, start_ms=workload.START_MS - 60_000
    )
    known, schema = raw_event().keys(), codec.committed("raw-event")
    encoded = []
    first_at = {}
    for topic, event in getattr(workload, kind)(shipments):
        body = raw_event(**{name: value for name, value in event.items() if name in known})
        value = codec.encode(dict(body), schema, driver.raw_schema_id)
        at = max(event["recorded"], event["occurred"])
        headers = None
        if topic == workload.REPLAY:
            origin = {"topic": workload.TMS, "partition": 0, "offset": 0, "received": at}
            origin["topic"] = first_at[event["event_id"]]
            headers = [(names.HEADER_ORIGIN, json.dumps(origin).encode())]
        first_at.setdefault(event["event_id"], topic)
        encoded.append((topic, driver.key_of(body).encode(), value, headers, at))
    spent[0] = 0.0
    for number, (topic, key, value, headers, at) in enumerate(encoded):
        driver.now_ms = max(driver.now_ms, at)
        driver._append(topic, 0, key, value, headers, at)
        if number % BATCH == BATCH - 1:
            driver.reach(driver.now_ms)
    driver.reach(driver.now_ms)
    return spent[0], len(encoded), driver


def main():
    import gc

    gc.disable()
    parser = argparse.ArgumentParser()
    parser.add_argument("tree", type=Path)
    parser.add_argument("kind", choices=("plain", "hard"))
    parser.add_argument("shipments", type=int)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    sys.path.insert(0, str(given.tree.resolve()))
    if given.profile:
        import cProfile
        import pstats

        profile = cProfile.Profile()
        profile.runcall(run, given.kind, given.shipments)
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
        return
    seconds, records, driver = run(given.kind, given.shipments)
    stored = [len(value) for value in driver.states[0]._stored.values()]
    shipments = sorted(
        len(value)
        for key, value in driver.states[0]._stored.items()
        if key.startswith("acme/shipment/") and not key.endswith(("A", "B"))
    )
    print(
        json.dumps(
            {
                "microseconds": 1e6 * seconds / records,
                "records": records,
                "entities": len(stored),
                "approved": sum("approved" in output.topic for output in driver.outputs),
                "shipment_bytes": shipments[len(shipments) // 2],
            }
        )
    )


if __name__ == "__main__":
    main()
