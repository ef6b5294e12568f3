"""`milepost policy activate`: put a bundle in force that is published already, shown first.

Must never publish a document: what was published stays as it is.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from typing import Annotated

import typer

from pipeline.cli.policy_diff import told
from pipeline.cli.surroundings import explained, surroundings
from pipeline.cli.terminal import FOUND, WRONG_USE, Json, document, fail
from pipeline.contract import policy_diff
from pipeline.contract.bundle import Bundle
from pipeline.contract.policy_diff import Change
from pipeline.contract.policy_tables import compile_policy
from pipeline.kafka import bundles
from pipeline.kafka.registry import Registry
from pipeline.settings import Settings


def activate(
    version: Annotated[str, typer.Argument(help="A version that was published.")],
    by: Annotated[str | None, typer.Option(help="Who wants it; default: you.")] = None,
    why: Annotated[str, typer.Option(help="Reason, for the record.")] = "activated",
    *,
    go: Annotated[
        bool, typer.Option("--go", help="Really do it; without it, only show what changes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Put a bundle in force that is published already, for instance the former one; needs no files.

    Shows only what changes, unless --go. What was decided stays, as with `policy publish`.
    """
    with explained():
        settings, where = surroundings()
        new = _published(settings, where.bootstrap, version)
        due = bundles.due(settings, where.bootstrap, version)
        old = bundles.in_force(settings, where.bootstrap) if due else None
        changes = None if old is None else _changes(old, new)
        if due and go:
            with Registry.of(settings, where.registry_url) as registry:
                bundles.publish(
                    settings, where.bootstrap, registry, new, by=by or getpass.getuser(), why=why
                )
        if as_json:
            document(
                {
                    "version": version,
                    "before": None if old is None else old.version,
                    "changes": None if changes is None else [item.document() for item in changes],
                    "due": due,
                    "activated": due if go else [],
                    "dry_run": not go,
                }
            )
            return
        for line in _told(old, new, changes, due, go=go):
            typer.echo(line)


def _published(settings: Settings, bootstrap: str, version: str) -> Bundle:
    """A published bundle that a governor can work with."""
    documents = bundles.documents(settings, bootstrap)
    if version not in documents:
        known = ", ".join(documents) or "none is"
        fail(f"No bundle {version!r} is published; published: {known}", WRONG_USE)
    try:
        found = bundles.read(documents[version])
        compile_policy(found)
    except ValueError as error:
        fail(f"Bundle {version} can't be put in force: {error}", FOUND)
    return found


def _changes(old: Bundle, new: Bundle) -> list[Change] | None:
    """How they differ; None: what is in force is past comparing, which is a reason to go back."""
    try:
        return policy_diff.diff(old, new)
    except ValueError:
        return None


def _told(
    old: Bundle | None, new: Bundle, changes: list[Change] | None, due: list[int], *, go: bool
) -> Iterator[str]:
    if not due:
        yield f"Bundle {new.version} is in force everywhere already."
        return
    if old is None or changes is None:
        yield f"Bundle {new.version}: nothing that it could be compared with is in force."
    elif old.version == new.version:
        yield f"Bundle {new.version} is in force, but not on partitions {due}."
    else:
        yield from told(old, new, changes)
    yield ""
    if go:
        yield f"Bundle {new.version} activated on partitions {due}."
    else:
        yield "Nothing was activated. Add --go and --why to do it."
