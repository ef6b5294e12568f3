"""What a person in a hurry gets wrong: told in a sentence with what to do, before anything runs."""

import pytest


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    for name in ("MILEPOST_BOOTSTRAP_SERVERS", "MILEPOST_REGISTRY_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MILEPOST_STATE_DIR", str(tmp_path / "state"))


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        ("audit state-at X --as-of tomorrow", "2026-11-25T10:05:00Z"),
        ("claims --platform tms-na --since yesterday", "2h"),
        ("dead-letters list --since yesterday", "2h"),
        ("send missing.json", "missing.json: No such file"),
        ("run source nope", "choose mailbox or webhook"),
        ("run sink nope", "choose portal or erp"),
    ],
)
def test_what_was_typed_is_judged_before_kafka_is_looked_for(milepost, command, remedy):
    told = milepost(*command.split())
    assert told.code == 2
    assert remedy in told.err


@pytest.mark.parametrize(
    "command",
    [
        "audit show X",
        "doctor",
        "policy status",
        "run governor",
        "topics plan",
        "traffic",
        "verify",
    ],
)
def test_where_no_kafka_is_known_it_is_told_how_to_get_one(milepost, command):
    told = milepost(*command.split())
    assert told.code == 3
    assert "`milepost up`" in told.err
    assert "MILEPOST_BOOTSTRAP_SERVERS" in told.err


def test_where_no_kafka_is_known_it_is_told_where_one_was_looked_for(
    milepost, monkeypatch, tmp_path
):
    told = milepost("verify")
    assert f"none runs in {tmp_path / 'state'} (MILEPOST_STATE_DIR)" in told.err
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MILEPOST_STATE_DIR")
    told = milepost("verify")
    relative = "(MILEPOST_STATE_DIR is .milepost, relative to the working directory)"
    assert f"none runs in {tmp_path / '.milepost'} {relative}" in told.err


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("TICK_MS", "soon", "give a whole number"),
        ("TICK_MS", "7", "give 500 or more"),
        ("PORTAL_PORT", "70000", "give 65535 or less"),
        ("LOG_FORMAT", "xml", "give console or json"),
        ("PORTAL_STAFF", "maybe", "give true or false"),
    ],
)
def test_a_setting_that_can_not_be_meant_is_told_with_what_can(
    milepost, monkeypatch, name, value, remedy
):
    monkeypatch.setenv(f"MILEPOST_{name}", value)
    told = milepost("verify")
    assert told.code == 2
    assert f"MILEPOST_{name} is {value!r}: {remedy} (" in told.err


@pytest.mark.parametrize("command", ["audit show X", "doctor"])
@pytest.mark.parametrize(
    ("set_one", "missing"),
    [
        ("MILEPOST_BOOTSTRAP_SERVERS", "MILEPOST_REGISTRY_URL"),
        ("MILEPOST_REGISTRY_URL", "MILEPOST_BOOTSTRAP_SERVERS"),
    ],
)
def test_one_address_without_the_other_is_told(milepost, monkeypatch, command, set_one, missing):
    monkeypatch.setenv(set_one, "http://127.0.0.1:1")
    told = milepost(*command.split())
    assert told.code == 3
    assert f"set {missing} too" in told.err


@pytest.mark.parametrize(("command", "code"), [("schemas register", 3), ("doctor", 2)])
def test_a_registry_address_that_is_none_is_told_with_its_setting(
    milepost, monkeypatch, command, code
):
    monkeypatch.setenv("MILEPOST_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("MILEPOST_REGISTRY_URL", "http://host:port")
    told = milepost(*command.split())
    assert told.code == code
    assert "MILEPOST_REGISTRY_URL" in told.err


@pytest.mark.parametrize("command", ["up --bare", "demo"])
def test_a_state_directory_that_cannot_be_made_is_told(milepost, monkeypatch, tmp_path, command):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MILEPOST_STATE_DIR", str(tmp_path / "file" / "state"))
    told = milepost(*command.split())
    assert told.code == 2
    assert "MILEPOST_STATE_DIR" in told.err


def test_a_file_without_events_is_told(milepost, tmp_path):
    (tmp_path / "none.json").write_text("[]")
    told = milepost("send", tmp_path / "none.json")
    assert told.code == 2
    assert "holds no event" in told.err


def test_a_setting_is_one_line_where_nobody_draws_a_table(milepost):
    lines = milepost("settings").out.splitlines()
    (found,) = [line for line in lines if line.startswith("MILEPOST_MAILBOX_POLL_MS")]
    assert "1000" in found
    assert "How often the mailbox looks" in found
