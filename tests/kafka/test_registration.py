"""A breaking change is refused by our own check and by the registry; lies of it are found out."""

from __future__ import annotations

import json
import uuid

import pytest

from pipeline.contract.topics import Declared
from pipeline.kafka.errors import RegistryUnavailableError
from pipeline.kafka.registration import RegistrationRefusedError, register
from pipeline.kafka.registry import Registry


def thing(*fields: str, optional: tuple[str, ...] = ()) -> dict:
    made: list[dict] = [{"name": name, "type": "int", "doc": "d"} for name in fields]
    made += [
        {"name": name, "type": ["null", "int"], "doc": "d", "default": None} for name in optional
    ]
    return {"type": "record", "name": "Thing", "doc": "d", "fields": made}


def write(folder, definition: dict, file: str = "thing.avsc") -> None:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(definition), encoding="utf-8")


@pytest.fixture
def registry(stack):
    with Registry(stack.registry_url) as client:
        yield client


@pytest.fixture
def declared():
    topic = {
        "name": f"test.registration-{uuid.uuid4().hex[:8]}.v1",
        "purpose": "p",
        "owner": "o",
        "key": "k",
        "producers": ["a"],
        "consumers": ["b"],
        "partitions": 1,
        "replication": 1,
        "min_insync_replicas": 1,
        "retention_days": 1,
        "schema": "thing",
        "compatibility": "FULL_TRANSITIVE",
    }
    return Declared.model_validate({"topics": [topic]})


@pytest.fixture
def subject(declared):
    return declared.topics[0].subject


@pytest.mark.kafka
def test_a_subject_gets_its_mode_and_schema_and_keeps_them(registry, declared, subject, tmp_path):
    write(tmp_path, thing("a"))
    (first,) = register(registry, tmp_path, declared)
    assert (first.subject, first.mode, first.new) == (subject, "FULL_TRANSITIVE", True)
    (again,) = register(registry, tmp_path, declared)
    assert again == first._replace(new=False)
    assert registry.core_compatibility(subject) == "FULL_TRANSITIVE"
    assert registry.ids(subject) == {first.schema_id}


@pytest.mark.kafka
def test_an_optional_field_may_be_added(registry, declared, subject, tmp_path):
    for definition in (thing("a"), thing("a", optional=("b",))):
        write(tmp_path, definition)
        (done,) = register(registry, tmp_path, declared)
        assert done.new
    assert registry.versions(subject) == [1, 2]


@pytest.mark.kafka
@pytest.mark.parametrize("breaking", [thing("a", "b"), thing()], ids=["field added", "field lost"])
def test_a_breaking_change_is_refused_twice(registry, declared, subject, tmp_path, breaking):
    write(tmp_path, thing("a"))
    list(register(registry, tmp_path, declared))
    write(tmp_path, breaking)
    with pytest.raises(RegistrationRefusedError, match=r"start a new topic") as caught:
        list(register(registry, tmp_path, declared))
    ours = [line for line in caught.value.why if line.startswith("Thing.")]
    theirs = [line for line in caught.value.why if line.startswith("the registry: ")]
    assert ours
    assert theirs
    assert registry.versions(subject) == [1]


@pytest.mark.kafka
def test_a_mode_that_somebody_loosened_is_set_back_before_anything_is_registered(
    registry, declared, subject, tmp_path
):
    write(tmp_path, thing("a"))
    list(register(registry, tmp_path, declared))
    registry.set_compatibility(subject, "NONE")
    write(tmp_path, thing("a", "b"))
    with pytest.raises(RegistrationRefusedError, match="the registry: "):
        list(register(registry, tmp_path, declared))
    assert registry.compatibility(subject) == "FULL_TRANSITIVE"


@pytest.mark.kafka
@pytest.mark.parametrize("said", ["NONE", None, "BACKWARD"])
def test_a_registry_whose_two_interfaces_disagree_is_refused(
    registry, declared, subject, tmp_path, monkeypatch, said
):
    monkeypatch.setattr(registry, "core_compatibility", lambda _: said)
    write(tmp_path, thing("a"))
    with pytest.raises(RegistrationRefusedError, match=f"its own API says {said or 'none'}"):
        list(register(registry, tmp_path, declared))
    assert registry.versions(subject) == []


@pytest.mark.kafka
def test_an_id_that_stands_for_another_schema_is_refused(registry, declared, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "schema", lambda _: thing("other"))
    write(tmp_path, thing("a"))
    with pytest.raises(RegistrationRefusedError, match="does not stand for this schema"):
        list(register(registry, tmp_path, declared))


@pytest.mark.kafka
def test_a_change_that_is_no_committed_version_is_refused(registry, declared, subject, tmp_path):
    write(tmp_path, thing("a"), "history/thing/v1.avsc")
    write(tmp_path, thing("a", optional=("b",)))
    with pytest.raises(RegistrationRefusedError, match=r"schemas/history/thing/v2\.avsc"):
        list(register(registry, tmp_path, declared))
    assert registry.versions(subject) == []


def test_an_absent_registry_is_an_outage(declared, tmp_path):
    write(tmp_path, thing("a"))
    with Registry("http://127.0.0.1:1") as registry, pytest.raises(RegistryUnavailableError):
        list(register(registry, tmp_path, declared))
