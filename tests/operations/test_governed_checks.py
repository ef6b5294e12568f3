"""`milepost doctor` sees whether anything is governed, not only whether servers answer."""

import os
import signal
import time
import zlib
from pathlib import Path

import governed_stack
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from pipeline.contract import names
from pipeline.contract.names import data_root
from pipeline.governance.identity import partition_of
from pipeline.local.stack import LocalStack
from pipeline.operations import doctor, governed_checks, input_checks
from pipeline.operations.doctor import examine
from pipeline.operations.findings import Patient
from pipeline.operations.platforms import HeldBack
from pipeline.settings import Settings

SUBJECT = names.subject(names.APPROVED)
DECLARED = (data_root() / "topics.yaml").read_text(encoding="utf-8")


@pytest.fixture
def topics_file(tmp_path):
    """topics.yaml as the governed stack was made with, to be changed."""
    path = tmp_path / "topics.yaml"
    path.write_text(DECLARED, encoding="utf-8")
    return path


def later():
    """A quarter of an hour from now, in ms."""
    return time.time_ns() // 1_000_000 + 900_000


def examined(governed, **options):
    return Patient(governed.settings, governed.bootstrap, governed.registry_url, **options)


def declaring(governed, path):
    settings = governed.settings.model_copy(update={"topics_file": path})
    return Patient(settings, governed.bootstrap, governed.registry_url)


def held(platform, partition, reason, claims=0):
    return HeldBack(platform, partition, reason, None, "", "", claims, None)


@pytest.fixture
def fresh():
    """A stack that nobody has done anything to."""
    made = governed_stack.Governed()
    made.publish(made.bundle)
    made.start()
    yield made
    made.close()


@pytest.mark.kafka
def test_a_stack_that_governs_is_well(fresh):
    fresh.governed_by(fresh.bundle)
    report = examine(examined(fresh), governed_checks.CHECKS)
    assert report.findings == []
    assert len(report.checked) == len(governed_checks.CHECKS)


@pytest.mark.kafka
def test_a_cluster_without_anything_of_ours(tmp_path):
    cache = os.environ.get("MILEPOST_CACHE_DIR")
    with LocalStack(tmp_path / "stack", cache_dir=Path(cache) if cache else None) as bare:
        patient = Patient(Settings(state_dir=tmp_path), bare.bootstrap, bare.registry_url)
        report = examine(patient, governed_checks.CHECKS)
    assert [(one.what.partition(":")[0], one.remedy.partition(",")[0]) for one in report.findings][
        :3
    ] == [
        ("Declared topics are missing", "Run `milepost topics apply`"),
        ("Subjects lack the schema that is declared", "Run `milepost schemas register`"),
        ("No policy is in force on any partition", "Run `milepost policy publish`"),
    ]
    assert "No governor runs for any partition" in report.findings[3].what


@pytest.mark.kafka
def test_a_topic_that_keeps_records_for_another_time_is_named(governed, topics_file):
    declared = governed_stack.DECLARED[names.DEAD_LETTER].config(1)["retention.ms"]
    days = int(declared) // 86_400_000
    head, name, rest = DECLARED.partition(f"name: {names.DEAD_LETTER}")
    changed = rest.replace(f"retention_days: {days}", f"retention_days: {days + 1}", 1)
    topics_file.write_text(head + name + changed, encoding="utf-8")
    (finding,) = governed_checks.topics_declared(declaring(governed, topics_file))
    assert f"{names.DEAD_LETTER} retention.ms: {declared} -> " in finding.what
    assert "milepost topics apply" in finding.remedy


@pytest.mark.kafka
def test_a_partition_count_that_is_not_the_declared_one_is_named(governed, topics_file):
    topics_file.write_text(DECLARED.replace("partitions: 4", "partitions: 5"), encoding="utf-8")
    findings = list(governed_checks.topics_declared(declaring(governed, topics_file)))
    assert any(one.what.startswith(f"{names.CONTROL}: ") for one in findings)


@pytest.mark.kafka
def test_a_declaration_that_can_not_be_used_is_a_finding(governed, tmp_path):
    report = examine(declaring(governed, tmp_path / "absent.yaml"), governed_checks.CHECKS[:1])
    assert "absent.yaml" in report.findings[0].what
    assert "MILEPOST_TOPICS_FILE" in report.findings[0].remedy


@pytest.mark.kafka
def test_a_compatibility_that_was_taken_away_is_named_with_its_remedy(governed):
    modes = {subject: mode for subject, _, mode in governed_stack.DECLARED.subjects()}
    governed.registry.set_compatibility(SUBJECT, "NONE")
    try:
        findings = list(governed_checks.schemas_registered(examined(governed)))
    finally:
        governed.registry.set_compatibility(SUBJECT, modes[SUBJECT])
    assert findings[0].what == (
        f"Subject {SUBJECT} has compatibility NONE, declared is {modes[SUBJECT]}"
    )
    assert "milepost schemas register" in findings[0].remedy


