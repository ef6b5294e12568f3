"""`milepost topics` and `milepost schemas`: what they print and with which code they end."""

from __future__ import annotations

import json
import shutil
import uuid

import pytest
from typer.testing import CliRunner

from pipeline.cli import contract
from pipeline.contract.names import data_root

RUNNER = CliRunner()


@pytest.fixture
def on_stack(stack, monkeypatch):
    monkeypatch.setenv("MILEPOST_BOOTSTRAP_SERVERS", stack.bootstrap)
    monkeypatch.setenv("MILEPOST_REGISTRY_URL", stack.registry_url)


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.delenv("MILEPOST_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.delenv("MILEPOST_REGISTRY_URL", raising=False)
    monkeypatch.setenv("MILEPOST_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def topics_file(tmp_path):
    """The shipped declaration under names of its own, so that tests don't meet."""
    prefix = f"test-{uuid.uuid4().hex[:8]}."
    text = (data_root() / "topics.yaml").read_text(encoding="utf-8")
    path = tmp_path / "topics.yaml"
    path.write_text(text.replace("name: logistics.", f"name: {prefix}"), encoding="utf-8")
    return path


def topics(*arguments: object):
    return RUNNER.invoke(contract.topics, [str(item) for item in arguments])


def schemas(*arguments: object):
    return RUNNER.invoke(contract.schemas, [str(item) for item in arguments])


def test_an_option_names_a_file_before_the_setting_does(topics_file, tmp_path, monkeypatch):
    spoilt = tmp_path / "spoilt.yaml"
    spoilt.write_text("topics: none\n", encoding="utf-8")
    monkeypatch.setenv("MILEPOST_TOPICS_FILE", str(spoilt))
    assert "spoilt.yaml" in schemas("check").stderr
    assert schemas("check", "--file", topics_file).exit_code == 0


@pytest.mark.kafka
@pytest.mark.usefixtures("on_stack")
def test_topics_are_planned_applied_and_then_as_declared(topics_file):
    planned = topics("plan", "--file", topics_file)
    assert planned.exit_code == 0
    assert planned.stdout.count("+ ") == 20
    assert topics("apply", "--file", topics_file).exit_code == 0
    again = topics("apply", "--file", topics_file)
    assert again.exit_code == 0
    assert again.stdout.endswith("The cluster has every topic as declared.\n")
    assert "+ " not in again.stdout


@pytest.mark.kafka
@pytest.mark.usefixtures("on_stack")
def test_a_change_that_loses_data_is_shown_and_refused_without_the_flag(topics_file):
    topics("apply", "--file", topics_file)
    text = topics_file.read_text(encoding="utf-8")
    topics_file.write_text(text.replace("retention_days: 30", "retention_days: 3"), "utf-8")
    planned = topics("plan", "--file", topics_file, "--json")
    assert planned.exit_code == 1
    document = json.loads(planned.stdout)
    assert document["blocked"] is True
    assert {change["setting"] for change in document["changes"]} == {"retention.ms"}
    refused = topics("apply", "--file", topics_file)
    assert refused.exit_code == 1
    assert "--allow-destructive" in refused.stderr
    assert topics("apply", "--file", topics_file, "--allow-destructive").exit_code == 0


@pytest.mark.kafka
@pytest.mark.usefixtures("on_stack")
def test_every_shipped_schema_is_registered_once_per_subject(topics_file):
    first = schemas("register", "--file", topics_file, "--json")
    assert first.exit_code == 0
    subjects = json.loads(first.stdout)["subjects"]
    assert len(subjects) == 15
    assert all(item["new"] for item in subjects)
    again = schemas("register", "--file", topics_file)
    assert again.exit_code == 0
    assert "was registered as id" in again.stdout


def test_the_shipped_schemas_pass_the_check_without_a_network():
    checked = schemas("check", "--json")
    assert checked.exit_code == 0
    assert json.loads(checked.stdout) == {"schemas": 7, "findings": []}


def test_a_finding_ends_the_check_with_one_and_stops_registration(tmp_path):
    folder = tmp_path / "schemas"
    shutil.copytree(data_root() / "schemas", folder)
    link = folder / "link.avsc"
    link.write_text(link.read_text(encoding="utf-8").replace('"type": "int"', '"type": "Link"', 1))
    checked = schemas("check", "--folder", folder)
    assert checked.exit_code == 1
    assert "link.avsc:" in checked.stdout
    assert "contains itself" in checked.stdout
    registered = schemas("register", "--folder", folder)
    assert registered.exit_code == 1
    assert "Nothing was registered" in registered.stderr


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    "command", [("topics", "plan"), ("topics", "apply"), ("schemas", "register")]
)
def test_without_a_cluster_the_way_to_one_is_told(command):
    group, name = command
    ended = (topics if group == "topics" else schemas)(name)
    assert ended.exit_code == 3
    assert "milepost up" in ended.stderr


def test_an_absent_registry_ends_with_three(monkeypatch):
    monkeypatch.setenv("MILEPOST_REGISTRY_URL", "http://127.0.0.1:1")
    ended = schemas("register")
    assert ended.exit_code == 3
    assert "http://127.0.0.1:1" in ended.stderr


def test_a_wrong_setting_ends_with_two(monkeypatch):
    monkeypatch.setenv("MILEPOST_TICK_MS", "soon")
    ended = topics("plan")
    assert ended.exit_code == 2
    assert "MILEPOST_TICK_MS" in ended.stderr


def test_a_wrong_file_is_shown_by_line(tmp_path, monkeypatch):
    monkeypatch.setenv("MILEPOST_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    path = tmp_path / "topics.yaml"
    path.write_text("topics:\n  - {name: a}\n", encoding="utf-8")
    ended = topics("plan", "--file", path)
    assert ended.exit_code == 1
    assert "topics.yaml:2: " in ended.stderr
