"""Every reason says whose turn it is and what to do, with a command that exists."""

import pytest
import typer

from pipeline.cli.main import app
from pipeline.governance.reasons import MEANINGS, FailureClass, Reason
from pipeline.operations import remedies

TURNS = {
    FailureClass.DATA: remedies.SENDER,
    FailureClass.CONFIG: remedies.OWNER,
}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_remedy_with_a_command_that_exists(reason):
    remedy = remedies.remedy(reason)
    assert remedy.todo
    assert remedy.turn
    assert "{" not in remedy.command
    command = typer.main.get_command(app)
    words = remedy.command.split()
    assert words.pop(0) == "milepost"
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    options = {name for parameter in command.params for name in parameter.opts}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert given <= options


@pytest.mark.parametrize("reason", [r for r in Reason if MEANINGS[r].failure in TURNS])
def test_whose_turn_it_is_follows_from_the_class_of_a_dead_letter(reason):
    assert remedies.remedy(reason).turn == TURNS[MEANINGS[reason].failure]


def test_an_example_names_its_own_reason():
    assert "--reason unmapped_status" in remedies.remedy(Reason.UNMAPPED_STATUS).command
