"""The minimal step on Quix Streams: exactly once, state in RocksDB with its changelog."""

from quixstreams import Application

from benchmarks.peers import step

RUN = step.told()
WORK = step.Step(RUN["spec"])
BYTES = dict.fromkeys(
    ("key_serializer", "key_deserializer", "value_serializer", "value_deserializer"), "bytes"
)
WAITING = [True]


def govern(value, _key, _time, _headers, state):
    """Fate of a record, and what is published of it."""
    if WAITING:
        WAITING.clear()
        step.first()
    fate, new, out = WORK.decide(value, state.get_bytes("entity"))
    if new is not None:
        state.set_bytes("entity", new)
    return fate, value if out is None else out


def main():
    app = Application(
        broker_address=RUN["bootstrap"],
        consumer_group=RUN["name"],
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=RUN["options"]["commit_s"],
        state_dir=RUN["state_dir"],
        loglevel="WARNING",
    )
    frames = [app.dataframe(app.topic(name, **BYTES)) for name in RUN["inputs"]]
    frame = frames[0]
    for other in frames[1:]:
        frame = frame.concat(other)
    told = frame.apply(govern, stateful=True, metadata=True)
    for name, fate, reason in (
        ("approved", step.APPROVED, None),
        ("rejected", step.REJECTED, step.NOT_OWNER),
        ("undecodable", step.UNDECODABLE, step.NOT_READ),
    ):
        part = told.filter(lambda found, fate=fate: found[0] == fate).apply(lambda found: found[1])
        if reason is not None:
            part = part.set_headers(lambda *_, reason=reason: [("reason", reason)])
        part.to_topic(app.topic(RUN[name], **BYTES))
    app.run()


if __name__ == "__main__":
    main()
