"""What the registry doesn't know is data; that it doesn't answer is an outage."""

from __future__ import annotations

import json
import uuid

import httpx
import pytest

from pipeline.contract import codec
from pipeline.kafka.errors import (
    RegistryUnavailableError,
    SchemaRefusedError,
    UnreachableError,
    UnregisteredError,
)
from pipeline.kafka.registry import Registry
from pipeline.settings import Settings

POINT = {
    "type": "record",
    "name": "Point",
    "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": "int", "default": 0}],
}
NARROWER = {"type": "record", "name": "Point", "fields": [{"name": "z", "type": "int"}]}


@pytest.fixture
def subject():
    return f"test.registry.{uuid.uuid4().hex[:8]}-value"


@pytest.fixture
def registry(stack):
    with Registry(stack.registry_url) as client:
        yield client


class Fake:
    """Answers in turn and counts the questions."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(f"{request.method} {request.url.path}")
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def client(fake: Fake, now: list[float] | None = None) -> Registry:
    clock = [0.0] if now is None else now
    return Registry(
        "http://registry/api/", transport=httpx.MockTransport(fake), clock=lambda: clock[0]
    )


def found(definition: object, **more: object) -> httpx.Response:
    return httpx.Response(200, json={"schema": json.dumps(definition), **more})


def no(code: int = 40403) -> httpx.Response:
    return httpx.Response(code // 100, json={"error_code": code, "message": "not found"})


# On a real registry


@pytest.mark.kafka
def test_a_registered_schema_is_found_by_id_and_by_content(registry, subject):
    number = registry.register(subject, POINT)
    assert registry.register(subject, POINT) == number
    assert registry.lookup(subject, POINT) == number
    assert registry.schema(number) == POINT
    assert registry.ids(subject) == {number}
    assert registry.version(subject, 1) == (1, number, POINT)


@pytest.mark.kafka
def test_the_same_schema_written_otherwise_is_found_too(registry, subject):
    number = registry.register(subject, POINT)
    shuffled = {key: POINT[key] for key in reversed(POINT)}
    assert registry.lookup(subject, shuffled) == number


@pytest.mark.kafka
@pytest.mark.parametrize("schema_id", [0, -1, 2_000_000_000, 2**31 - 1, 2**31, 2**32 - 1])
def test_an_id_that_nobody_gave_is_unknown(registry, schema_id):
    assert registry.schema(schema_id) is None


@pytest.mark.kafka
def test_an_unknown_subject_has_nothing(registry, subject):
    assert registry.versions(subject) == []
    assert registry.ids(subject) == frozenset()
    assert registry.lookup(subject, POINT) is None
    assert registry.compatible(subject, POINT) == []
    assert registry.compatibility(subject) is None
    assert registry.core_compatibility(subject) is None


@pytest.mark.kafka
@pytest.mark.parametrize("mode", ["BACKWARD_TRANSITIVE", "FULL_TRANSITIVE"])
def test_a_mode_is_read_back_from_both_interfaces_and_enforced(registry, subject, mode):
    registry.register(subject, POINT)
    registry.set_compatibility(subject, mode)
    assert registry.compatibility(subject) == mode
    assert registry.core_compatibility(subject) == mode
    assert registry.compatible(subject, NARROWER) != []
    with pytest.raises(SchemaRefusedError, match=subject):
        registry.register(subject, NARROWER)
    assert registry.versions(subject) == [1]


@pytest.mark.kafka
def test_a_schema_that_is_none_is_refused(registry, subject):
    with pytest.raises(SchemaRefusedError):
        registry.register(subject, {"type": "record", "name": "X"})


@pytest.mark.kafka
def test_a_writer_learns_its_id_or_the_command_that_is_missing(registry, subject):
    with pytest.raises(UnregisteredError, match="milepost schemas register"):
        registry.id_for(subject, "alert")
    number = registry.register(subject, codec.definition("alert"))
    assert registry.id_for(subject, "alert") == number


@pytest.mark.kafka
def test_order_of_fields_and_defaults_make_another_schema_and_docs_do_not(registry, subject):
    number = registry.register(subject, POINT)
    x, y = POINT["fields"]
    assert registry.lookup(subject, POINT | {"doc": "A point"}) == number
    assert registry.lookup(subject, POINT | {"fields": [y, x]}) is None
    assert registry.lookup(subject, POINT | {"fields": [x, y | {"default": 1}]}) is None


@pytest.mark.kafka
def test_a_wrong_path_on_a_real_registry_is_an_outage(stack):
    with Registry(stack.registry_url + "/wrong") as lost, pytest.raises(RegistryUnavailableError):
        lost.schema(1)


# Against answers that a healthy registry rarely gives


def test_a_known_id_is_asked_for_once_and_an_unknown_one_twice_a_second():
    now = [0.0]
    fake = Fake(no(), no(), found(POINT))
    registry = client(fake, now)
    assert registry.schema(7) is None
    now[0] = 0.4
    assert registry.schema(7) is None
    assert len(fake.asked) == 1
    now[0] = 0.8
    assert registry.schema(7) is None
    assert len(fake.asked) == 2
    now[0] = 1.5
    assert registry.schema(7) == POINT
    now[0] = 1e9
    assert registry.schema(7) == POINT
    assert fake.asked == ["GET /api/schemas/ids/7"] * 3


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.Response(500),
        httpx.Response(503, text="<html>"),
        httpx.Response(429),
        httpx.Response(401, json={"error_code": 401, "message": "who are you"}),
        httpx.Response(404, text="<html>no such page, no registry either</html>"),
        httpx.Response(404, json={"error_code": 0, "message": "could not find resource"}),
        httpx.Response(200, text="no JSON"),
    ],
    ids=lambda answer: (
        f"{answer.status_code}-{answer.text[:20]}"
        if isinstance(answer, httpx.Response)
        else type(answer).__name__
    ),
)
def test_no_usable_answer_is_an_outage_that_names_address_and_setting(answer):
    with pytest.raises(RegistryUnavailableError, match=r"http://registry/api .*MILEPOST_REGISTRY"):
        client(Fake(answer)).schema(7)


def test_after_an_outage_the_next_question_is_asked():
    registry = client(Fake(httpx.ConnectError("refused"), found(POINT)))
    with pytest.raises(UnreachableError):
        registry.schema(7)
    assert registry.schema(7) == POINT


@pytest.mark.parametrize(
    "answer", [found({"type": "object"}, schemaType="JSON"), found("string")], ids=["JSON", "text"]
)
def test_a_schema_that_is_no_avro_record_counts_as_unknown(answer):
    assert client(Fake(answer)).schema(7) is None


def test_a_flood_of_made_up_ids_does_not_fill_the_memory():
    registry = client(Fake(*[no() for _ in range(10_002)]))
    for schema_id in range(1, 10_003):
        registry.schema(schema_id)
    assert len(registry._unknown) < 10_000


def test_a_subject_s_ids_are_asked_again_for_a_stranger_but_not_for_a_friend():
    now = [0.0]
    one, two = httpx.Response(200, json=[1]), httpx.Response(200, json=[1, 2])
    first, second = found(POINT, version=1, id=5), found(POINT, version=2, id=6)
    fake = Fake(one, first, one, two, second)
    registry = client(fake, now)
    assert registry.allowed("s", 5)
    assert not registry.allowed("s", 6)
    assert not registry.allowed("s", 6)
    assert len(fake.asked) == 3
    now[0] = 0.6
    assert registry.allowed("s", 6)
    now[0] = 99.0
    assert registry.allowed("s", 5)
    assert len(fake.asked) == 5


def test_a_schema_registered_a_moment_ago_is_allowed_at_once():
    now = [0.0]
    one, two = httpx.Response(200, json=[1]), httpx.Response(200, json=[1, 2])
    first, second = found(POINT, version=1, id=5), found(POINT, version=2, id=6)
    registry = client(Fake(one, first, two, second), now)
    assert not registry.allowed("s", 7)
    assert registry.allowed("s", 6)


def test_a_definition_nested_beyond_reason_counts_as_unknown():
    nested = httpx.Response(200, json={"schema": "[" * 100_000})
    assert client(Fake(nested)).schema(7) is None


def test_an_incompatible_schema_always_has_a_message():
    fake = Fake(httpx.Response(200, json={"is_compatible": False}))
    assert client(fake).compatible("s", POINT) == ["no reason given"]


def test_names_that_are_odd_in_an_address_are_escaped():
    fake = Fake(no())
    assert client(fake).versions("a/b c") == []
    assert fake.asked == ["GET /api/subjects/a/b c/versions"]


def test_credentials_come_from_the_settings():
    settings = Settings(registry_username="me", registry_password="canary")
    registry = Registry.of(settings, "http://registry")
    assert registry._client.auth is not None
    assert Registry.of(Settings(), "http://registry")._client.auth is None
