"""`milepost doctor` sees whether anything is governed, not only whether servers answer."""

import os
import time
from pathlib import Path

import governed_stack
import pytest

from pipeline.contract import names
from pipeline.contract.names import data_root
from pipeline.local.stack import LocalStack
from pipeline.operations import governed_checks
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


@pytest.mark.kafka
def test_a_stack_that_governs_is_well(governed):
    governed.watch.until(lambda: {block["partition"] for block in governed.watch.blocks} >= {0})
    report = examine(examined(governed), governed_checks.CHECKS)
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
    (finding,) = governed_checks.governor_alive(examined(governed, now_ms=later))
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
    (unread,) = governed_checks.inputs_read(patient)
    assert f"{topic}[{number}] at {offset} for " in unread.what
    assert list(governed_checks.inputs_read(examined(governed))) == []
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
