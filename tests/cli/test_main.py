"""The command itself: what it lists without importing it, and what it never imports for that."""

import subprocess
import sys
from importlib.metadata import version

import pytest
import typer

from pipeline.cli.main import app

TOP = typer.main.get_command(app)
HEAVY = {"confluent_kafka", "faust", "fastapi", "httpx", "sqlalchemy"}


@pytest.mark.parametrize("name", TOP.list_commands(None))
def test_what_the_list_says_of_a_command_is_the_first_paragraph_of_its_help(name):
    listed, command = TOP.get_command(None, name), TOP.commands[name]
    first, *_ = command.help.split("\n\n")
    assert (listed.name, listed.help) == (command.name, " ".join(first.split()))


@pytest.mark.parametrize("argument", ["--help", "--version", "settings"])
def test_what_needs_no_cluster_loads_nothing_that_talks_to_one(argument):
    code = (
        "import sys; from pipeline.cli.main import app\n"
        f"app([{argument!r}], standalone_mode=False)\n"
        f"sys.exit(len(sys.modules.keys() & {HEAVY!r}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_version_is_the_packages(milepost):
    assert milepost("--version").out == f"milepost {version('milepost')}\n"


def test_a_mistyped_command_is_told_what_it_may_have_meant(milepost):
    told = milepost("sttings")
    assert told.code == 2
    assert "'settings'" in told.err
