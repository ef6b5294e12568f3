"""Schemas that could crash a decoder are refused, and so is what makes one hard to live with."""

from __future__ import annotations

import json
import shutil
from io import BytesIO

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract import schemas, topics
from pipeline.contract.names import data_root
from pipeline.contract.schema_safety import DEPTH_MAX, FREE_VALUES_MAX
from pipeline.contract.yaml_lines import InvalidFileError


def record(*fields: object, name: str = "Thing", **more: object) -> dict:
    made = [
        {"name": f"f{position}", "type": item, "doc": "d"} if not _is_field(item) else item
        for position, item in enumerate(fields)
    ]
    return {"type": "record", "name": name, "doc": "d", "fields": made, **more}


def _is_field(item: object) -> bool:
    return isinstance(item, dict) and "name" in item and item.get("type") not in NAMED_KINDS


NAMED_KINDS = ("record", "enum", "fixed")


def array(items: object) -> dict:
    return {"type": "array", "items": items}


def nested(levels: int) -> object:
    of: object = "int"
    for _ in range(levels):
        of = array(of)
    return of


def doubling(levels: int) -> dict:
    """Each level holds the one below twice: 2**levels values once written out."""
    of: object = record(name="L0")
    for level in range(1, levels + 1):
        of = record(of, f"L{level - 1}", name=f"L{level}")
    return of


# What would crash or exhaust a decoder


@pytest.mark.parametrize(
    ("definition", "about"),
    [
        (record(["null", "Thing"]), "contains itself"),
        (record(array("Thing")), "contains itself"),
        (record({"type": "map", "values": "Thing"}), "contains itself"),
        (record(record(["null", "Thing"], name="Inner")), "contains itself"),
        (record(array("null")), "no bytes"),
        (record(array(record(name="Empty"))), "no bytes"),
        (record(array(record("null", record(name="E1"), name="E2"))), "no bytes"),
        (record(array({"type": "fixed", "name": "F", "size": 0})), "no bytes"),
        (record(array(array("null"))), "no bytes"),
        (record({"type": "map", "values": array("null")}), "no bytes"),
        (record(array(record("int", *["null"] * 17, name="Padded"))), "17 values of each item"),
        (record("int", *["null"] * 17), "17 values take no bytes"),
        (record(nested(DEPTH_MAX)), "deep in one another"),
        (record(nested(500)), "nested more than"),
        (doubling(30), "written out it has"),
    ],
)
def test_what_could_crash_the_decoder_is_unsafe(definition, about):
    flaws = schemas.unsafe(definition)
    assert flaws
    assert about in flaws[0].why
    assert schemas.lint(definition) == flaws


@pytest.mark.parametrize(
    "definition",
    [
        record("int"),
        record(["null", "string"]),
        record(array(["null", "int"])),
        record(array(record("string", "null", name="Item"))),
        record({"type": "map", "values": "null"}),
        record(["null", record(name="Empty")]),
        record(nested(DEPTH_MAX - 2)),
        record(record("int", name="Twice"), "Twice"),
        record(*["null"] * FREE_VALUES_MAX, "int"),
    ],
)
def test_what_is_merely_unusual_is_safe(definition):
    assert schemas.unsafe(definition) == []


def test_the_measured_crash_is_refused_before_anything_is_decoded():
    five_kilobytes = b"\x02" * 5_000 + b"\x00"
    assert len(five_kilobytes) == 5_001
    linked = {"type": "record", "name": "L", "fields": [{"name": "n", "type": ["null", "L"]}]}
    (flaw,) = schemas.unsafe(linked)
    assert (flaw.path, flaw.location) == ("L.n", ("fields", 0, "type", 1))


@pytest.mark.parametrize(
    "definition",
    [
        None,
        7,
        [],
        {},
        "strange",
        {"type": "record"},
        {"type": "record", "name": "X"},
        {"type": "record", "name": "no name", "fields": []},
        {"type": "record", "name": "X", "fields": [{"type": "int"}]},
        {"type": "record", "name": "X", "fields": [{"name": "a", "type": "Unknown"}]},
        record("int", record("int", name="Thing")),
        record([["null"]]),
        record(["int", "int"]),
        record({"type": "enum", "name": "E", "symbols": []}),
        record({"type": "enum", "name": "E", "symbols": ["A"], "default": "B"}),
        record({"type": "fixed", "name": "F", "size": -1}),
        record({"type": "array"}),
        record({"type": {"type": "int"}}),
    ],
)
def test_what_is_no_schema_is_unsafe_and_never_raises(definition):
    assert schemas.unsafe(definition)


