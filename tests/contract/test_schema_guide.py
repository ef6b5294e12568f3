"""`schemas/README.md` tells the truth: its tables are held against the files and the check."""

from __future__ import annotations

import uuid
from itertools import takewhile

import pytest

from pipeline.contract import compatibility, topics
from pipeline.contract.names import data_root
from pipeline.kafka.registry import Registry

GUIDE = (data_root() / "schemas" / "README.md").read_text(encoding="utf-8")
MODES = ("BACKWARD_TRANSITIVE", "FULL_TRANSITIVE")


def record(*fields: dict, **more: object) -> dict:
    return {"type": "record", "name": "Thing", "fields": list(fields), **more}


def field(of: object, name: str = "a", **more: object) -> dict:
    return {"name": name, "type": of, **more}


def enum(*symbols: str, **more: object) -> dict:
    return field({"type": "enum", "name": "Kind", "symbols": list(symbols), **more})


def decimal(scale: int) -> dict:
    return field({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": scale})


OPTIONAL = field(["null", "int"], default=None)
MILLIS = field({"type": "long", "logicalType": "timestamp-millis"})
X = field("int", "x")
EVOLUTIONS = {
    "add an optional field": [(record(X), record(X, OPTIONAL))],
    "add a field with another default": [(record(X), record(X, field("int", default=1)))],
    "add a field without a default": [(record(X), record(X, field("int")))],
    "remove an optional field": [(record(X, OPTIONAL), record(X))],
    "remove a field without a default": [(record(X, field("int")), record(X))],
    "add a symbol to an enum with a default": [
        (record(enum("A", default="A")), record(enum("A", "B", default="A")))
    ],
    "add a symbol to an enum without a default": [(record(enum("A")), record(enum("A", "B")))],
    "remove a symbol from an enum with a default": [
        (record(enum("A", "B", default="A")), record(enum("A", default="A")))
    ],
    "widen int to long": [(record(field("int")), record(field("long")))],
    "make a required field optional": [(record(field("int")), record(OPTIONAL))],
    "make an optional field required": [(record(OPTIONAL), record(field("int")))],
    "change precision or scale of a decimal": [(record(decimal(2)), record(decimal(3)))],
    "change a logical type, add or drop one": [
        (record(MILLIS), record(field("long"))),
        (record(field("long")), record(MILLIS)),
    ],
    "rename a field, record, enum or namespace": [
        (record(field("int", "a")), record(field("int", "b"))),
        (record(), {**record(), "name": "Other"}),
        (record(), record(namespace="elsewhere")),
    ],
    "reorder fields, change docs": [(record(X, field("int")), record(field("int", doc="new"), X))],
    "change a default": [
        (record(field("int", default=1)), record(field("int", default=2))),
    ],
}


def rows(heading: str) -> list[list[str]]:
    lines = GUIDE.split(heading, 1)[1].splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("|"))
    table = takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


@pytest.mark.parametrize("row", rows("### What may change"), ids=lambda row: row[0][:40])
def test_what_may_change_is_what_the_check_allows(row):
    change, *verdicts = row
    for mode, verdict in zip(MODES, verdicts, strict=True):
        for old, new in EVOLUTIONS[change]:
            assert (compatibility.check(new, [old], mode) == []) == (verdict == "yes")


def test_every_schema_is_in_the_first_table_with_its_mode():
    declared = {name: mode for _, name, mode in topics.load().subjects()}
    assert {row[0].strip("`"): row[2] for row in rows("# Schemas")} == declared


@pytest.mark.kafka
@pytest.mark.parametrize("mode", MODES)
def test_what_may_change_is_taken_by_a_real_registry(stack, mode):
    """The registry may allow more than we do, never less."""
    with Registry(stack.registry_url) as registry:
        for change, *verdicts in rows("### What may change"):
            if dict(zip(MODES, verdicts, strict=True))[mode] == "no":
                continue
            for old, new in EVOLUTIONS[change]:
                subject = f"test.guide.{uuid.uuid4().hex[:8]}-value"
                registry.register(subject, old)
                registry.set_compatibility(subject, mode)
                assert (change, registry.compatible(subject, new)) == (change, [])
