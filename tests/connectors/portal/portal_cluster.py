"""Approved records on a real Kafka, and sink processes that read them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

from portal_records import key_of
from sqlalchemy.exc import OperationalError

from connectors.portal import tables
from connectors.portal.store import Store
from pipeline.contract import codec
from pipeline.contract.names import APPROVED, ENTITY_STATUS, POLICY, subject
from pipeline.contract.topics import load as declared_topics
from pipeline.kafka import clients, topics
from pipeline.kafka.registry import Registry
from pipeline.settings import load

PROCESS = Path(__file__).with_name("sink_process.py")
NAMES = {APPROVED: "approved-milestone", ENTITY_STATUS: "entity-status"}
TOPICS = (*NAMES, POLICY)


def until(condition, seconds=60.0, what="the condition"):
    """Poll until it is true; its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not come true in {seconds} s"
        time.sleep(0.05)
    return value


class PortalCluster:
    """The portal's topics and schemas, a tenant of this test's own, and its sink."""

    def __init__(self, bootstrap, registry_url, folder, url):
        self.bootstrap = bootstrap
        self.registry_url = registry_url
        self.folder = folder
        self.tenant = f"t{uuid.uuid4().hex[:10]}"
        self.environment = {
            "MILEPOST_BOOTSTRAP_SERVERS": bootstrap,
            "MILEPOST_REGISTRY_URL": registry_url,
            "MILEPOST_STATE_DIR": str(folder),
            "MILEPOST_PORTAL_GROUP": f"portal-{self.tenant}",
            "MILEPOST_PORTAL_DATABASE_URL": url,
        }
        self.settings = load(self.environment)
        self.url = tables.database_url(self.settings)
        self.processes = []
        self._create()
        self.ids = {}
        with Registry(registry_url) as registry:
            for topic, name in NAMES.items():
                self.ids[topic] = registry.register(subject(topic), codec.definition(name))
        self.producer = None

    def _create(self):
        """Only the portal's topics: others of this Kafka are other tests' business."""
        client = clients.admin(self.settings, self.bootstrap)
        declared = declared_topics()
        plan = topics.plan(declared, topics.describe(client, self.bootstrap, declared))
        ours = plan._replace(
            changes=tuple(change for change in plan.changes if change.topic in TOPICS),
            refusals=(),
            create={name: item for name, item in plan.create.items() if name in TOPICS},
        )
        topics.apply(client, self.bootstrap, ours)

    def produce(self, records, *, abort=False):
        """One transaction with these records, as the governor would write them."""
        self.begin(records)
        if abort:
            self.producer.abort_transaction(30)
        else:
            self.commit()

    def begin(self, records, topic=None):
        """Write records in a transaction that stays open; `topic` instead of their own."""
        if self.producer is None:
            self.producer = clients.producer(
                self.settings, self.bootstrap, **{"transactional.id": self.tenant}
            )
            self.producer.init_transactions(30)
        self.producer.begin_transaction()
        for record in records:
            name = ENTITY_STATUS if "milestones" in record else APPROVED
            value = codec.encode(record, codec.committed(NAMES[name]), self.ids[name])
            self.producer.produce(topic or name, value, key_of(record))
        self.producer.flush(10)

    def commit(self):
        self.producer.commit_transaction(30)

    def start(self):
        """A sink process."""
        with (self.folder / "sink.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(PROCESS)],
                env={**os.environ, **self.environment},
                stderr=log,
                stdout=log,
            )
        self.processes.append(process)
        return process

    def read(self, question):
        """Ask the store; None while it can't be read."""
        try:
            engine = tables.open_reader(self.url)
        except (tables.StoreError, OperationalError):
            return None
        try:
            return question(Store(engine))
        finally:
            engine.dispose()

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()
