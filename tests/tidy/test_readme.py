"""What the README and the guides say to type exists, and prints what they say."""

from __future__ import annotations

import re

import pytest
import typer
from repository import ROOT, listed
from typer.testing import CliRunner

from pipeline.cli.main import app

PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMING = ROOT / "docs" / "roadmap.md"
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLE = re.compile(r"^\$ milepost (policy explain .*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(milepost [^`]+|make [a-z]+[^`]*)`")


def said(pattern: str) -> list[tuple[str, str]]:
    """Commands of one kind in code: (page, the rest of the command)."""
    found = []
    for path in PAGES:
        if path == COMING:
            continue
        text = path.read_text("utf-8")
        code = "\n".join(FENCED.findall(text) + INLINE.findall(FENCED.sub("", text)))
        where = path.relative_to(ROOT).as_posix()
        found += [(where, rest) for rest in re.findall(pattern, code, re.MULTILINE)]
    return found


def commands() -> dict[str, set[str]]:
    """Each command, with its subcommands."""
    top = typer.main.get_command(app)
    return {name: set(getattr(below, "commands", {})) for name, below in top.commands.items()}


def test_every_command_that_a_page_names_exists():
    known, unknown = commands(), []
    for where, rest in said(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*milepost ([a-z].*)$"):
        words = [*re.findall(r"[a-z-]+(?:\|[a-z-]+)*", rest.split("#")[0]), ""]
        for name in words[0].split("|"):
            below = known.get(name)
            wanted = words[1].split("|") if below else []
            if below is None or not set(wanted) <= below | {""}:
                unknown.append(f"{where}: milepost {rest}")
    assert not unknown, f"no such command:{listed(unknown)}"


def test_every_target_that_a_page_names_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    unknown = [f"{where}: {name}" for where, name in said(r"^make ([a-z]+)") if name not in targets]
    assert not unknown, f"no such target of the Makefile:{listed(unknown)}"


def test_the_example_of_the_readme_is_what_is_printed(monkeypatch):
    readme = (ROOT / "README.md").read_text("utf-8")
    (block,) = re.findall(
        r"^\$ milepost (policy explain .*?)^```", readme, re.MULTILINE | re.DOTALL
    )
    command, *shown = block.strip().split("\n")
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("MILEPOST_POLICY_DIR", raising=False)
    result = CliRunner().invoke(app, command.split())
    printed = _dateless(result.stdout)
    assert result.exit_code == 0
    assert [line for line in _dateless("\n".join(shown)) if line not in printed] == []


def _dateless(text: str) -> list[str]:
    """Lines without dates: the example's events happened yesterday."""
    return re.sub(r"\d{4}-\d\d-\d\dT", "T", text).split("\n")


@pytest.mark.parametrize("name", ["demo", "test"])
def test_the_two_commands_are_the_readmes(name):
    assert f"\nmake {name} " in (ROOT / "README.md").read_text("utf-8")
