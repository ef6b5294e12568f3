"""The governed path on stock Faust with `exactly_once`: its consumer, its producers, its offsets.

The topology is the product's; where to read on is what Faust says. `stock_faust.py` takes settings
from the environment as a governor does.
"""

from __future__ import annotations

import asyncio
import sys

import faust

from pipeline import settings as configuration
from pipeline.contract import names
from pipeline.contract import topics as declarations
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.registry import Registry
from pipeline.lane.model import Record
from pipeline.streams.governor import registered_ids
from pipeline.streams.lookups import Lookups
from pipeline.streams.state import PartitionState
from pipeline.streams.topology import Lacking, Surroundings, govern

RAW = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
SETTINGS = configuration.load()
BOOTSTRAP = SETTINGS.bootstrap_servers
REGISTRY = Registry.of(SETTINGS, SETTINGS.registry_url)
INPUTS = frozenset(topic.name for topic in declarations.load().inputs)
LOOKUPS = Lookups(SETTINGS, BOOTSTRAP, REGISTRY)
AROUND = Surroundings(
    partitions=4,
    group=SETTINGS.governor_group,
    policies=LOOKUPS.policies,
    schemas=LOOKUPS.schemas,
    ids=registered_ids(REGISTRY),
    inputs=INPUTS,
    record_bytes_max=SETTINGS.record_bytes_max,
)
chosen = [0]
"""The partition to send to: given one, stock `exactly_once` forgets it and asks its partitioner."""
app = faust.App(
    SETTINGS.governor_group,
    broker=f"kafka://{BOOTSTRAP}",
    store="memory://",
    datadir=SETTINGS.state_dir / "stock-faust",
    processing_guarantee="exactly_once",
    producer_partitioner=lambda _key, _all, _available: chosen[0],
    consumer_auto_offset_reset="earliest",
    broker_session_timeout=3,
    broker_heartbeat_interval=1,
    topic_partitions=4,
    topic_disable_leader=True,
    web_enabled=False,
)
inputs = app.topic(*sorted(INPUTS), **RAW)
topics = {}
states: dict[int, PartitionState] = {}


def restored(number: int) -> PartitionState:
    if number not in states:
        changelog: dict[bytes, bytes] = {}
        for record in read_to_end(SETTINGS, BOOTSTRAP, names.CHANGELOG, partitions=[number]):
            if record.value is None:
                changelog.pop(record.key, None)
            else:
                changelog[record.key] = record.value
        states[number] = PartitionState.restore(number, changelog)
    return states[number]


async def send(topic: str, number: int, key, value, headers=None) -> None:
    if topic not in topics:
        topics[topic] = app.topic(topic, **RAW)
    chosen[0] = number
    await topics[topic].send(key=key, value=value, partition=number, headers=headers)


@app.agent(inputs)
async def decide(stream) -> None:
    async for event in stream.events():
        message = event.message
        number = message.partition
        state = restored(number)
        state.positions[message.topic] = message.offset
        record = Record(
            message.topic,
            number,
            message.offset,
            int(message.timestamp * 1_000),
            message.key,
            message.value,
            list(message.headers or ()),
        )
        while isinstance(result := govern(AROUND, state, [record]), Lacking):
            LOOKUPS.find_schemas(result.schemas)
            LOOKUPS.find_policies(result.policies)
            await asyncio.sleep(0.05)
        for output in result.outputs:
            await send(*output)
        for key, value in result.changelog:
            await send(names.CHANGELOG, number, key, value)


if __name__ == "__main__":
    (SETTINGS.state_dir / "stock-faust").mkdir(parents=True, exist_ok=True)
    sys.argv = [sys.argv[0], "worker", "-l", "warn"]
    app.main()
