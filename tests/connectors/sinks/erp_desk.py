"""An outbox, a courier and an ERP that answers by a script, with the clock in the test's hand."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import timedelta
from typing import Any

import httpx
from erp_records import T0
from sqlalchemy import Engine, select

from connectors.applied import TopicPartition
from connectors.sinks.courier import Courier, ErpClient
from connectors.sinks.database import APPLIED
from connectors.sinks.erp_intake import epochs_in_force
from connectors.sinks.outbox import Arrival, Outbox
from connectors.sinks.outbox_tables import ENTRIES
from connectors.sinks.postings import Endpoint, PostingRules, load_postings
from pipeline.contract.names import APPROVED, data_root
from pipeline.governance.identity import entity_key

Answers = Callable[[httpx.Request], httpx.Response]


class Inline(Executor):
    """Runs each call at once, in the caller's thread."""

    def submit(self, function, /, *args, **kwargs):
        future: Future = Future()
        future.set_result(function(*args, **kwargs))
        return future


def rules(**endpoint: Any) -> PostingRules:
    """The shipped rules, their endpoint changed."""
    shipped = load_postings(data_root() / "policy")
    changed = {
        **shipped.endpoints["postings"].model_dump(),
        "backoff": {"first": timedelta(seconds=1), "most": timedelta(seconds=60)},
        **endpoint,
    }
    return PostingRules(shipped.postings, [Endpoint.model_validate(changed)])


class Desk:
    """Everything of a sink but Kafka."""

    def __init__(self, engine: Engine, answer: Answers, **endpoint: Any) -> None:
        self.engine = engine
        self.answer = answer
        self.calls: list[httpx.Request] = []
        self.now = T0
        self.outbox = Outbox(rules(**endpoint), lambda: self.now)
        self.courier = self.worker()
        self._offset = 0

    def worker(self, executor: Executor | None = None) -> Courier:
        """A courier that takes over partition 0."""
        http = httpx.Client(base_url="http://erp", transport=httpx.MockTransport(self._call))
        courier = Courier(
            self.engine,
            self.outbox,
            ErpClient(http, lambda: self.now),
            executor or Inline(),
            epochs_in_force,
            random.Random(1),
        )
        with self.engine.begin() as connection:
            at = TopicPartition(APPROVED, 0)
            epoch = APPLIED.claim(connection, [at])[at].epoch
            honouring = [e.name for e in self.outbox.rules.endpoints.values() if e.honours_keys]
            self.outbox.adopt(connection, 0, epoch, honouring)
        courier.own({0: epoch})
        return courier

    def take(self, *records: dict[str, Any], cut_over_ms: int = 0) -> None:
        arrivals = []
        for record in records:
            self._offset += 1
            entity = entity_key(record["tenant"], record["entity_type"], record["entity_id"])
            arrivals.append(Arrival(0, self._offset, self.now, entity, record))
        with self.engine.begin() as connection:
            self.outbox.take(connection, arrivals, cut_over_ms)

    def run(self, steps: int = 12) -> None:
        """Let the courier work without the clock moving on."""
        for _ in range(steps):
            self.courier.step()

    def pass_ms(self, milliseconds: int) -> None:
        self.now += milliseconds

    def rows(self) -> list[Any]:
        with self.engine.begin() as connection:
            return list(connection.execute(select(ENTRIES).order_by(ENTRIES.c.id)))

    def states(self) -> list[str]:
        return [row.state for row in self.rows()]

    def _call(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(request)
        return self.answer(request)


def booked(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(201, json={"document": "4900000001"})
