"""The consumer that the guide for downstream teams shows, on a real Kafka."""

from __future__ import annotations

import copy
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka.cimpl import NewTopic
from portal_cluster import until
from portal_records import approved, key_of

from pipeline.contract import codec
from pipeline.contract.names import APPROVED
from pipeline.kafka import clients
from pipeline.kafka.registry import Registry

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.kafka


class Example:
    """The example as a team would copy it, on a topic of its own, and the tables it keeps."""

    def __init__(self, cluster):
        self._cluster = cluster
        self._file = cluster.folder / "mine.sqlite"
        self.topic = f"approved-{cluster.tenant}"
        self.process = None
        text = (ROOT / "docs/examples/consume.py").read_text()
        for former, own in ((APPROVED, self.topic), ("your-team", self.topic)):
            assert former in text
            text = text.replace(former, own)
        self._script = cluster.folder / "consume.py"
        self._script.write_text(text)
        self.schema = cluster.folder / "mine.avsc"
        shutil.copy(ROOT / "schemas" / "approved-milestone.avsc", self.schema)
        client = clients.admin(cluster.settings, cluster.bootstrap)
        for future in client.create_topics([NewTopic(self.topic, 2, 1)]).values():
            future.result(30)

    def produce(self, records):
        self._cluster.begin(records, self.topic)
        self._cluster.commit()

    def start(self):
        with (self._cluster.folder / "consume.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, self._script, self._file, self.schema],
                env=os.environ | self._cluster.environment,
                stdout=log,
                stderr=log,
            )
        self._cluster.processes.append(self.process)

    def printed(self):
        return (self._cluster.folder / "consume.log").read_text().splitlines()

    def rows(self, query):
        """Rows of this test's own tenant; none before the tables are there."""
        db = sqlite3.connect(self._file)
        try:
            return db.execute(query, {"mine": f"{self._cluster.tenant}/%"}).fetchall()
        except sqlite3.OperationalError:
            return []
        finally:
            db.close()

    def milestones(self):
        return self.rows(
            "SELECT type, revision, stands FROM milestone WHERE entity LIKE :mine ORDER BY seq"
        )

    def to_post(self):
        return self.rows(
            "SELECT type, seq, action FROM to_post WHERE entity LIKE :mine ORDER BY seq"
        )

    def ready(self):
        return len(self.rows("SELECT 1 FROM position")) > 0


def test_history_builds_the_tables_and_only_what_comes_after_it_is_posted(portal_cluster):
    cluster = portal_cluster
    example = Example(cluster)

    def record(event_type, seq, **changes):
        return approved(event_type, seq, tenant=cluster.tenant, **changes)

    example.produce([record("departed", 1), record("pickup.arrived", 2)])
    cluster.begin([record("delivery.arrived", 3)], example.topic)  # open while the example starts
    example.start()
    until(example.ready, what="the first start")
    cluster.commit()
    until(lambda: len(example.milestones()) == 3, what="history and the open transaction")
    assert example.to_post() == [("delivery.arrived", 3, "ASSERT")]

    example.process.kill()
    example.process.wait()
    deputy = {"assurance": "PROVISIONAL", "platform": "carrier-redline"}
    example.produce(
        [
            record("departed", 4, revision=2),
            record("delivered", 5, **deputy),
            record("delivered", 6, revision=2, action="CONFIRM"),
            record("eta.updated", 7, classifier="ESTIMATED"),
            record("pickup.arrived", 8, revision=2, action="RETRACT"),
        ]
    )
    example.start()
    until(lambda: len(example.to_post()) == 4, what="what came after the kill")
    assert example.to_post() == [
        ("delivery.arrived", 3, "ASSERT"),
        ("departed", 4, "CORRECT"),
        ("delivered", 6, "CONFIRM"),
        ("pickup.arrived", 8, "RETRACT"),
    ]
    assert example.milestones() == [
        ("delivery.arrived", 1, 1),
        ("departed", 2, 1),
        ("delivered", 2, 1),
        ("eta.updated", 1, 1),
        ("pickup.arrived", 2, 0),
    ]


def test_a_word_that_a_newer_schema_added_is_neither_fact_nor_effect(portal_cluster):
    cluster = portal_cluster
    newer = copy.deepcopy(codec.definition("approved-milestone"))
    action = next(field for field in newer["fields"] if field["name"] == "action")
    action["type"]["symbols"].append("RENUMBER")
    schema = codec.parse(newer)
    with Registry(cluster.registry_url) as registry:
        newer_id = registry.register(f"{cluster.tenant}-value", newer)
    example = Example(cluster)
    example.start()
    until(example.ready, what="the first start")
    record = approved(tenant=cluster.tenant, action="RENUMBER")
    cluster.begin([])
    cluster.producer.produce(example.topic, codec.encode(record, schema, newer_id), key_of(record))
    cluster.commit()
    until(lambda: example.milestones() == [("departed", 1, None)], what="the milestone")
    assert example.to_post() == []


def test_without_a_copy_of_the_schema_it_fetches_one_and_tells_each_record(portal_cluster):
    cluster = portal_cluster
    example = Example(cluster)
    example.schema.unlink()
    with Registry(cluster.registry_url) as registry:
        registry.register(f"{example.topic}-value", codec.definition("approved-milestone"))
    example.start()
    until(example.ready, what="the first start")
    record = approved("departed", 1, tenant=cluster.tenant)
    example.produce([record])
    until(example.milestones, what="the milestone")
    fetched = json.loads(example.schema.read_text())
    assert fetched["name"] == codec.definition("approved-milestone")["name"]
    until(example.printed, what="its line")
    (line,) = example.printed()
    assert line.startswith(f"{record['entity_id']} departed ASSERT AUTHORITATIVE 20")


def test_without_arguments_an_example_says_how_it_is_run():
    addresses = {"MILEPOST_REGISTRY_URL": "", "MILEPOST_BOOTSTRAP_SERVERS": ""}
    for name in ("consume", "produce"):
        script = ROOT / "docs" / "examples" / f"{name}.py"
        told = subprocess.run(
            [sys.executable, script],
            capture_output=True,
            text=True,
            env=os.environ | addresses,
            check=False,
        )
        assert told.returncode == 1
        assert f"python {name}.py " in told.stderr
        assert "Traceback" not in told.stderr