JUNK = st.recursive(
    st.none()
    | st.sampled_from(["int", "null", "record", "array", "map", "enum", "union", "X", ""])
    | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "name", "fields", "items", "values", "symbols", "size"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JUNK)
def test_any_json_is_judged_and_what_is_found_right_is_a_schema(definition):
    if not schemas.lint(definition):
        fastavro.parse_schema(definition)


SAFE_TYPES = st.recursive(
    st.sampled_from(["null", "boolean", "int", "long", "bytes", "string"]),
    lambda inner: (
        inner.map(array)
        | inner.map(lambda values: {"type": "map", "values": values})
        | inner.filter(lambda item: item != "null" and not isinstance(item, list)).map(
            lambda item: ["null", item]
        )
    ),
    max_leaves=8,
).map(lambda item: record(item, "int"))


@given(SAFE_TYPES, st.binary(max_size=40))
def test_no_bytes_become_many_values_under_a_schema_that_is_safe(definition, data):
    if schemas.unsafe(definition):
        return
    try:
        value = fastavro.schemaless_reader(BytesIO(data), definition, None)
    except Exception:  # noqa: BLE001  most bytes are no datum
        return
    assert count(value) <= (len(data) + 1) * (DEPTH_MAX + FREE_VALUES_MAX)


def count(value: object) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(count, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(count, value))
    return 1


# House rules


def field(of: object, name: str = "thing", **more: object) -> dict:
    return {"name": name, "type": of, "doc": "d", **more}


def enum(**more: object) -> dict:
    base = {"type": "enum", "name": "Kind", "symbols": ["UNRECOGNISED", "A"], "doc": "d"}
    return base | {"default": "UNRECOGNISED"} | more


def without(of: dict, name: str) -> dict:
    return {key: value for key, value in of.items() if key != name}


def decimal(**more: object) -> dict:
    return {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 4} | more


MILLIS = {"type": "long", "logicalType": "timestamp-millis"}


@pytest.mark.parametrize(
    "definition",
    [
        record(field("int")),
        record(field(["null", "string"], default=None)),
        record(field(enum())),
        record(field(decimal(), name="amount")),
        record(field(MILLIS, name="released_at")),
        record(field({"type": "int", "logicalType": "date"}, name="day")),
        record(field("double", name="latitude")),
        record(field({"type": "array", "items": "string"}, default=[])),
        record(field(record(field("int", default=3), name="Inner"), default={})),
    ],
)
def test_a_schema_within_the_house_rules_has_no_flaw(definition):
    assert schemas.lint(definition) == []


@pytest.mark.parametrize(
    ("definition", "about"),
    [
        ("int", "a value is a record"),
        (record(field("int"), name="thing"), "LikeThis"),
        (record(field("int"), doc=""), "Thing has no doc"),
        (record(field("int"), aliases=["Old"]), "aliases"),
        (record(field("int", aliases=["old"])), "aliases"),
        (record(field("int", name="camelCase")), "like_this"),
        (record({"name": "thing", "type": "int"}), "has no doc"),
        (record(field(["string", "null"], default="")), "null is not first"),
        (record(field(["null", "string"])), "without the default null"),
        (record(field("null")), "always null"),
        (record(field(["null"], default=None)), "null alone"),
        (record(field(without(enum(), "default"))), "enum without a default"),
        (record(field(enum(symbols=["UNRECOGNISED", "lower"]))), "LIKE_THIS"),
        (record(field(enum(doc=""))), "Kind has no doc"),
        (record(field("double", name="unit_price")), "loses cents"),
        (record(field(["null", "float"], name="total", default=None)), "loses cents"),
        (record(field(decimal(scale=19))), "does not apply"),
        (record(field(decimal(type="string"))), "does not apply"),
        (record(field({"type": "long", "logicalType": "timestamp-micros"})), "milliseconds"),
        (record(field({"type": "long", "logicalType": "local-timestamp-millis"})), "milliseconds"),
        (record(field("long", name="created_at")), "without a logical type"),
        (record(field("string", name="timestamp")), "without a logical type"),
        (record(field("int", default="x")), "does not fit"),
        (record(field("int", default=2**31)), "does not fit"),
        (record(field("boolean", default=0)), "does not fit"),
        (record(field({"type": "array", "items": "int"}, default=[1, "x"])), "does not fit"),
        (record(field(record(field("int"), name="Inner"), default={})), "does not fit"),
    ],
)
def test_a_breach_of_a_house_rule_is_shown_with_path_and_remedy(definition, about):
    (flaw,) = schemas.lint(definition)
    assert about in flaw.why
    assert flaw.remedy


