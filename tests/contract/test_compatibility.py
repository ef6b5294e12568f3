"""What one schema wrote another can read, or the check says where it can't and who is hurt."""

from __future__ import annotations

from io import BytesIO

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contract import codec, compatibility
from pipeline.contract.schema_tree import build


def record(*fields: dict, name: str = "Thing") -> dict:
    return {"type": "record", "name": name, "fields": list(fields)}


def field(of: object, name: str = "a", **more: object) -> dict:
    return {"name": name, "type": of, **more}


def enum(*symbols: str, **more: object) -> dict:
    return {"type": "enum", "name": "Kind", "symbols": list(symbols), **more}


def decimal(precision: int, scale: int) -> dict:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def reasons(reader: object, writer: object) -> list[tuple[str, str]]:
    return compatibility.unreadable(build(record(field(reader))), build(record(field(writer))))


MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
FIXED_4 = {"type": "fixed", "name": "F", "size": 4}


@pytest.mark.parametrize(
    ("reader", "writer"),
    [
        ("long", "int"),
        ("float", "int"),
        ("double", "int"),
        ("float", "long"),
        ("double", "long"),
        ("double", "float"),
        ("bytes", "string"),
        ("string", "bytes"),
        (["null", "int"], "int"),
        (["null", "long"], "int"),
        (["null", "int"], "null"),
        ("int", ["int"]),
        (["null", "int", "string"], ["null", "int"]),
        (enum("A", "B"), enum("A")),
        (enum("A", default="A"), enum("A", "B")),
        ({"type": "array", "items": "long"}, {"type": "array", "items": "int"}),
        ({"type": "map", "values": ["null", "int"]}, {"type": "map", "values": "int"}),
        (record(field("int", "x", default=1), name="R"), record(name="R")),
        (record(name="R"), record(field("int", "x"), name="R")),
        (
            record(field("int", "x"), field("int", "y"), name="R"),
            record(field("int", "y"), field("int", "x"), name="R"),
        ),
        (decimal(9, 2), decimal(9, 2)),
        (MILLIS, MILLIS),
        (FIXED_4, FIXED_4),
    ],
)
def test_what_avro_resolves_is_readable(reader, writer):
    assert reasons(reader, writer) == []


@pytest.mark.parametrize(
    ("reader", "writer", "path", "why"),
    [
        ("int", "long", "Thing.a", "long is written, int is expected"),
        ("float", "double", "Thing.a", "double is written"),
        ("string", "int", "Thing.a", "int is written"),
        ("boolean", "int", "Thing.a", "int is written"),
        ("int", ["null", "int"], "Thing.a", "null is written, int is expected"),
        (["null", "int"], "string", "Thing.a", "string is written, which is not in the union"),
        (["null", "int"], ["null", "string"], "Thing.a", "string is written"),
        (enum("A"), enum("A", "B"), "Thing.a", "symbol B is not known"),
        (enum("A"), {**enum("A"), "name": "Other"}, "Thing.a", "enum Other is called Kind"),
        (FIXED_4, {**FIXED_4, "size": 8}, "Thing.a", "8 bytes are written, 4 are expected"),
        (
            {"type": "array", "items": "int"},
            {"type": "array", "items": "string"},
            "Thing.a[]",
            "string is written",
        ),
        (
            {"type": "map", "values": "int"},
            {"type": "map", "values": "string"},
            "Thing.a{}",
            "string is written",
        ),
        (record(field("int", "x"), name="R"), record(name="R"), "Thing.a.x", "no default"),
        (record(name="R"), record(name="Q"), "Thing.a", "record Q is called R"),
        (
            ["null", record(field("int", "x"), name="R")],
            record(name="R"),
            "Thing.a.x",
            "no default",
        ),
        (decimal(9, 2), decimal(9, 3), "Thing.a", "(decimal 9,3) is written"),
        (decimal(9, 2), decimal(10, 2), "Thing.a", "(decimal 10,2) is written"),
        ("bytes", decimal(9, 2), "Thing.a", "(decimal 9,2) is written, bytes is expected"),
        ("string", decimal(9, 2), "Thing.a", "(decimal 9,2) is written"),
        (MILLIS, "long", "Thing.a", "long is written, long (timestamp-millis) is expected"),
        (MILLIS, "int", "Thing.a", "int is written"),
        (MILLIS, {**MILLIS, "logicalType": "timestamp-micros"}, "Thing.a", "timestamp-micros"),
    ],
)
def test_what_can_t_be_read_is_shown_with_path_and_reason(reader, writer, path, why):
    ((found_path, found_why),) = reasons(reader, writer)
    assert found_path == path
    assert why in found_why


