"""What a block says, held against what a replay of it says. Must never decide which is right."""

from __future__ import annotations

from typing import Any, Final

Record = dict[str, Any]
_CHAINED: Final = frozenset({"previous_hash"})
_VALUE_CHARACTERS: Final = 80


def difference(recorded: Record, replayed: Record) -> str:
    """The first difference of two blocks, told; empty: they say the same."""
    for name, said in recorded.items():
        given = replayed[name]
        if said == given or name in _CHAINED:
            continue
        if isinstance(said, list):
            return _in_rows(name, said, given)
        return f"{name} is {_short(said)}, the replay gives {_short(given)}"
    return ""


def _in_rows(name: str, said: list[Any], given: list[Any]) -> str:
    for at, (one, other) in enumerate(zip(said, given, strict=False)):
        if one == other:
            continue
        fields = [field for field in one if one[field] != other[field]]
        told = f"{fields[0]} is {_short(one[fields[0]])}, the replay gives"
        return f"{name}[{at}].{told} {_short(other[fields[0]])}"
    return f"{len(said)} {name}, the replay gives {len(given)}"


def _short(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else repr(value)
    return text if len(text) <= _VALUE_CHARACTERS else f"{text[:_VALUE_CHARACTERS]}…"
