"""The minimal step on stock Faust: an agent, a table, a send an output."""

import sys

import faust

from benchmarks.peers import step

RUN = step.told()
WORK = step.Step(RUN["spec"])
NOT_OWNER, NOT_READ = [("reason", step.NOT_OWNER)], [("reason", step.NOT_READ)]
app = faust.App(
    RUN["name"],
    broker=f"kafka://{RUN['bootstrap']}",
    store="memory://",
    topic_partitions=RUN["options"]["partitions"],
    datadir=RUN["state_dir"],
    web_enabled=False,
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
    processing_guarantee=RUN["options"]["guarantee"],
)
RAW = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}
inputs = app.topic(*RUN["inputs"], **RAW)
approved, rejected, undecodable = (
    app.topic(RUN[name], **RAW) for name in ("approved", "rejected", "undecodable")
)
entities = app.Table(
    "entities", partitions=RUN["options"]["partitions"], key_type=bytes, value_type=bytes
)


@app.agent(inputs)
async def govern(stream):
    waiting = True
    async for event in stream.events():
        if waiting:
            step.first()
            waiting = False
        key, value = event.key, event.value
        fate, new, out = WORK.decide(value, entities.get(key))
        if new is not None:
            entities[key] = new
        if fate == step.APPROVED:
            await approved.send(key=key, value=out)
        elif fate == step.REJECTED:
            await rejected.send(key=key, value=value, headers=NOT_OWNER)
        elif fate == step.UNDECODABLE:
            await undecodable.send(key=key, value=value, headers=NOT_READ)


if __name__ == "__main__":
    sys.argv = [sys.argv[0], "worker", "-l", "warn"]
    app.main()
