"""House rules for schemas: what keeps a schema readable, evolvable and exact about money and time.

Each rule is here because breaking it has cost somebody a migration: see `schemas/README.md`. Must
never look at other versions of a schema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from pipeline.contract.schema_safety import Flaw
from pipeline.contract.schema_tree import Field, Type

MONEY_WORDS: Final = frozenset(
    {
        *("amount", "balance", "charge", "charges", "cost", "currency", "discount", "duty"),
        *("fee", "fees", "money", "price", "rate", "surcharge", "tax", "total", "vat"),
    }
)
_RECORD_NAME = re.compile(r"^[A-Z][A-Za-z0-9]*$")
_FIELD_NAME = re.compile(r"^[a-z][a-z0-9]*(?:_[a-z0-9]+)*$")
_SYMBOL_NAME = re.compile(r"^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*$")
_TIME_NAME = re.compile(r"(?:^|_)(?:at|time|timestamp|datetime)$")
_TIME_KINDS = {"int", "long", "float", "double", "string"}
_MILLIS = '{"type": "long", "logicalType": "timestamp-millis"}'


def style(tree: Type) -> list[Flaw]:
    """What the house rules hold against a schema that is safe to decode with."""
    flaws: list[Flaw] = []
    if tree.kind != "record":
        flaws.append(Flaw((), str(tree), "a value is a record", "Wrap it in one"))
    seen: set[Type] = set()
    flaws += _type_flaws(tree, tree.unqualified, seen)
    return flaws


def _type_flaws(of: Type, path: str, seen: set[Type]) -> Iterator[Flaw]:
    if of.name:
        if of in seen:
            return
        seen.add(of)
        yield from _named(of, path)
    yield from _logical(of, path)
    if of.kind == "enum":
        yield from _enum(of, path)
    for field in of.fields:
        inner = f"{path}.{field.name}"
        yield from _field(field, inner)
        yield from _type_flaws(field.type, inner, seen)
    for branch in of.branches:
        yield from _type_flaws(branch, path, seen)
    if of.items is not None:
        yield from _type_flaws(of.items, f"{path}[]" if of.kind == "array" else f"{path}{{}}", seen)


def _named(of: Type, path: str) -> Iterator[Flaw]:
    if not _RECORD_NAME.match(of.unqualified):
        why = f"{of.kind} names are written LikeThis"
        yield Flaw(of.location, path, why, f"Rename {of.unqualified}")
    if not of.doc:
        why = f"{of.kind} {of.unqualified} has no doc"
        yield Flaw(of.location, path, why, "Say in a sentence what it stands for")
    if of.aliased:
        why = "aliases are ignored by many readers, so data would be lost in silence"
        yield Flaw(of.location, path, why, "Keep the old name")


def _enum(of: Type, path: str) -> Iterator[Flaw]:
    if of.symbol_default is None:
        why = "an enum without a default: readers fail on the first new symbol"
        yield Flaw(of.location, path, why, 'Add "UNRECOGNISED" and make it the default')
    for symbol in of.symbols:
        if not _SYMBOL_NAME.match(symbol):
            why = f"symbol {symbol}: symbols are written LIKE_THIS"
            yield Flaw(of.location, path, why, f"Rename {symbol}")


def _logical(of: Type, path: str) -> Iterator[Flaw]:
    if of.claimed_logical and not of.logical:
        why = (
            f"logical type {of.claimed_logical} does not apply to this {of.kind}: readers ignore it"
        )
        remedy = "Correct type, precision and scale"
        yield Flaw(of.location, path, why, remedy)
    if "timestamp" in of.logical and of.logical != "timestamp-millis":
        why = f"{of.logical}: times are UTC in milliseconds everywhere here"
        yield Flaw(of.location, path, why, f"Use {_MILLIS}")


def _field(field: Field, path: str) -> Iterator[Flaw]:
    if not _FIELD_NAME.match(field.name):
        yield Flaw(field.location, path, "field names are written like_this", "Rename the field")
    if not field.doc.strip():
        yield Flaw(field.location, path, "the field has no doc", "Say what it holds, with its unit")
    if field.aliased:
        why = "aliases are ignored by many readers, so data would be lost in silence"
        yield Flaw(field.location, path, why, "Keep the old name, or add a new optional field")
    yield from _optional(field, path)
    if field.has_default and not _fits(field.default, _default_type(field.type)):
        why = f"the default {field.default!r} does not fit its type"
        remedy = "Give one that does; for a union, of the first branch"
        yield Flaw(field.location, path, why, remedy)
    kinds = {branch.kind for branch in field.type.branches or [field.type]}
    logicals = {branch.logical for branch in field.type.branches or [field.type]}
    if kinds & {"float", "double"} and MONEY_WORDS & set(field.name.split("_")):
        remedy = 'Use {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 4}'
        yield Flaw(field.location, path, "money in binary fractions loses cents", remedy)
    if _TIME_NAME.search(field.name) and kinds & _TIME_KINDS and not logicals - {""}:
        why = "a time without a logical type: readers can't tell its unit and zone"
        yield Flaw(field.location, path, why, f"Use {_MILLIS}")


def _optional(field: Field, path: str) -> Iterator[Flaw]:
    nulls = [branch.kind == "null" for branch in field.type.branches]
    if field.type.kind == "null":
        yield Flaw(field.location, path, "a field that is always null", "Remove it")
    if not any(nulls):
        return
    if len(nulls) == 1:
        yield Flaw(field.location, path, "a union of null alone", "Give it its real type too")
    if not nulls[0]:
        why = "null is not first in the union, so null can't be its default for older readers"
        yield Flaw(field.location, path, why, 'Write ["null", ...] with "default": null')
    elif not field.has_default or field.default is not None:
        why = "an optional field without the default null"
        yield Flaw(field.location, path, why, 'Add "default": null')


def _default_type(of: Type) -> Type:
    """Up to Avro 1.11 a union's default is of its first branch."""
    return of.branches[0] if of.branches else of


def _fits(value: Any, of: Type) -> bool:
    if of.kind == "record":
        return isinstance(value, dict) and all(
            _fits(value[field.name], _default_type(field.type))
            if field.name in value
            else field.has_default
            for field in of.fields
        )
    if of.items is not None:
        values = value.values() if isinstance(value, dict) else value
        wanted = list if of.kind == "array" else dict
        inner = _default_type(of.items)
        return isinstance(value, wanted) and all(_fits(item, inner) for item in values)
    if of.kind == "enum":
        return value in of.symbols
    if of.kind == "fixed":
        return isinstance(value, str) and len(value) == of.size
    return _PRIMITIVE_FITS[of.kind](value)


def _whole(bits: int) -> Callable[[Any], bool]:
    half = 2 ** (bits - 1)
    return lambda value: isinstance(value, int) and _is_number(value) and -half <= value < half


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _latin(value: Any) -> bool:
    return isinstance(value, str) and all(ord(character) < 256 for character in value)


_PRIMITIVE_FITS: Final[dict[str, Callable[[Any], bool]]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "int": _whole(32),
    "long": _whole(64),
    "float": _is_number,
    "double": _is_number,
    "bytes": _latin,
    "string": lambda value: isinstance(value, str),
}
