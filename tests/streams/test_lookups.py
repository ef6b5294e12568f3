"""What the edge looks up: an answer, a refusal or an outage, with as few questions as it takes."""

import copy
import json

import httpx
import pytest

from pipeline.contract import codec, names
from pipeline.contract.bundle import digest_of, load_bundle
from pipeline.governance.reasons import Reason
from pipeline.kafka import bundles
from pipeline.kafka.errors import RegistryUnavailableError, UnreachableError
from pipeline.kafka.registry import Registry
from pipeline.settings import Settings
from pipeline.streams import lookups
from pipeline.streams.arriving import Refused
from pipeline.streams.lookups import Lookups
from pipeline.streams.topology import PolicyName

TMS = "logistics.raw.tms-na.v1"
CARRIERS = "logistics.raw.carriers.v1"
BASE = "http://schemas.test"
ANY = PolicyName("v", "")


class Known:
    """A registry in memory, which counts what it is asked."""

    def __init__(self):
        self.subjects = {}
        self.definitions = {}
        self.asked = []
        self.away = False

    def add(self, number, definition, subject=None):
        self.definitions[number] = definition
        if subject is not None:
            self.subjects.setdefault(subject, []).append(number)

    def __call__(self, request):
        path = request.url.path
        self.asked.append(path)
        if self.away:
            return httpx.Response(503)
        parts = path.strip("/").split("/")
        if parts[:2] == ["schemas", "ids"]:
            found = self.definitions.get(int(parts[2]))
            return self._answer(None if found is None else {"schema": json.dumps(found)})
        versions = self.subjects.get(parts[1])
        if len(parts) == 3:
            return self._answer(versions and list(range(1, len(versions) + 1)))
        number = versions[int(parts[3]) - 1]
        body = {"version": int(parts[3]), "id": number}
        return self._answer(body | {"schema": json.dumps(self.definitions[number])})

    def _answer(self, body):
        if body is None:
            return httpx.Response(404, json={"error_code": 40403, "message": "not there"})
        return httpx.Response(200, json=body)


@pytest.fixture
def known():
    made = Known()
    made.add(1, codec.definition("raw-event"), names.subject(TMS))
    return made


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def looking(known, clock):
    registry = Registry(BASE, transport=httpx.MockTransport(known), clock=clock)
    made = Lookups(Settings(), "nowhere:1", registry, clock)
    yield made
    registry.close()


def wanted(*numbers, topic=TMS):
    return {(topic, number): frozenset({topic}) for number in numbers}


def refused(looking, number, topic=TMS):
    found = looking.schemas[topic, number]
    assert isinstance(found, Refused)
    return found.reason


def twice(looking, clock, what):
    """Ask, and ask again a second later."""
    assert looking.find_schemas(what) == frozenset().union(*what.values())
    clock.now += 1
    return looking.find_schemas(what)


def test_a_schema_of_the_topics_own_is_found_at_once(looking):
    assert looking.find_schemas(wanted(1)) == frozenset()
    assert looking.schemas[TMS, 1].name == "RawEvent"


def test_an_unknown_id_is_asked_for_again_before_it_is_refused(looking, clock):
    assert twice(looking, clock, wanted(9)) == frozenset()
    assert refused(looking, 9) is Reason.UNKNOWN_SCHEMA


def test_an_id_that_is_registered_in_between_is_found(looking, known, clock):
    assert looking.find_schemas(wanted(9)) == {TMS}
    known.add(9, codec.definition("raw-event"), names.subject(TMS))
    clock.now += 1
    assert looking.find_schemas(wanted(9)) == frozenset()
    assert looking.schemas[TMS, 9].name == "RawEvent"


def test_ids_made_up_one_after_the_other_keep_a_neighbour_waiting_no_longer_than_one(
    looking, clock
):
    """Behind the first one lies a good record, which is decided with all that are read by then."""
    assert looking.find_schemas(wanted(9)) == {TMS}
    clock.now += 0.75 * lookups.ASK_AGAIN_S
    assert looking.find_schemas(wanted(9, 10)) == {TMS}
    clock.now += 0.5 * lookups.ASK_AGAIN_S
    assert looking.find_schemas(wanted(9, 10, 11)) == frozenset()
    assert {refused(looking, number) for number in (9, 10, 11)} == {Reason.UNKNOWN_SCHEMA}