def test_a_namespace_belongs_to_the_name():
    moved = {**record(), "namespace": "elsewhere"}
    assert compatibility.unreadable(build(moved), build(record()))


def test_aliases_do_not_count():
    renamed = {**record(), "name": "New", "aliases": ["Thing"]}
    assert compatibility.unreadable(build(renamed), build(record()))
    field_renamed = record(field("int", "b", aliases=["a"]))
    assert compatibility.unreadable(build(field_renamed), build(record(field("int"))))


def test_recursive_schemas_are_compared_to_the_end():
    def linked(of: object) -> dict:
        return record(field(of), field(["null", "Thing"], "next", default=None))

    assert compatibility.unreadable(build(linked("long")), build(linked("int"))) == []
    assert compatibility.unreadable(build(linked("int")), build(linked("long"))) != []


def test_two_things_wrong_are_two_reasons():
    reader = record(field("int", "a"), field("int", "b"))
    writer = record(field("string", "a"))
    found = compatibility.unreadable(build(reader), build(writer))
    assert [path for path, _ in found] == ["Thing.a", "Thing.b"]


# Modes

OLD = record(field("int", "a"))
WITHOUT = record()
WITH_REQUIRED = record(field("int", "a"), field("int", "b"))
WITH_OPTIONAL = record(field("int", "a"), field("int", "b", default=0))


@pytest.mark.parametrize(
    ("new", "allowed_in"),
    [
        (OLD, {"BACKWARD", "FORWARD", "FULL"}),
        (WITH_OPTIONAL, {"BACKWARD", "FORWARD", "FULL"}),
        (WITH_REQUIRED, {"FORWARD"}),
        (WITHOUT, {"BACKWARD"}),
    ],
)
@pytest.mark.parametrize("mode", ["BACKWARD", "FORWARD", "FULL"])
def test_a_mode_says_who_may_go_first(new, allowed_in, mode):
    assert (compatibility.check(new, [OLD], mode) == []) == (mode in allowed_in)


@pytest.mark.parametrize("mode", ["BACKWARD", "FULL"])
def test_only_a_transitive_mode_looks_further_back_than_one_version(mode):
    previous = [WITHOUT, record(field("int", "a", default=0))]
    assert compatibility.check(OLD, previous, mode) == []
    (breach,) = compatibility.check(OLD, previous, f"{mode}_TRANSITIVE")
    assert (breach.version, breach.path, breach.direction) == (1, "Thing.a", "backward")
    assert str(breach).endswith("so data of version 1 can't be read")


def test_a_first_version_is_compatible_with_nothing_before_it():
    assert compatibility.check(OLD, [], "FULL_TRANSITIVE") == []


@pytest.mark.parametrize("mode", ["NONE", "", "full", "FULL_SOMETIMES", "BACKWARD_"])
def test_a_mode_that_protects_nobody_is_no_mode(mode):
    with pytest.raises(ValueError, match="no mode"):
        compatibility.check(OLD, [], mode)


@pytest.mark.parametrize("name", ["raw-event", "approved-milestone", "decision-block"])
def test_the_shipped_schemas_are_compatible_with_themselves(name):
    definition = codec.definition(name)
    assert compatibility.check(definition, [definition], "FULL_TRANSITIVE") == []


# Against data that is really written and read

NAMES = st.sampled_from(["a", "b", "c"])


def defaults_of(of: object) -> st.SearchStrategy[object]:
    kind = of if isinstance(of, str) else of[0] if isinstance(of, list) else of["type"]
    return {
        "null": st.none(),
        "boolean": st.booleans(),
        "int": st.integers(-5, 5),
        "long": st.integers(-5, 5),
        "float": st.just(1.5),
        "double": st.just(2.5),
        "bytes": st.just("x"),
        "string": st.just("y"),
        "array": st.just([]),
        "map": st.just({}),
    }.get(kind, st.nothing())


