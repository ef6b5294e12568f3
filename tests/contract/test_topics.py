"""`topics.yaml` says what each topic needs; mistakes in it are shown by line."""

from __future__ import annotations

import re

import pytest

from pipeline.contract import codec, names, topics
from pipeline.contract.yaml_lines import InvalidFileError

HEAD = """\
defaults:
  partitions: 4
  replication: 3
  min_insync_replicas: 1
topics:
"""
ROW = "  - {{name: {name}, purpose: p, owner: o, key: k, producers: [a], consumers: [b], {more}}}\n"


def row(name: str, more: str = "retention_days: 1") -> str:
    return ROW.format(name=name, more=more)


@pytest.fixture
def load(tmp_path):
    def from_text(text: str) -> topics.Declared:
        path = tmp_path / "topics.yaml"
        path.write_text(text, encoding="utf-8")
        return topics.load(path)

    return from_text


@pytest.fixture
def complaint(load):
    def about(text: str) -> str:
        with pytest.raises(InvalidFileError) as caught:
            load(text)
        return str(caught.value)

    return about


def test_the_shipped_file_declares_every_topic_the_product_names():
    declared = topics.load()
    named = {
        value
        for name, value in vars(names).items()
        if name.isupper() and isinstance(value, str) and value.endswith(".v1")
    }
    assert named <= set(declared.names)


def test_the_shipped_file_names_schemas_that_exist():
    for subject, schema, _ in topics.load().subjects():
        assert subject.endswith(".v1-value")
        assert codec.committed(schema).fingerprint


def test_every_topic_is_stamped_on_append():
    for topic in topics.load().topics:
        assert topic.config()["message.timestamp.type"] == "LogAppendTime"


def test_raw_schemas_let_consumers_go_first_and_the_public_ones_anybody():
    modes = {subject: mode for subject, _, mode in topics.load().subjects()}
    assert modes[names.subject(names.APPROVED)] == "FULL_TRANSITIVE"
    assert modes[names.subject(names.raw_topic("tms-na"))] == "BACKWARD_TRANSITIVE"


def test_inputs_share_one_partition_count():
    assert len({topic.partitions for topic in topics.load().inputs}) == 1


def test_whatever_a_platform_may_write_fits_into_what_milepost_writes_about_it():
    declared = topics.load()
    sizes = {name: int(declared[name].config()["max.message.bytes"]) for name in declared.names}
    raw = max(size for name, size in sizes.items() if name.startswith(names.RAW_PREFIX))
    assert all(sizes[name] > raw for name in (names.DEAD_LETTER, names.REKEYED, names.REPLAY))


def test_retention_is_in_days_and_compacted_topics_have_none(load):
    declared = load(HEAD + row("a") + row("b", "retention_days: -1") + row("c", "compacted: true"))
    assert declared["a"].config()["retention.ms"] == "86400000"
    assert declared["b"].config()["retention.ms"] == "-1"
    assert "retention.ms" not in declared["c"].config()
    assert [declared[name].config()["cleanup.policy"] for name in "abc"] == [
        "delete",
        "delete",
        "compact",
    ]


@pytest.mark.parametrize(("replicas", "insync"), [(1, "1"), (2, "1"), (3, "2"), (4, "3")])
def test_all_but_one_replica_must_have_a_record(load, replicas, insync):
    assert load(HEAD + row("a"))["a"].config(replicas)["min.insync.replicas"] == insync


@pytest.mark.parametrize(
    ("text", "line", "about"),
    [
        (HEAD + row("a") + row("b", "retention_days: 1, color: red"), 7, "color"),
        (HEAD.replace("replication", "replicas") + row("a"), 3, r"defaults\.replicas"),
        (HEAD + row("a") + row("a"), 7, "line 6"),
        (HEAD + row("a", "retention_days: 1, compacted: true"), 6, "either is compacted"),
        (HEAD + row("a", "input: false"), 6, "retention_days"),
        (HEAD + row("a", "retention_days: 1, schema: s"), 6, "go together"),
        (HEAD + row("a", "retention_days: 1, schema: s, compatibility: NONE"), 6, "compatib"),
        (HEAD + row("a", "retention_days: 1, partitions: 0"), 6, "partitions"),
        (HEAD + row("a", "retention_days: 1, min_insync_replicas: 9"), 6, "never be reached"),
        (HEAD + row("Raw_Topic"), 6, "lower case"),
        (
            HEAD
            + row("a", "retention_days: 1, input: true")
            + row("b", "retention_days: 1, input: true, partitions: 8"),
            7,
            "Set partitions: 4",
        ),
        (HEAD + row("a") + "retired: [a]\n", 7, "retired at once"),
        ("topics: {}", 1, "no topics"),
        ("topics: [", 1, "no YAML"),
    ],
)
def test_a_mistake_is_shown_by_line(complaint, text, line, about):
    shown = complaint(text)
    assert shown.startswith(f"topics.yaml:{line}: ")
    assert re.search(about, shown)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidFileError, match=r"absent\.yaml:1: missing"):
        topics.load(tmp_path / "absent.yaml")
