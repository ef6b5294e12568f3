"""Logs are structured, leave standard output alone, and never show a secret."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog

from pipeline.settings import Settings
from pipeline.telemetry import logs

CANARY = 'canary-"ä\\-7f3a'
SECRETS = {
    "kafka_sasl_password": CANARY,
    "kafka_ssl_key_password": f"{CANARY}-key",
    "registry_username": "me",
    "registry_password": f"{CANARY}-registry",
    "webhook_secret": f"{CANARY}-new,{CANARY}-old",
}


@pytest.fixture(autouse=True)
def _restored():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(params=["console", "json"])
def written(request):
    """Configure logging in both forms; gives what was written so far."""
    out = io.StringIO()
    logs.configure(Settings(log_format=request.param, **SECRETS), "governor", out)
    return out.getvalue


def leak():
    """Log the canary in every way that has leaked secrets somewhere before."""
    log = structlog.get_logger("test")
    log.info("connecting", password="short")
    message = f"with {CANARY}"
    log.info(message, nested={"sasl.password": "short", "list": [{"Authorization": "b"}]})
    log.info("text", value=f"url?key={CANARY}", settings=Settings(**SECRETS))
    log.info("client", config=Settings(**SECRETS).kafka_client())
    log.info("raw", body=CANARY.encode(), pair=("x", f"{CANARY}-old"))
    log.info("database", url="postgresql://user:hunter22@db/portal")
    logging.getLogger("library").warning("failed with %s", CANARY)
    logging.getLogger("library").warning("extra", extra={"api_key": "short", "note": CANARY})
    try:
        {}[f"{CANARY}-registry"]
    except KeyError:
        log.exception("it_failed")
        logging.getLogger("library").exception("it failed")


def test_no_secret_is_ever_written(written):
    leak()
    text = written()
    assert text.count(logs.REDACTED) >= 12
    for form in (CANARY, "canary", "7f3a", "short", "hunter22", "bWU6Y2FuYXJ5"):
        assert form not in text


def test_what_is_no_secret_stays(written):
    structlog.get_logger("test").info("batch_decided", partition=3, offset=17, reason="held")
    text = written()
    for part in ("batch_decided", "partition", "17", "held", "governor"):
        assert part in text


def test_standard_output_is_left_alone(written, capsys):
    leak()
    assert capsys.readouterr().out == ""
    assert written()


def test_machines_get_one_document_a_line():
    out = io.StringIO()
    logs.configure(Settings(log_format="json"), "portal", out)
    structlog.get_logger("test").warning("lagging", partition=3)
    logging.getLogger("library").warning("something %s", "odd")
    first, second = map(json.loads, out.getvalue().splitlines())
    assert first["timestamp"].endswith("Z")
    assert {key: first[key] for key in ("event", "level", "partition", "process")} == {
        "event": "lagging",
        "level": "warning",
        "partition": 3,
        "process": "portal",
    }
    assert (second["event"], second["level"]) == ("something odd", "warning")


def test_less_than_the_level_is_not_written():
    out = io.StringIO()
    logs.configure(Settings(log_level="WARNING"), "portal", out)
    structlog.get_logger("test").info("quiet")
    logging.getLogger("library").info("quiet")
    logging.getLogger("httpx").info("quiet")
    assert out.getvalue() == ""


def test_configuring_again_replaces():
    first, second = io.StringIO(), io.StringIO()
    log = structlog.get_logger("test")
    for out in (first, second):
        logs.configure(Settings(), "portal", out)
        log.info("hello")
    assert first.getvalue().count("hello") == second.getvalue().count("hello") == 1


def test_an_empty_or_tiny_secret_does_not_blank_out_everything():
    out = io.StringIO()
    logs.configure(Settings(registry_password="a", webhook_secret=",,"), "portal", out)
    structlog.get_logger("test").info("a fine day")
    assert "a fine day" in out.getvalue()
