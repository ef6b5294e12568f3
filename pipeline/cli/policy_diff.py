"""`milepost policy diff`: two bundles compared in words; each is a folder, a file or published.

Must never compare them itself: `pipeline.contract.policy_diff` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated, Final

import typer

from pipeline.cli.listing import terminal_width, wrapped
from pipeline.cli.surroundings import explained, surroundings
from pipeline.cli.terminal import FOUND, WRONG_USE, Json, document, fail
from pipeline.contract import policy_diff
from pipeline.contract.bundle import Bundle, load_bundle
from pipeline.contract.policy_diff import SECTIONS, Change
from pipeline.contract.yaml_lines import InvalidFileError
from pipeline.kafka import bundles

IN_FORCE: Final = "in-force"
_Which = Annotated[
    str,
    typer.Argument(help=f"A folder, a file, a published version, or {IN_FORCE}."),
]


def diff(before: _Which, after: _Which, *, as_json: Json = False) -> None:
    """Compare two bundles in words: who gains and loses what, where, from when; what codes mean.

    Folders and files need no Kafka; versions are looked up among those that
    were published.
    """
    with explained():
        old, new = _bundle(before), _bundle(after)
        try:
            changes = policy_diff.diff(old, new)
        except ValueError as error:
            fail(f"{error}: see `milepost policy check`", FOUND)
        if as_json:
            document(
                {
                    "before": {"version": old.version, "digest": old.digest()},
                    "after": {"version": new.version, "digest": new.digest()},
                    "changes": [change.document() for change in changes],
                }
            )
            return
        for line in told(old, new, changes):
            typer.echo(line)


def _bundle(which: str) -> Bundle:
    path = Path(which)
    if path.is_dir():
        try:
            return load_bundle(path)
        except InvalidFileError as error:
            fail(f"{which} holds no bundle that can be used:\n{error}", FOUND)
    if path.is_file():
        try:
            return bundles.read(path.read_bytes())
        except ValueError as error:
            fail(f"{which} holds {error}: give a folder with bundle.yaml, or a document", FOUND)
    settings, where = surroundings()
    if which == IN_FORCE:
        current = bundles.in_force(settings, where.bootstrap)
        if current is None:
            fail("No policy bundle is in force: run `milepost policy publish`", FOUND)
        return current
    published = bundles.published(settings, where.bootstrap)
    if which not in published:
        known = ", ".join(published) or "none"
        fail(f"{which!r} is no folder, no file and no published version ({known})", WRONG_USE)
    return published[which]


def told(old: Bundle, new: Bundle, changes: list[Change]) -> Iterator[str]:
    """How two bundles differ, line by line."""
    width = terminal_width() or 80
    yield f"Bundle {old.version} → {new.version}"
    if not changes:
        yield "They decide alike: nothing differs."
        return
    same: list[str] = []
    for section, group in groupby(changes, key=lambda change: change.section):
        yield ""
        yield SECTIONS[section]
        for change in group:
            first, *rest = wrapped(change.text, "    ", width)
            yield f"  - {first.lstrip()}"
            yield from rest
            if change.details and change.details != same:
                yield from wrapped(f"({', '.join(change.details)})", "      ", width)
                same = change.details
