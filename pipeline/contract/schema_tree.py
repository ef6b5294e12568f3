"""An Avro schema as a tree of types with names resolved, each knowing where it is written.

The one parser behind the lint, the safety check and the compatibility check. A name that is used
again is the same object, so a recursive schema is a cycle. Must never judge a schema beyond its
being well formed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Location = tuple[str | int, ...]

PRIMITIVES: Final = frozenset(
    {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
)
NESTING_MAX: Final = 64
"""Levels of types written inside one another; far above any real schema."""

_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_LOGICAL_BASES = {
    "decimal": {"bytes", "fixed"},
    "uuid": {"string", "fixed"},
    "date": {"int"},
    "time-millis": {"int"},
    "time-micros": {"long"},
    "timestamp-millis": {"long"},
    "timestamp-micros": {"long"},
    "timestamp-nanos": {"long"},
    "local-timestamp-millis": {"long"},
    "local-timestamp-micros": {"long"},
    "local-timestamp-nanos": {"long"},
    "duration": {"fixed"},
}


class MalformedSchemaError(ValueError):
    """This is no Avro schema; `location` says where in the JSON."""

    def __init__(self, location: Location, why: str) -> None:
        super().__init__(why)
        self.location = location


@dataclass(slots=True, eq=False)
class Field:
    """A field of a record."""

    name: str
    type: Type
    doc: str
    has_default: bool
    default: Any
    aliased: bool
    location: Location


@dataclass(slots=True, eq=False)
class Type:
    """One type, primitive or complex; only the attributes of its kind are filled."""

    kind: str
    location: Location
    name: str = ""
    """Full name of a record, enum or fixed."""
    doc: str = ""
    fields: list[Field] = field(default_factory=list)
    symbols: list[str] = field(default_factory=list)
    symbol_default: str | None = None
    items: Type | None = None
    """Items of an array, values of a map."""
    branches: list[Type] = field(default_factory=list)
    size: int = 0
    logical: str = ""
    """Logical type that Avro knows for this kind; others are ignored, as the standard says."""
    claimed_logical: str = ""
    """Logical type as written, whether it applies or not."""
    precision: int = 0
    scale: int = 0
    aliased: bool = False

    @property
    def unqualified(self) -> str:
        """Name without its namespace."""
        return self.name.rpartition(".")[2]

    def __str__(self) -> str:
        """What a person calls it."""
        if self.kind == "union":
            return "union of " + ", ".join(str(branch) for branch in self.branches)
        label = f"{self.kind} {self.unqualified}" if self.name else self.kind
        if self.logical == "decimal":
            return f"{label} (decimal {self.precision},{self.scale})"
        return f"{label} ({self.logical})" if self.logical else label


def build(definition: Any) -> Type:
    """Resolve a schema.

    Args:
        definition: the schema as JSON gives it.

    Raises:
        MalformedSchemaError: it is no Avro schema, or nested beyond reason.

    """
    return _Builder().type(definition, (), "", 0)


class _Builder:
    """Holds the names that were defined so far."""

    def __init__(self) -> None:
        self._named: dict[str, Type] = {}

    def type(self, node: Any, location: Location, namespace: str, depth: int) -> Type:
        if depth > NESTING_MAX:
            raise MalformedSchemaError(location, f"types are nested more than {NESTING_MAX} deep")
        if isinstance(node, str):
            return self._by_name(node, location, namespace)
        if isinstance(node, list):
            return self._union(node, location, namespace, depth)
        if not isinstance(node, Mapping):
            raise MalformedSchemaError(location, "a type is a name, a union or an object")
        kind = node.get("type")
        if not isinstance(kind, str):
            # Avro allows {"type": {...}} around a type; nobody needs it and few readers cope
            raise MalformedSchemaError(location, "an object names its type as text")
        if kind in PRIMITIVES:
            return _with_logical(Type(kind, location), node)
        if kind in {"record", "enum", "fixed"}:
            return self._define(kind, node, location, namespace, depth)
        if kind in {"array", "map"}:
            part = "items" if kind == "array" else "values"
            if part not in node:
                raise MalformedSchemaError(location, f"{kind} without {part}")
            inner = self.type(node[part], (*location, part), namespace, depth + 1)
            return Type(kind, location, items=inner)
        if kind == "error":
            raise MalformedSchemaError(location, "error types belong to protocols")
        return self._by_name(kind, location, namespace)

    def _by_name(self, name: str, location: Location, namespace: str) -> Type:
        if name in PRIMITIVES:
            return Type(name, location)
        for full in (f"{namespace}.{name}", name) if namespace else (name,):
            if full in self._named:
                return self._named[full]
        raise MalformedSchemaError(location, f"type {name} is not defined before it is used")

    def _union(self, node: list[Any], location: Location, namespace: str, depth: int) -> Type:
        branches = [
            self.type(branch, (*location, position), namespace, depth + 1)
            for position, branch in enumerate(node)
        ]
        if not branches:
            raise MalformedSchemaError(location, "a union of nothing")
        labels = [branch.name or branch.kind for branch in branches]
        if "union" in labels:
            raise MalformedSchemaError(location, "a union directly inside a union")
        if len(set(labels)) != len(labels):
            raise MalformedSchemaError(location, "a union with the same type twice")
        return Type("union", location, branches=branches)

    def _define(
        self, kind: str, node: Mapping[str, Any], location: Location, namespace: str, depth: int
    ) -> Type:
        name = _full_name(node, location, namespace)
        if name in self._named:
            raise MalformedSchemaError(location, f"type {name} is defined twice")
        made = Type(kind, location, name, doc=_text(node.get("doc")), aliased="aliases" in node)
        self._named[name] = made
        if kind == "record":
            made.fields = self._fields(node, location, name.rpartition(".")[0], depth)
        elif kind == "enum":
            made.symbols, made.symbol_default = _symbols(node, location)
        else:
            size = node.get("size")
            if not isinstance(size, int) or isinstance(size, bool) or size < 0:
                raise MalformedSchemaError(location, "fixed without a size in bytes")
            made.size = size
        return _with_logical(made, node)

    def _fields(
        self, node: Mapping[str, Any], location: Location, namespace: str, depth: int
    ) -> list[Field]:
        given = node.get("fields")
        if not isinstance(given, list):
            raise MalformedSchemaError(location, "record without a list of fields")
        fields: list[Field] = []
        for position, item in enumerate(given):
            where = (*location, "fields", position)
            if not isinstance(item, Mapping) or "type" not in item:
                raise MalformedSchemaError(where, "a field has a name and a type")
            name = item.get("name")
            if not isinstance(name, str) or not _NAME.match(name):
                raise MalformedSchemaError(where, f"no field name: {name!r}")
            if any(name == other.name for other in fields):
                raise MalformedSchemaError(where, f"field {name} is there twice")
            fields.append(
                Field(
                    name,
                    self.type(item["type"], (*where, "type"), namespace, depth + 1),
                    _text(item.get("doc")),
                    "default" in item,
                    item.get("default"),
                    "aliases" in item,
                    where,
                )
            )
        return fields


def _full_name(node: Mapping[str, Any], location: Location, namespace: str) -> str:
    name = node.get("name")
    if not isinstance(name, str) or not all(_NAME.match(part) for part in name.split(".")):
        raise MalformedSchemaError(location, f"no name of a type: {name!r}")
    if "." in name:
        return name
    space = node.get("namespace")
    if space is None:
        space = namespace
    if not isinstance(space, str):
        raise MalformedSchemaError(location, "a namespace is text")
    return f"{space}.{name}" if space else name


def _symbols(node: Mapping[str, Any], location: Location) -> tuple[list[str], str | None]:
    symbols = node.get("symbols")
    if (
        not isinstance(symbols, list)
        or not symbols
        or not all(isinstance(symbol, str) and _NAME.match(symbol) for symbol in symbols)
    ):
        raise MalformedSchemaError(location, "enum without a list of symbols")
    if len(set(symbols)) != len(symbols):
        raise MalformedSchemaError(location, "an enum with the same symbol twice")
    default = node.get("default")
    if default is not None and default not in symbols:
        raise MalformedSchemaError(location, f"the default {default!r} is none of the symbols")
    return symbols, default


def _with_logical(made: Type, node: Mapping[str, Any]) -> Type:
    made.claimed_logical = claimed = _text(node.get("logicalType"))
    if made.kind not in _LOGICAL_BASES.get(claimed, set()):
        return made
    if claimed == "decimal":
        precision, scale = node.get("precision"), node.get("scale", 0)
        if not _counts(precision) or not _counts(scale) or not 0 <= scale <= precision:
            return made
        made.precision, made.scale = precision or 0, scale
        if precision == 0:
            return made
    made.logical = claimed
    return made


def _counts(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
