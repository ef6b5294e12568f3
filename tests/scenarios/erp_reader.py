"""What a run means for the ERP: the sink's own intake, outbox and courier, and books that record.

The ERP is in this process: the courier's HTTP calls end in the simulated ERP's books.
"""

from __future__ import annotations

import functools
import random
from concurrent.futures import Executor, Future
from datetime import datetime
from types import SimpleNamespace

import httpx
import orjson
from sink_feed import TopicDecoders, incoming
from sqlalchemy import select

from connectors.applied import TopicPartition
from connectors.simulation.erp_books import ErpBooks, RefusedError
from connectors.sinks.courier import Courier, ErpClient
from connectors.sinks.database import open_outbox
from connectors.sinks.entries import State
from connectors.sinks.erp_intake import ErpIntake, epochs_in_force
from connectors.sinks.outbox import Outbox
from connectors.sinks.outbox_tables import ENTRIES
from connectors.sinks.postings import load_postings
from pipeline.contract import codec, names
from pipeline.telemetry.metrics import Metrics

CLUSTER = SimpleNamespace(cluster_id="scenarios")
VERBS = {"ORIGINAL": "post", "ADJUSTMENT": "adjust", "REVERSAL": "reverse"}
IDLE_STEPS = 2
STEPS_MAX = 200
PARTITION = TopicPartition(names.APPROVED, 0)


@functools.cache
def rules():
    return load_postings(names.data_root() / "policy")


def bookings(folder, published):
    """Calls by what files call their entity, then what is open; and promises that are broken."""
    feed = incoming(names.APPROVED, published.approved)
    sink = ErpSink(folder / "one-by-one")
    for number, record in enumerate(feed):
        if number == published.given:
            sink.mark()
        sink.follow([record])
        sink.send()
    if len(feed) == published.given:
        sink.mark()
    found = sink.told()
    before = sink.books.summary()
    sink.follow(incoming(names.APPROVED, published.approved, len(feed)))
    sink.send()
    problems = list(_broken(sink.books.summary(), before))
    late = ErpSink(folder / "at-once")
    late.follow(feed)
    late.send()
    problems += _broken(late.books.summary(), late.books.summary())
    if late.stands() != _kept(sink.stands(), late.stands()):
        problems.append("erp: what stands in its books depends on how fast it answers")
    problems += _provisional(published.approved, sink)
    sink.close()
    late.close()
    return found, problems


def _broken(now, before):
    if now["postings"] != before["postings"]:
        yield "erp: what comes a second time is booked a second time"
    for name in ("double_postings", "double_effects", "out_of_order", "refusals"):
        if now[name]:
            yield f"erp: {now[name]} {name}"


def _kept(quick, slow):
    """What stands after quick answers, without what is kept after its prerequisite has fallen."""
    return {
        name: values for name, values in quick.items() if name in slow or not _requires(name[1])
    }


def _requires(posting):
    return rules().named(posting).requires


def _provisional(approved, sink):
    """Only what its owner said to have happened is ever booked."""
    vouched = {
        record["event_id"]
        for record in approved
        if record["assurance"] == "AUTHORITATIVE" and record["classifier"] == "ACTUAL"
    }
    for posting in sink.books.postings():
        if posting["key"].rpartition(":")[0] not in vouched:
            yield f"erp: {posting['posting']} was booked on a deputy's word"


class Inline(Executor):
    """Runs each call at once, in the caller's thread."""

    def submit(self, function, /, *args, **kwargs):
        future: Future = Future()
        future.set_result(function(*args, **kwargs))
        return future


class ErpSink:
    """A sink with an outbox of its own, and the ERP it posts to."""

    def __init__(self, folder):
        folder.mkdir()
        self.books = ErpBooks(folder / "books.sqlite")
        self._engine = open_outbox(f"sqlite:///{folder / 'outbox.sqlite'}")
        self._outbox = Outbox(rules(), lambda: 0)
        self._given = 0
        self._calls = 0

    def follow(self, records):
        """Read some records, as a fresh worker does."""
        self._courier = Courier(
            self._engine,
            self._outbox,
            ErpClient(
                httpx.Client(base_url="http://erp", transport=httpx.MockTransport(self._book)),
                lambda: 0,
            ),
            Inline(),
            epochs_in_force,
            random.Random(1),
        )
        intake = ErpIntake(
            self._engine, self._outbox, TopicDecoders(), self._courier, Metrics(), 0, lambda: None
        )
        intake.prepare(CLUSTER)
        intake.claim([PARTITION])
        if records:
            intake.take(records)

    def send(self):
        """Let the courier work until it has nothing more to send."""
        idle = 0
        for _ in range(STEPS_MAX):
            before = self._calls
            self._courier.step()
            idle = idle + 1 if self._calls == before else 0
            if idle == IDLE_STEPS:
                return
        raise AssertionError("the courier finds no end")

    def mark(self):
        """What is called from here on is told."""
        self._given = self.books.summary()["postings"]

    def told(self):
        rows = {}
        for posting in self.books.postings(after=self._given):
            rows.setdefault(_name(posting["entity"]), []).append(_call(posting))
        for entity, row in self._open():
            rows.setdefault(_name(entity), []).append(row)
        return rows

    def stands(self):
        """Facts that the ERP takes for booked in the end, by milestone and posting."""
        found = {}
        for posting in self.books.postings():
            name = (posting["body"]["milestone_id"], posting["posting"])
            found[name] = posting["body"]["values"]
        return {name: values for name, values in found.items() if values is not None}

    def close(self):
        self.books.close()
        self._engine.dispose()

    def _open(self):
        with self._engine.begin() as connection:
            rows = connection.execute(select(ENTRIES).order_by(ENTRIES.c.id)).all()
            for row in rows:
                if row.state in {State.DONE, State.WITHDRAWN, State.ELSEWHERE}:
                    continue
                assert row.state in {State.WAITING, State.PARKED}, row
                book = self._outbox.books(connection, {row.entity: row.partition})[row.entity]
                yield row.entity, _waiting(row, book)

    def _book(self, request):
        self._calls += 1
        content = orjson.loads(request.content)
        try:
            booked = self.books.book(
                request.headers["idempotency-key"], request.content, content, honours=True
            )
        except RefusedError as error:
            return httpx.Response(422, json={"detail": str(error)})
        return httpx.Response(201, json={"document": booked.document})


def _call(posting):
    told = {VERBS[posting["kind"]]: posting["posting"], "key": posting["key"]}
    return told | {"original": posting["reference"]} | _facts(posting["body"])


def _waiting(row, book):
    verb = "waits" if row.state == State.WAITING else "held"
    rule = rules().named(row.posting)
    told = {verb: row.posting, "key": row.key, "original": row.reference, "why": row.reason}
    missing = [] if rule is None else book.missing(rule.requires)
    return told | {"for": missing, "as": VERBS[row.kind]} | _facts(orjson.loads(row.body))


def _facts(body):
    """What a posting tells the ERP, and of a reversal what it was."""
    values = body["values"] or body["previous"]
    told = dict(values)
    told["occurred"] = round(datetime.fromisoformat(values["occurred"]).timestamp() * 1_000)
    if values.get("amount") is not None:
        told["amount"] = codec.scaled(values["amount"], codec.AMOUNT_SCALE)
    if values.get("quantity") is not None:
        told["quantity"] = values["quantity"]["value"]
    return told


def _name(entity):
    _, kind, name = entity.split("/", 2)
    return f"{kind} {name}"