# The folder


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "history").mkdir()
    return tmp_path


def declared(*names: str, mode: str = "FULL_TRANSITIVE") -> topics.Declared:
    base = {"purpose": "p", "owner": "o", "key": "k", "producers": ["a"], "consumers": ["b"]}
    size = {"partitions": 1, "replication": 1, "min_insync_replicas": 1, "retention_days": 1}
    return topics.Declared.model_validate(
        {
            "topics": [
                base | size | {"name": f"{name}.v1", "schema": name, "compatibility": mode}
                for name in names
            ]
        }
    )


def write(path, definition) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(definition, indent=2), encoding="utf-8")


def test_the_shipped_schemas_pass():
    assert schemas.check(data_root() / "schemas", topics.load()) == []


def test_the_shipped_schemas_are_committed_as_versions_or_have_none_yet():
    folder = data_root() / "schemas"
    assert schemas.unversioned(folder, [path.stem for path in folder.glob("*.avsc")]) == []


def test_a_finding_has_file_line_path_why_and_remedy(folder):
    write(folder / "thing.avsc", record(field("int"), field("double", name="price")))
    (finding,) = schemas.check(folder, declared("thing"))
    assert (finding.file, finding.line, finding.path) == ("thing.avsc", 11, "Thing.price")
    assert str(finding).startswith("thing.avsc:11: Thing.price: money")


@pytest.mark.parametrize(
    ("mode", "refused"),
    [("FULL", False), ("FULL_TRANSITIVE", True), ("BACKWARD", False), ("FORWARD", False)],
)
def test_versions_are_compared_in_the_mode_that_the_topic_declares(folder, mode, refused):
    first = record(field("int"), field("int", name="second"))
    write(folder / "history/thing/v1.avsc", first)
    write(folder / "history/thing/v2.avsc", record(field("int"), field("int", "second", default=0)))
    write(folder / "thing.avsc", record(field("int")))
    found = schemas.check(folder, declared("thing", mode=mode))
    assert bool(found) == refused
    if refused:
        assert "readers of version 1 can't read it (FULL_TRANSITIVE)" in found[0].why
        assert found[0].path == "Thing.second"


def test_a_changed_schema_is_unversioned_until_its_file_is_committed(folder):
    write(folder / "thing.avsc", record(field("int")))
    assert schemas.unversioned(folder, ["thing"]) == []
    write(folder / "history/thing/v1.avsc", record(field("long")))
    assert schemas.unversioned(folder, ["thing"]) == ["thing"]
    shutil.copy(folder / "thing.avsc", folder / "history/thing/v2.avsc")
    assert schemas.unversioned(folder, ["thing"]) == []


def test_more_than_nine_versions_keep_their_order(folder):
    for number in range(1, 12):
        write(folder / f"history/thing/v{number}.avsc", record(field("int"), doc=str(number)))
    docs = [item["doc"] for item in schemas.history(folder, "thing")]
    assert docs == [str(number) for number in range(1, 12)]


@pytest.mark.parametrize(
    ("prepare", "about"),
    [
        (lambda at: (at / "thing.avsc").write_text("{\n\n nope"), "thing.avsc:3: no JSON"),
        (lambda at: (at / "thing.avsc").write_text("[" * 3_000), "thing.avsc:1: no JSON"),
        (lambda at: None, "names schema thing, which is not there"),
        (lambda at: write(at / "other.avsc", record(field("int"))), "no topic in topics.yaml"),
        (lambda at: write(at / "history/gone/v1.avsc", record()), "the schema is gone"),
        (lambda at: write(at / "history/thing/v2.avsc", record(field("int"))), "without a gap"),
    ],
)
def test_what_is_odd_about_the_folder_is_shown(folder, prepare, about):
    if about != "names schema thing, which is not there":
        write(folder / "thing.avsc", record(field("int")))
    prepare(folder)
    found = "\n".join(map(str, schemas.check(folder, declared("thing"))))
    assert about in found


def test_a_missing_version_stops_whoever_needs_all(folder):
    write(folder / "history/thing/v2.avsc", record(field("int")))
    with pytest.raises(InvalidFileError, match=r"history/thing/v1\.avsc"):
        schemas.history(folder, "thing")
