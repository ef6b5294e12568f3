"""The demo as people start it: a process of its own, with a stack of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.cli.demo import INTERRUPTED
from pipeline.cli.show import alone, own_settings
from pipeline.local.components import Component
from pipeline.local.holding import Holding
from pipeline.settings import Settings

ROOT = Path(__file__).parents[3]
WITHIN_S = 240


@pytest.fixture
def start(tmp_path):
    """Starts `milepost demo` in an empty folder; ends it with the test."""
    started = []

    def run(*arguments):
        kept = {name: value for name, value in os.environ.items() if "MILEPOST" not in name}
        cache = os.environ.get("MILEPOST_CACHE_DIR")
        own = {"MILEPOST_STATE_DIR": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli.demo", "demo", *arguments],
            cwd=tmp_path,
            env=kept | own | ({"MILEPOST_CACHE_DIR": cache} if cache else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=WITHIN_S)


def idle(folder):
    """Whether nothing runs in the demo's state directory."""
    return Holding(folder / "state" / "demo").is_idle()


@pytest.mark.kafka
@pytest.mark.slow
def test_a_small_run_keeps_every_promise_and_leaves_nothing_running(start, tmp_path):
    report = tmp_path / "told" / "demo.html"
    process = start("--events", "500", "--seconds", "5", "--report", str(report), "--json")
    told, progress = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 0, progress
    document = json.loads(told)
    assert document["kept"] is True
    assert document["events"] >= 500
    assert document["samples"] > 0
    assert document["after"]["contradictions"] <= document["before"]["contradictions"]
    assert document["after"]["double_postings"] == 0
    assert report.read_text("utf-8").startswith("<!doctype html>")
    assert idle(tmp_path)


@pytest.mark.kafka
@pytest.mark.slow
def test_an_interrupted_run_leaves_nothing_running(start, tmp_path):
    process = start("--events", "500", "--seconds", "60")
    for line in process.stderr:
        if "sending" in line:
            break
    assert not idle(tmp_path)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=WITHIN_S)
    assert process.returncode == INTERRUPTED
    deadline = time.monotonic() + 20
    while not idle(tmp_path):
        assert time.monotonic() < deadline


def test_the_demo_has_a_stack_of_its_own(tmp_path):
    theirs = Settings(state_dir=tmp_path, bootstrap_servers="theirs:9092", erp_url="http://erp")
    own = own_settings(theirs)
    assert own.state_dir == tmp_path / "demo"
    assert own.bootstrap_servers is None
    assert own.erp_url is None


def test_its_processes_do_not_see_the_users_settings(monkeypatch):
    monkeypatch.setenv("MILEPOST_KAFKA_SASL_USERNAME", "somebody")
    given = Component("governor", ["true"], {"MILEPOST_STATE_DIR": "here"})
    seen = alone(given)
    assert seen.env["MILEPOST_KAFKA_SASL_USERNAME"] == ""
    assert seen.env["MILEPOST_STATE_DIR"] == "here"
