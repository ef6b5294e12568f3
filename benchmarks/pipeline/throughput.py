"""One governor worker against the loop by hand: same records, same broker, in turn.

`python -m benchmarks.pipeline.throughput --events 50000 --runs 3`. Time is taken from the append
times of what each wrote, so that starting a process does not count; CPU is that of the whole
process.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil
from confluent_kafka.admin import NewTopic

from pipeline import settings as configuration
from pipeline.contract import codec, names
from pipeline.contract import topics as contract_topics
from pipeline.contract.bundle import load_bundle
from pipeline.governance.claims import raw_event
from pipeline.kafka import bundles, clients
from pipeline.kafka import topics as cluster
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.registration import register
from pipeline.kafka.registry import Registry
from pipeline.local.stack import LocalStack

TOPIC = names.raw_topic("tms-na")
CARRIERS = names.raw_topic("carriers")
STORY = ("TENDERED", "ACCEPTED", "AT_PICKUP", "SHIPPED", "AT_HUB", "AT_CONSIGNEE", "DELIVERED")
PLACES = {"AT_PICKUP": "DAL1", "SHIPPED": "DAL1", "AT_HUB": "CHI1"}


def stop(**given):
    empty = dict.fromkeys(
        ("number", "role", "location", "name", "city", "subdivision", "country"), None
    )
    return empty | given


def events(count):
    """Shipments told by their TMS, a tenth of it twice, a quarter also by a carrier."""
    now = int(time.time() * 1000) - 86_400_000
    made = 0
    for number in range(count):
        for place, status in enumerate(STORY):
            where = PLACES.get(status, "C-ATL")
            role = "PICKUP" if where == "DAL1" else "DELIVERY"
            plan = {}
            if status == "TENDERED":
                plan["stops"] = [
                    stop(number=1, role="PICKUP", location="DAL1"),
                    stop(number=2, role="DELIVERY", location="C-ATL"),
                ]
            event = raw_event(
                event_id=f"{status}-{number}",
                platform="tms-na",
                native_status=status,
                entity_type="shipment",
                entity_id=f"B{number:07d}",
                occurred=now + place * 60_000,
                recorded=now + place * 60_000,
                classifier="ACTUAL",
                occurred_precision="SECOND",
                stop=stop(location=where, role=role),
                **plan,
            )
            yield TOPIC, event
            made += 1
            if number % 10 == 0:
                yield TOPIC, event
            if number % 4 == 0 and status in {"SHIPPED", "DELIVERED"}:
                code = {"SHIPPED": "AF", "DELIVERED": "D1"}[status]
                yield (
                    CARRIERS,
                    {
                        **event,
                        "platform": "carrier-redline",
                        "native_status": code,
                        "event_id": f"c-{event['event_id']}",
                    },
                )


def prepare(settings, stack, shipments):
    declared = contract_topics.load()
    admin = clients.admin(settings, stack.bootstrap)
    plan = cluster.plan(declared, cluster.describe(admin, stack.bootstrap, declared))
    cluster.apply(admin, stack.bootstrap, plan)
    made = admin.create_topics(
        [
            NewTopic(f"bench.{name}", 4, 1, config={"message.timestamp.type": "LogAppendTime"})
            for name in ("approved", "rejected")
        ]
    )
    for future in made.values():
        future.result(30)
    with Registry.of(settings, stack.registry_url) as registry:
        list(register(registry, configuration_root(), declared))
        bundles.publish(settings, stack.bootstrap, registry, load_bundle(), by="bench", why="bench")
        raw_id = registry.id_for(names.subject(TOPIC), "raw-event")
        approved_id = registry.id_for(names.subject(names.APPROVED), "approved-milestone")
    schema = codec.committed("raw-event")
    delivery = clients.Delivery(clients.producer(settings, stack.bootstrap), 300)
    count = 0
    for topic, event in events(shipments):
        key = f"acme/shipment/{event['entity_id']}".encode()
        delivery.add(clients.Outgoing(topic, codec.encode(event, schema, raw_id), key))
        count += 1
    delivery.wait()
    return count, approved_id


def configuration_root():
    return names.data_root() / "schemas"


def cpu_of(process, seen):
    with contextlib.suppress(psutil.NoSuchProcess):
        for member in (process, *process.children(recursive=True)):
            times = member.cpu_times()
            seen[member.pid] = times.user + times.system
    return sum(seen.values())


def span(settings, stack, topic):
    times = [record.timestamp_ms for record in read_to_end(settings, stack.bootstrap, topic)]
    return (max(times) - min(times)) / 1000


def run_governor(settings, stack, count):
    env = os.environ | {
        "MILEPOST_BOOTSTRAP_SERVERS": stack.bootstrap,
        "MILEPOST_REGISTRY_URL": stack.registry_url,
        "MILEPOST_STATE_DIR": tempfile.mkdtemp(),
        "MILEPOST_LOG_LEVEL": "WARNING",
    }
    argv = [sys.executable, "-m", "pipeline.cli.main", "run", "governor", "--worker"]
    process = psutil.Popen(argv, env=env)
    schema = codec.committed("decision-block")
    seen = {}
    rows, decided, start = [], 0, {}
    while decided < count:
        time.sleep(0.5)
        cpu = cpu_of(process, seen)
        for record in read_to_end(settings, stack.bootstrap, names.DECISIONS, start=start):
            start[record.partition] = record.offset + 1
            block = codec.decode(record.value, schema)
            raw = sum(
                1
                for row in block["decisions"]
                if block["inputs"][row["input"]]["topic"].startswith(names.RAW_PREFIX)
            )
            decided += raw
            if raw:
                rows.append(record.timestamp_ms)
    cpu = cpu_of(process, seen)
    process.terminate()
    process.wait(60)
    return (max(rows) - min(rows)) / 1000, cpu


def run_loop(settings, stack, count, approved_id):
    approved = codec.committed("approved-milestone")
    owners = [
        (name, "tms-na")
        for name in (
            "shipment.tendered",
            "carrier.accepted",
            "pickup.arrived",
            "departed",
            "in_transit.arrived",
            "delivery.arrived",
            "delivered",
        )
    ]
    dialects = {
        "tms-na": dict(zip(STORY, [owner[0] for owner in owners], strict=True)),
        "carrier-redline": {"AF": "departed", "D1": "delivered"},
    }
    template = {
        "revision": 1,
        "action": "ASSERT",
        "assurance": "AUTHORITATIVE",
        "tenant": "acme",
        "entity_type": "shipment",
        "role": "TMS",
        "raw_digest": "",
        "policy_version": "1",
        "rule": "transport-na",
        "reason": "owner_spoke",
        "ledger_partition": 0,
        "ledger_seq": 0,
    }
    spec = {
        "bootstrap": stack.bootstrap,
        "topics": [TOPIC, CARRIERS],
        "events": count,
        "batch": 5000,
        "raw_schema": codec.committed("raw-event").parsed,
        "approved_schema": approved.parsed,
        "approved_id": approved_id,
        "owners": [[name, owner] for name, owner in owners],
        "dialect": dialects,
        "template": template,
        "approved": "bench.approved",
        "rejected": "bench.rejected",
    }
    spec_text = json.dumps(spec)
    process = psutil.Popen(
        [sys.executable, str(Path(__file__).parent / "loop_by_hand.py"), spec_text]
    )
    seen = {}
    cpu = 0.0
    while process.poll() is None:
        cpu = cpu_of(process, seen)
        time.sleep(0.2)
    return span(settings, stack, "bench.approved"), cpu


def main():
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--events", type=int, default=50_000)
    reader.add_argument("--runs", type=int, default=3)
    given = reader.parse_args()
    settings = configuration.load({})
    shipments = max(1, round(given.events / 8.2))
    ratios = []
    for number in range(given.runs):
        with tempfile.TemporaryDirectory() as folder, LocalStack(Path(folder)) as stack:
            count, approved_id = prepare(settings, stack, shipments)
            order = ["governor", "loop"] if number % 2 == 0 else ["loop", "governor"]
            figures = {}
            for name in order:
                if name == "governor":
                    figures[name] = run_governor(settings, stack, count)
                else:
                    figures[name] = run_loop(settings, stack, count, approved_id)
        rate = {name: count / seconds for name, (seconds, _) in figures.items()}
        cpu = {name: used / count * 1e6 for name, (_, used) in figures.items()}
        ratios.append(rate["governor"] / rate["loop"])
        print(
            f"run {number + 1}: {count} events;"
            f" governor {rate['governor']:,.0f}/s, {cpu['governor']:.0f} µs CPU each;"
            f" loop {rate['loop']:,.0f}/s, {cpu['loop']:.0f} µs CPU each;"
            f" ratio {ratios[-1]:.2f}",
            flush=True,
        )
    print(f"median ratio governor/loop {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
