"""Commands whose modules are imported when somebody calls them: help and mistakes answer at once.

Must never know a command.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

from typer.core import TyperCommand, TyperGroup
from typer.main import get_group


class Place(NamedTuple):
    """Where a command is."""

    module: str
    help: str
    """What the list of commands says: the first paragraph of its own help."""
    group: str | None = None
    """Name of the `typer.Typer` that is the command; None: the command is one of `commands`."""

    def load(self, name: str) -> Any:
        """The command itself."""
        found = get_group(getattr(import_module(self.module), self.group or "commands"))
        if self.group is None:
            return found.commands[name]
        found.name = name
        return found


class _Commands(UserDict[str, Any]):
    """Commands by name, loaded when asked for."""

    def __getitem__(self, name: str) -> Any:
        found = self.data[name]
        if isinstance(found, Place):
            found = self.data[name] = found.load(name)
        return found


class LazyGroup(TyperGroup):
    """A group that lists its commands without importing them. `places` are set by a subclass."""

    places: ClassVar[Mapping[str, Place]]

    def __init__(self, **attributes: Any) -> None:
        attributes["commands"] = _Commands(self.places)
        super().__init__(**attributes)

    def list_commands(self, ctx: Any) -> list[str]:
        """Names, in the order of the places."""
        del ctx
        return list(self.places)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """What a list shows of a command."""
        del ctx
        place = self.places.get(cmd_name)
        return None if place is None else TyperCommand(name=cmd_name, help=place.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command to run."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else self.commands[name], rest