def test_one_that_was_refused_a_minute_ago_costs_no_other_its_second_question(looking, clock):
    twice(looking, clock, wanted(9))
    clock.now += lookups.REFUSED_FOR_S
    looking.expire()
    assert looking.find_schemas(wanted(9, 10)) == {TMS}
    assert refused(looking, 9) is Reason.UNKNOWN_SCHEMA
    assert (TMS, 10) not in looking.schemas


def test_who_waits_is_the_input_that_holds_the_record_not_the_origin_of_it(looking):
    assert looking.find_schemas({(TMS, 9): frozenset({names.REPLAY})}) == {names.REPLAY}


def test_an_id_of_another_subject_is_not_allowed(looking, known, clock):
    known.add(5, codec.definition("link"), names.subject(names.LINKS))
    assert twice(looking, clock, wanted(5)) == frozenset()
    assert refused(looking, 5) is Reason.SCHEMA_NOT_ALLOWED
    assert twice(looking, clock, wanted(1, topic=CARRIERS)) == frozenset()
    assert refused(looking, 1, CARRIERS) is Reason.SCHEMA_NOT_ALLOWED


RECURSIVE = {
    "type": "record",
    "name": "Deep",
    "fields": [{"name": "inner", "type": ["null", "Deep"], "default": None}],
}


@pytest.mark.parametrize(
    "definition",
    [
        RECURSIVE,
        {"type": "record", "name": "R", "fields": [{"name": "n", "type": "nonsense"}]},
        {"type": "record", "fields": []},
        "string",
    ],
)
def test_a_schema_that_could_crash_or_is_none_is_refused_even_of_the_topics_own(
    looking, known, definition
):
    known.add(6, definition, names.subject(TMS))
    assert looking.find_schemas(wanted(6)) == frozenset()
    assert refused(looking, 6) is Reason.SCHEMA_NOT_ALLOWED


def test_a_registry_that_is_away_is_an_outage_and_refuses_nothing(looking, known):
    known.away = True
    with pytest.raises(RegistryUnavailableError):
        looking.find_schemas(wanted(9))
    assert looking.schemas == {}


def test_what_is_known_is_asked_for_no_more(looking, known):
    looking.find_schemas(wanted(1))
    known.asked.clear()
    known.away = True
    assert looking.find_schemas(wanted(1)) == frozenset()
    assert known.asked == []


def test_a_refusal_is_kept_for_a_while_and_then_asked_about_again(looking, clock):
    twice(looking, clock, wanted(9))
    clock.now += lookups.REFUSED_FOR_S - 1
    looking.expire()
    assert (TMS, 9) in looking.schemas
    clock.now += 2
    looking.expire()
    assert (TMS, 9) not in looking.schemas


def test_what_is_refused_again_keeps_nobody_waiting_again(looking, clock):
    twice(looking, clock, wanted(9))
    clock.now += lookups.REFUSED_FOR_S
    looking.expire()
    assert looking.find_schemas(wanted(9)) == frozenset()
    assert refused(looking, 9) is Reason.UNKNOWN_SCHEMA


def test_what_was_refused_and_is_registered_by_now_is_found(looking, known, clock):
    twice(looking, clock, wanted(9))
    clock.now += lookups.REFUSED_FOR_S
    looking.expire()
    known.add(9, codec.definition("raw-event"), names.subject(TMS))
    assert looking.find_schemas(wanted(9)) == frozenset()
    assert looking.schemas[TMS, 9].name == "RawEvent"


def test_who_has_put_something_right_need_not_wait(looking, clock):
    twice(looking, clock, wanted(9))
    looking.find_schemas(wanted(1))
    looking.expire(everything=True)
    assert list(looking.schemas) == [(TMS, 1)]
    assert looking.find_schemas(wanted(9)) == {TMS}  # it is looked for with patience once more


def test_a_flood_of_made_up_ids_costs_a_few_requests_and_ends(looking, known, clock):
    flood = wanted(*range(1_000, 21_000))
    assert twice(looking, clock, flood) == frozenset()
    assert len(known.asked) < lookups.STRANGERS_NAMED_MAX + 20
    assert {found.reason for found in looking.schemas.values()} == {Reason.UNKNOWN_SCHEMA}
    assert flood.keys() <= looking.schemas.keys()


