"""`milepost up`, `down`, `status` and `doctor`, as a person or a script calls them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from pipeline.cli.local import commands
from pipeline.cli.stack_plan import plan
from pipeline.local.holding import Account, Holding, Part
from pipeline.local.ports import Ports, unused
from pipeline.local.stack import Addresses
from pipeline.settings import load

COMMAND = (sys.executable, "-m", "pipeline.cli.local")


@pytest.fixture
def environment(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("MILEPOST_")]:
        if name != "MILEPOST_CACHE_DIR":
            monkeypatch.delenv(name)
    monkeypatch.setenv("MILEPOST_STATE_DIR", str(tmp_path / "state"))
    return monkeypatch


def milepost(*arguments):
    return CliRunner().invoke(commands, arguments)


def wait_until_complete(folder, process=None, within_s=60):
    deadline = time.monotonic() + within_s
    while (account := Holding(folder).read()) is None or not account.complete:
        assert time.monotonic() < deadline, "not within time"
        assert process is None or process.poll() is None
        time.sleep(0.05)
    return account


def test_status_of_nothing(environment, tmp_path):
    result = milepost("status", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "state_dir": str(tmp_path / "state"),
        "running": False,
        "answers": False,
    }
    assert "milepost up" in milepost("status").stderr


def test_status_tells_where_metrics_are(environment, tmp_path):
    part = Part("governor", 7, None, "http://127.0.0.1:9100/metrics")
    holding = Holding(tmp_path / "state")
    holding.take()
    try:
        holding.tell(Account(os.getpid(), ready=True, parts=(part,)))
        assert "http://127.0.0.1:9100/metrics" in milepost("status").stdout.replace("\n", "")
        (told,) = json.loads(milepost("status", "--json").stdout)["parts"]
        assert told["metrics_url"] == part.metrics_url
    finally:
        holding.release()


def test_status_tells_where_the_mailbox_is(environment, tmp_path):
    holding = Holding(tmp_path / "state")
    holding.take()
    try:
        holding.tell(Account(os.getpid(), ready=True, parts=(Part("mailbox", 7),)))
        told = milepost("status").stdout
        assert f"Files for the mailbox go into {tmp_path / 'state' / 'mailbox'}\n" in told
    finally:
        holding.release()


def test_ending_nothing_is_fine(environment, tmp_path):
    result = milepost("down", "--wipe")
    assert result.exit_code == 0
    assert "Nothing runs" in result.stderr


def test_doctor_without_a_patient(environment):
    result = milepost("doctor")
    assert result.exit_code == 3
    assert "MILEPOST_BOOTSTRAP_SERVERS" in result.stderr


def test_doctor_of_a_kafka_that_is_away(environment):
    environment.setenv("MILEPOST_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    environment.setenv("MILEPOST_REGISTRY_URL", "http://127.0.0.1:1")
    result = milepost("doctor", "--json")
    assert result.exit_code == 3
    assert len(json.loads(result.stdout)["findings"]) == 2


def test_a_wrong_setting_is_wrong_use(environment):
    environment.setenv("MILEPOST_PORTAL_PORT", "http")
    result = milepost("up")
    assert result.exit_code == 2
    assert "MILEPOST_PORTAL_PORT" in result.stderr


def test_up_without_network_says_what_could_not_be_had(environment, tmp_path):
    mirror = tmp_path / "jgo.conf"
    mirror.write_text("[repositories]\ncentral = http://127.0.0.1:1\n")
    environment.setenv("JGO_CONFIG_FILE", str(mirror))
    environment.setenv("MILEPOST_CACHE_DIR", str(tmp_path / "empty"))
    result = milepost("up")
    assert result.exit_code == 3
    assert "could not be downloaded from http://127.0.0.1:1" in result.stderr
    assert not (tmp_path / "state" / "owner.lock").exists()


@pytest.fixture
def up(environment, tmp_path):
    """Run `milepost up` as a process of its own."""
    started = []

    def up(*arguments):
        started.append(
            subprocess.Popen(
                [*COMMAND, "up", *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield up
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_up_on_a_cluster_elsewhere_starts_no_kafka_and_ends_in_order(
    environment, up, tmp_path, number
):
    environment.setenv("MILEPOST_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    environment.setenv("MILEPOST_REGISTRY_URL", "http://127.0.0.1:1")
    process = up("--bare")
    account = wait_until_complete(tmp_path / "state", process)
    assert account.bootstrap == "127.0.0.1:1"
    assert account.parts == ()
    assert milepost("status").exit_code == 3
    assert any("Everything is up" in line for line in process.stderr)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    assert "127.0.0.1:1" in stdout
    assert Holding(tmp_path / "state").is_idle()


@pytest.mark.kafka
@pytest.mark.slow
def test_up_status_doctor_down(environment, tmp_path):
    command = [*COMMAND, "up", "--bare", "--detach"]
    started = subprocess.run(command, capture_output=True, text=True, check=False)
    assert started.returncode == 0, started.stderr
    try:
        account = wait_until_complete(tmp_path / "state")
        assert account.bootstrap in started.stdout
        status = milepost("status", "--json")
        assert status.exit_code == 0
        document = json.loads(status.stdout)
        assert document["bootstrap"] == account.bootstrap
        assert document["registry_url"] == account.registry_url
        assert [part["name"] for part in document["parts"]] == ["kafka-1", "registry"]
        assert milepost("up", "--bare").exit_code == 2
        assert milepost("up", "--bare", "--detach").exit_code == 2
        assert "✓ Kafka answers" in milepost("doctor").stdout
        examined = milepost("doctor", "--json")
        assert examined.exit_code == 1, examined.stdout
        remedies = [one["remedy"] for one in json.loads(examined.stdout)["findings"]]
        assert remedies[0] == "Run `milepost topics apply`"
        assert any("milepost policy publish" in remedy for remedy in remedies)
    finally:
        ended = milepost("down", "--wipe")
    assert ended.exit_code == 0
    assert "Stopped the stack" in ended.stderr
    assert Holding(tmp_path / "state").is_idle()
    assert {path.suffix for path in (tmp_path / "state").iterdir()} == {".lock"}


class TestWhatRuns:
    WHERE = Addresses("127.0.0.1:1", "http://127.0.0.1:2")

    def names(self, tmp_path, *, traffic, **values):
        listed = plan(self.WHERE, Ports(tmp_path / "ports.json"), load(values), traffic=traffic)
        return [one.name for one in listed.steps], [one.name for one in listed.components]

    def test_topics_schemas_and_policy_come_first(self, tmp_path):
        steps, components = self.names(tmp_path, traffic=True)
        assert steps == ["topics", "schemas", "policy"]
        assert components[0] == "governor"
        assert components[-1] == "traffic"

    def test_a_start_never_takes_a_published_policy_back(self, tmp_path):
        listed = plan(self.WHERE, Ports(tmp_path / "ports.json"), load({}), traffic=False)
        policy = next(one for one in listed.steps if one.name == "policy")
        assert policy.argv[-3:] == ("policy", "publish", "--unless-in-force")

    def test_traffic_can_be_switched_off(self, tmp_path):
        assert "traffic" not in self.names(tmp_path, traffic=False)[1]

    def test_an_erp_of_ones_own_is_not_simulated(self, tmp_path):
        assert "simulated-erp" in self.names(tmp_path, traffic=False)[1]
        own = self.names(tmp_path, traffic=False, MILEPOST_ERP_URL="http://erp.example")[1]
        assert "simulated-erp" not in own

    def metered(self, tmp_path, **values):
        listed = plan(self.WHERE, Ports(tmp_path / "ports.json"), load(values), traffic=True)
        return {
            one.name: (int(one.env["MILEPOST_METRICS_PORT"]), one.metrics_url)
            for one in (*listed.steps, *listed.components)
            if "MILEPOST_METRICS_PORT" in one.env
        }

    def test_every_process_with_metrics_has_a_port_of_its_own(self, tmp_path):
        first = unused()
        found = self.metered(tmp_path, MILEPOST_METRICS_PORT=str(first))
        ports = [port for port, _ in found.values()]
        assert list(found) == ["governor", "portal", "webhook", "mailbox", "erp-sink"]
        assert ports[0] == first
        assert ports == sorted(set(ports))
        assert all(url == f"http://127.0.0.1:{port}/metrics" for port, url in found.values())

    def test_a_port_that_is_taken_is_passed_over(self, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = other.getsockname()[1]
            found = self.metered(tmp_path, MILEPOST_METRICS_PORT=str(taken))
        assert taken not in {port for port, _ in found.values()}

    @pytest.mark.parametrize("number", ["0", "65535"])
    def test_where_no_port_follows_free_ones_are_taken(self, tmp_path, number):
        ports = {port for port, _ in self.metered(tmp_path, MILEPOST_METRICS_PORT=number).values()}
        assert len(ports) == 5
        assert 0 not in ports

    def test_without_the_setting_no_process_serves_metrics(self, tmp_path):
        assert self.metered(tmp_path) == {}

    def test_every_process_is_told_where_kafka_is(self, tmp_path):
        listed = plan(self.WHERE, Ports(tmp_path / "ports.json"), load({}), traffic=True)
        for one in (*listed.steps, *listed.components):
            assert one.env["MILEPOST_BOOTSTRAP_SERVERS"] == "127.0.0.1:1"
            assert one.env["MILEPOST_REGISTRY_URL"] == "http://127.0.0.1:2"
