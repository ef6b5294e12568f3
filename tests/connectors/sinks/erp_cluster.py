"""Approved records on a real Kafka, a simulated ERP, and sink processes between them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from erp_process import ErpProcess
from posting_rules import write_posting_rules

from connectors.sinks.database import database_url, open_outbox
from connectors.sinks.engines import reading_only
from connectors.sinks.erp_intake import epochs_in_force
from connectors.sinks.outbox_desk import entries, summary
from pipeline.contract import codec
from pipeline.contract.names import APPROVED, subject
from pipeline.contract.topics import load as declared_topics
from pipeline.governance.identity import entity_key
from pipeline.kafka import clients, topics
from pipeline.kafka.registry import Registry
from pipeline.settings import load

PROCESS = Path(__file__).with_name("erp_sink_process.py")
OPEN = ("WAITING", "PENDING", "SENDING")


class ErpCluster:
    """The approved topic, a tenant of this test's own, an ERP and its sink.

    Other tests' records are on the topic too: the sink begins to book when the test begins.
    """

    def __init__(self, bootstrap: str, registry_url: str, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.folder = folder
        self.tenant = f"t{uuid.uuid4().hex[:10]}"
        self.erp = ErpProcess(folder / "books.sqlite")
        self.environment = {
            "MILEPOST_BOOTSTRAP_SERVERS": bootstrap,
            "MILEPOST_REGISTRY_URL": registry_url,
            "MILEPOST_STATE_DIR": str(folder),
            "MILEPOST_POLICY_DIR": str(self._policy()),
            "MILEPOST_ERP_URL": self.erp.url,
            "MILEPOST_ERP_GROUP": f"erp-{self.tenant}",
            "TEST_START": datetime.now(UTC).isoformat(),
        }
        self.settings = load({k: v for k, v in self.environment.items() if k != "TEST_START"})
        self.processes: list[subprocess.Popen[bytes]] = []
        self._create_topic()
        with Registry(registry_url) as registry:
            schema = codec.definition("approved-milestone")
            self._schema_id = registry.register(subject(APPROVED), schema)
        self._producer = clients.producer(
            self.settings, bootstrap, **{"transactional.id": self.tenant}
        )
        self._producer.init_transactions(30)

    def _policy(self) -> Path:
        return write_posting_rules(self.folder / "policy", **self.endpoint)

    endpoint: dict[str, Any] = {}  # noqa: RUF012  a subclass of one test says otherwise

    def _create_topic(self) -> None:
        client = clients.admin(self.settings, self.bootstrap)
        declared = declared_topics()
        plan = topics.plan(declared, topics.describe(client, self.bootstrap, declared))
        ours = plan._replace(
            changes=tuple(change for change in plan.changes if change.topic == APPROVED),
            refusals=(),
            create={name: item for name, item in plan.create.items() if name == APPROVED},
        )
        topics.apply(client, self.bootstrap, ours)

    def produce(self, records: list[dict[str, Any]], *, abort: bool = False) -> None:
        """One transaction with these records, as the governor would write them."""
        self._producer.begin_transaction()
        for record in records:
            value = codec.encode(record, codec.committed("approved-milestone"), self._schema_id)
            key = entity_key(record["tenant"], record["entity_type"], record["entity_id"])
            self._producer.produce(APPROVED, value, key.encode())
        if abort:
            self._producer.flush(10)
            self._producer.abort_transaction(30)
        else:
            self._producer.commit_transaction(30)

    def produce_raw(self, key: str, value: bytes) -> None:
        self._producer.begin_transaction()
        self._producer.produce(APPROVED, value, key.encode())
        self._producer.commit_transaction(30)

    def start(self, plan: str = "") -> subprocess.Popen[bytes]:
        """A sink process, which may kill itself according to a plan."""
        with (self.folder / "sink.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(PROCESS), *([plan] if plan else [])],
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, (self.folder / "sink.log").read_text()[-2_000:]

    def summary(self) -> dict[str, Any]:
        engine = open_outbox(database_url(self.settings))
        try:
            return summary(engine)
        finally:
            engine.dispose()

    def parked(self) -> list[dict[str, Any]]:
        """What a person has to decide of this test's tenant; other tests leave poison behind."""
        mine = f"{self.tenant}/"
        return [row for row in self.summary()["for_a_person"] if row["entity"].startswith(mine)]

    def epochs(self) -> int:
        """The sum of the partitions' epochs: it grows whenever a worker takes some over."""
        engine = open_outbox(database_url(self.settings))
        try:
            with reading_only(engine).begin() as connection:
                return sum(epochs_in_force(connection).values())
        finally:
            engine.dispose()

    def entries(self, entity_id: str) -> list[dict[str, Any]]:
        engine = open_outbox(database_url(self.settings))
        try:
            return entries(engine, entity=f"{self.tenant}/shipment/{entity_id}", limit=1000)
        finally:
            engine.dispose()

    def quiet(self, done: int) -> bool:
        """Whether at least so many entries are done and no more are on their way."""
        states = self.summary()["states"]
        return states["DONE"] >= done and not any(states[state] for state in OPEN)

    def booked(self) -> list[dict[str, Any]]:
        """What the ERP has booked of this test's tenant, in order."""
        return [row for row in self.erp.postings() if row["entity"].startswith(f"{self.tenant}/")]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.erp.kill()


def wait_until_killed(process: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    """Wait for a process to kill itself."""
    assert process.wait(seconds) == -signal.SIGKILL