def test_memory_of_refusals_is_bounded(looking, clock, monkeypatch):
    monkeypatch.setattr(lookups, "REFUSED_MAX", 10)
    twice(looking, clock, wanted(*range(1_000, 1_020)))
    looking.expire()
    assert looking.schemas == {}


# Policies


@pytest.fixture
def published(monkeypatch):
    found = {}
    monkeypatch.setattr(bundles, "documents", lambda *_: found)
    return found


def test_a_bundle_is_compiled_once_it_is_published(looking, published):
    bundle = load_bundle()
    wanted = PolicyName(bundle.version, bundle.digest())
    (missing,) = looking.find_policies({wanted})
    assert (missing.name, "is not published" in missing.why) == (wanted, True)
    published[bundle.version] = bundle.document()
    assert looking.find_policies({wanted}) == []
    assert wanted.fits(looking.policies[bundle.version])


def test_a_bundle_that_was_read_ahead_is_not_asked_for_again(looking, published, monkeypatch):
    bundle = load_bundle()
    published[bundle.version] = bundle.document()
    looking.read_ahead()
    asked = []
    later = {"v": bundle.document()}
    monkeypatch.setattr(bundles, "documents", lambda *_: asked.append(1) or later)
    assert looking.find_policies({PolicyName(bundle.version, bundle.digest())}) == []
    assert asked == []
    assert looking.find_policies({PolicyName("v", bundle.digest())}) == []
    assert asked == [1]


def test_reading_ahead_may_fail(looking, monkeypatch):
    def away(*_):
        raise UnreachableError("Kafka is away")

    monkeypatch.setattr(bundles, "documents", away)
    looking.read_ahead()
    with pytest.raises(UnreachableError):
        looking.find_policies({ANY})


@pytest.mark.parametrize("document", [b"", b"nonsense", b"{}", b"\xff"])
def test_a_document_that_is_no_bundle_is_told_and_nothing_breaks(looking, published, document):
    published["v"] = document
    (unusable,) = looking.find_policies({ANY})
    assert ("can't be used" in unusable.why, unusable.other) == (True, "")
    assert looking.policies == {}


def test_a_bundle_whose_dialect_extends_itself_is_told(looking, published):
    bundle = load_bundle()
    content = json.loads(bundle.document())
    spoiled = copy.deepcopy(content)
    spoiled["dialects"][0]["extends"] = spoiled["dialects"][0]["dialect"]
    published["v"] = json.dumps(spoiled).encode()
    (unusable,) = looking.find_policies({ANY})
    assert "extends itself" in unusable.why


def test_another_bundle_under_the_activated_version_is_told_with_both_digests(looking, published):
    bundle = load_bundle()
    published["v"] = bundle.document()
    wanted = PolicyName("v", "a" * 64)
    (unusable,) = looking.find_policies({wanted})
    assert unusable == (wanted, unusable.why, bundle.digest())
    assert wanted.digest in unusable.why
    assert bundle.digest() in unusable.why
    assert looking.policies == {}


def test_the_activated_bundle_takes_the_place_of_another_once_it_is_published(looking, published):
    bundle = load_bundle()
    other = bundle.model_copy(
        update={"heading": bundle.heading.model_copy(update={"author": "somebody else"})}
    )
    published["v"] = other.document()
    assert looking.find_policies({ANY}) == []
    wanted = PolicyName("v", bundle.digest())
    assert len(looking.find_policies({wanted})) == 1
    assert PolicyName("v", other.digest()).fits(looking.policies["v"])
    published["v"] = bundle.document()
    assert looking.find_policies({wanted}) == []
    assert wanted.fits(looking.policies["v"])


def test_the_digest_is_of_the_bytes_that_are_published_whoever_wrote_them(looking, published):
    """Another version of Milepost may write the same bundle otherwise."""
    bundle = load_bundle()
    written = json.dumps(json.loads(bundle.document()), indent=1).encode()
    published["v"] = written
    assert looking.find_policies({PolicyName("v", digest_of(written))}) == []
    assert len(looking.find_policies({PolicyName("v", bundle.digest())})) == 1