@pytest.mark.kafka
def test_a_partition_without_a_policy_and_two_policies_are_named(governed, monkeypatch):
    told = governed_checks.bundles.activations(governed.settings, governed.bootstrap)
    some = {0: told[0], 1: told[1]._replace(version="another")}
    monkeypatch.setattr(governed_checks.bundles, "newest_activations", lambda _: some)
    lacking, differing = governed_checks.policy_in_force(examined(governed))
    assert lacking.what == "No policy is in force on partitions 2, 3"
    assert f"{governed.bundle.version}, another" in differing.what


@pytest.mark.kafka
def test_a_ledger_that_stands_still_is_named(governed):
    patient = examined(governed, now_ms=later)
    governed_stack.until(lambda: len(governed_checks._owned(patient)) == 4, what="a governor")
    (finding,) = governed_checks.governor_alive(patient)
    assert finding.what.startswith("The ledger has stood still on partitions 0, 1, 2, 3")


@pytest.mark.kafka
def test_without_a_governor_that_is_said_and_what_nobody_reads(governed):
    governed.worker.end()
    patient = examined(governed, now_ms=later)
    governed_stack.until(lambda: not governed_checks._owned(patient), what="the group is empty")
    (topic, number, offset), *_ = governed.send(governed.event(governed.name(), "DELIVERED"))
    (finding,) = governed_checks.governor_alive(patient)
    assert finding.what.startswith("No governor runs for any partition")
    assert "milepost run governor" in finding.remedy
    (unread,) = input_checks.inputs_read(patient)
    assert f"{topic}[{number}] at {offset} for " in unread.what
    assert list(input_checks.inputs_read(examined(governed))) == []
    governed.start()
    governed.fate((topic, number, offset))


def test_who_is_held_back_is_named_with_the_way_out():
    rows = [
        held("tms-na", 1, "platform_suspended", 2),
        held("tms-na", 0, "platform_suspended", 1),
        held("wms", 3, "platform_braked"),
    ]
    patient = Patient(Settings(), "", "", held_back=lambda: rows)
    suspended, braked = governed_checks.platforms_trusted(patient)
    assert suspended.what == "tms-na is suspended on partitions 0, 1; claims that wait: 3"
    assert braked.what.startswith("wms is braked on partitions 3")
    assert "milepost platforms release wms" in braked.remedy


def test_a_state_of_another_version_is_a_finding():
    def refused():
        raise ValueError("a newer Milepost wrote it")

    (finding,) = governed_checks.platforms_trusted(Patient(Settings(), "", "", held_back=refused))
    assert "a newer Milepost wrote it" in finding.what


# Inputs


@pytest.fixture
def backlog(governed):
    """Records that nobody reads: the worker has gone."""
    governed.worker.end()
    patient = examined(governed)
    governed_stack.until(lambda: not governed_checks._owned(patient), what="the group is empty")
    places = governed.send(*(governed.event(governed.name(), "DELIVERED") for _ in range(20)))
    yield places
    governed.start()
    governed.fates(places)


def kept_for(governed, topic, milliseconds):
    """Have a topic keep its records for another time; what it was."""
    admin = AdminClient({"bootstrap.servers": governed.bootstrap})
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    before = admin.describe_configs([resource])[resource].result(20)["retention.ms"].value
    entry = ConfigEntry(
        "retention.ms", str(milliseconds), incremental_operation=AlterConfigOpType.SET
    )
    changed = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([changed])[changed].result(20)
    return before


@pytest.mark.kafka
def test_an_input_that_waits_for_longer_than_half_of_what_its_topic_keeps_is_named(
    governed, backlog
):
    topic = backlog[0][0]
    before = kept_for(governed, topic, 1_200_000)
    try:
        found = list(input_checks.retention_lasts(examined(governed, now_ms=later)))
    finally:
        kept_for(governed, topic, before)
    assert any(
        one.what.startswith(f"{topic}[{backlog[0][1]}] has waited for 15 minutes to be read")
        and one.what.endswith("its topic keeps records for 20")
        for one in found
    )
    assert list(input_checks.retention_lasts(examined(governed))) == []


@pytest.mark.kafka
def test_a_group_whose_offsets_have_expired_has_still_read_its_inputs(governed):
    """What was read, the state says."""
    governed.fates(governed.send(governed.event(governed.name(), "DELIVERED")))
    elsewhere = governed.settings.model_copy(update={"governor_group": "another"})
    patient = Patient(elsewhere, governed.bootstrap, governed.registry_url, now_ms=later)
    assert not any(names.RAW_PREFIX in one.what for one in input_checks.inputs_read(patient))