@st.composite
def fields(draw, types) -> list[dict]:
    made = []
    for name in draw(st.lists(NAMES, unique=True, max_size=3)):
        of = draw(types)
        default = defaults_of(of)
        if not default.is_empty and draw(st.booleans()):
            made.append(field(of, name, default=draw(default)))
        else:
            made.append(field(of, name))
    return made


SCALARS = st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string"])
ENUMS = st.lists(st.sampled_from("ABC"), min_size=1, unique=True).flatmap(
    lambda symbols: st.sampled_from([enum(*symbols), enum(*symbols, default=symbols[0])])
)
UNIONS = st.lists(SCALARS, min_size=1, max_size=3, unique=True)
COLLECTIONS = (SCALARS | UNIONS).flatmap(
    lambda inner: st.sampled_from(
        [{"type": "array", "items": inner}, {"type": "map", "values": inner}]
    )
)
TYPES = SCALARS | UNIONS | COLLECTIONS
INNER = fields(SCALARS | UNIONS).map(lambda made: record(*made, name="Inner"))
SCHEMAS = st.one_of(
    fields(TYPES).map(lambda made: record(*made)),
    st.tuples(INNER | ENUMS, fields(TYPES)).map(
        lambda pair: record(field(pair[0], "inner"), *pair[1])
    ),
)

VALUES = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**53), 2**53),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "bytes": st.binary(max_size=3).filter(lambda data: all(byte < 128 for byte in data)),
    "string": st.text(max_size=3),
}


def values_of(of: object) -> st.SearchStrategy[object]:
    """Values tagged with the branch where a union has them, as fastavro's tuples."""
    if isinstance(of, list):
        return st.one_of(
            *[values_of(branch).map(lambda value, name=branch: (name, value)) for branch in of]
        )
    if isinstance(of, str):
        return VALUES[of]
    if of["type"] == "array":
        return st.lists(values_of(of["items"]), max_size=3)
    if of["type"] == "map":
        return st.dictionaries(st.text(max_size=2), values_of(of["values"]), max_size=2)
    if of["type"] == "enum":
        return st.sampled_from(of["symbols"])
    return st.fixed_dictionaries({item["name"]: values_of(item["type"]) for item in of["fields"]})


def read_back(writer: dict, reader: dict, value: object) -> object:
    target = BytesIO()
    fastavro.schemaless_writer(target, writer, value)
    target.seek(0)
    return fastavro.schemaless_reader(target, writer, reader)


@settings(max_examples=4 * settings.default.max_examples)
@given(SCHEMAS, SCHEMAS, st.data())
def test_whatever_is_called_readable_is_read(writer, reader, data):
    if compatibility.unreadable(build(reader), build(writer)):
        return
    read_back(writer, reader, data.draw(values_of(writer)))


@settings(max_examples=2 * settings.default.max_examples)
@given(SCHEMAS, st.data())
def test_a_schema_changed_by_the_book_reads_what_the_old_one_wrote(writer, data):
    """Optional fields added, fields dropped and put in another order: the everyday changes."""
    kept = [item for item in writer["fields"] if data.draw(st.booleans())]
    optional = field(["null", "string"], "added", default=None)
    reader = {**writer, "fields": data.draw(st.permutations([*kept, optional]))}
    assert compatibility.check(reader, [writer], "BACKWARD_TRANSITIVE") == []
    read = read_back(writer, reader, data.draw(values_of(writer)))
    assert read["added"] is None


@settings(max_examples=3 * settings.default.max_examples)
@given(SCHEMAS, SCHEMAS, st.data())
def test_what_is_called_unreadable_for_want_of_a_field_really_fails(writer, reader, data):
    found = compatibility.unreadable(build(reader), build(writer))
    if not any(path.count(".") == 1 and "is not written" in why for path, why in found):
        return
    with pytest.raises(Exception, match=r"."):
        read_back(writer, reader, data.draw(values_of(writer)))