@pytest.mark.kafka
def test_a_producer_with_the_clients_own_partitioner_is_found(governed):
    topic = names.raw_topic("portal")

    def found():
        return [
            one for one in input_checks.partitioners_agree(examined(governed)) if topic in one.what
        ]

    assert found() == []
    crc32 = Producer({"bootstrap.servers": governed.bootstrap, "partitioner": "consistent"})
    strays = 0
    for number in range(60):
        key = governed.key(f"P-{number}")
        strays += zlib.crc32(key) % governed_stack.PARTITIONS != partition_of(
            key, governed_stack.PARTITIONS
        )
        crc32.produce(topic, governed_stack.GARBAGE, key)
    assert crc32.flush(20) == 0
    (finding,) = found()
    assert finding.what.startswith(f"{strays} of the newest ")
    assert f"records of {topic} lie on partitions that murmur2 does not give" in finding.what
    assert finding.what.endswith("CRC32, librdkafka's default, does")
    assert "partitioner=murmur2_random" in finding.remedy


# Faults that end a stack of their own


@pytest.fixture
def scratch():
    """A stack that a test may ruin."""
    stack = governed_stack.Governed()
    try:
        stack.publish(stack.bundle)
        stack.start()
        yield stack
    finally:
        stack.close()


@pytest.mark.kafka
def test_what_retention_took_unread_is_told_with_its_offsets(scratch):
    scratch.fates(scratch.send(scratch.event(scratch.name(), "DELIVERED")))
    scratch.worker.end()
    topic, number, first = scratch.send(scratch.event(scratch.name(), "DELIVERED"))[0]
    scratch.forget(topic, number, first + 1)
    found = list(input_checks.retention_lasts(examined(scratch)))
    assert any(f"{topic}[{number}] {first} to {first}" in one.what for one in found)


@pytest.mark.kafka
def test_a_governor_that_hangs_is_there_and_its_ledger_stands_still(scratch, tmp_path, monkeypatch):
    """Its agent is stuck and its heartbeats go on, for longer than a session without them."""
    (tmp_path / "sitecustomize.py").write_text(
        "import signal, threading\n"
        "signal.signal(signal.SIGALRM, lambda *_: threading.Event().wait())\n"
    )
    scratch.worker.end()
    python_path = os.pathsep.join((str(tmp_path), str(data_root())))
    worker = scratch.start(PYTHONPATH=python_path)
    settings = scratch.settings.model_copy(update={"tick_ms": 500})
    patient = Patient(settings, scratch.bootstrap, scratch.registry_url)
    monkeypatch.setattr(governed_checks, "QUIET_MS_MIN", 2 * settings.governor_session_ms)
    governed_stack.until(
        lambda: worker.governs and not list(governed_checks.governor_alive(patient)),
        what="it governs",
    )
    worker.process.send_signal(signal.SIGALRM)
    (finding,) = governed_stack.until(
        lambda: list(governed_checks.governor_alive(patient)), what="it is noticed"
    )
    assert finding.what.startswith("The ledger has stood still on partitions")
    assert finding.what.endswith("though a governor is there")
    assert worker.running


@pytest.mark.kafka
def test_a_worker_that_is_frozen_is_told_from_one_that_is_not_there(scratch, monkeypatch):
    """Its ticks are half a second apart here, so it is noticed within its session."""
    monkeypatch.setattr(governed_checks, "QUIET_MS_MIN", 1_000)
    settings = scratch.settings.model_copy(update={"tick_ms": 500})
    patient = Patient(settings, scratch.bootstrap, scratch.registry_url)
    scratch.watch.until(lambda: {block["partition"] for block in scratch.watch.blocks} >= {0})
    scratch.worker.process.send_signal(signal.SIGSTOP)
    try:
        (finding,) = governed_stack.until(
            lambda: list(governed_checks.governor_alive(patient)), what="it is noticed"
        )
        assert finding.what.startswith("The ledger has stood still on partitions")
        (finding,) = governed_stack.until(
            lambda: [
                one
                for one in governed_checks.governor_alive(patient)
                if one.what.startswith("No governor runs")
            ],
            what="its session is over",
        )
    finally:
        scratch.worker.process.send_signal(signal.SIGCONT)


@pytest.mark.kafka
def test_a_broker_and_a_registry_that_went_away_are_told_apart(tmp_path):
    cache = os.environ.get("MILEPOST_CACHE_DIR")
    with LocalStack(tmp_path / "stack", cache_dir=Path(cache) if cache else None) as bare:
        patient = Patient(Settings(state_dir=tmp_path), bare.bootstrap, bare.registry_url)
        checks = [
            check
            for check in doctor.CHECKS
            if check.run in {doctor.kafka_reachable, doctor.registry_reachable}
        ]
        assert examine(patient, checks).findings == []
        bare.registry.kill()
        (away,) = examine(patient, checks).findings
        assert away.what.startswith("The schema registry at ")
        bare.brokers[0].kill()
        report = examine(patient, checks)
        assert report.unreachable
        assert report.findings[0].what.startswith("Kafka at ")
