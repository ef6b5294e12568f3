"""Simulated worlds: every invariant holds in each, and a seed decides everything."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest
from typer.testing import CliRunner

from pipeline.cli.main import app
from pipeline.cli.simulate import SEEDS
from pipeline.contract import codec, names
from pipeline.governance.alerts import AlertKind
from pipeline.testing.simulation import campaign
from pipeline.testing.simulation.audit import INVARIANTS
from pipeline.testing.simulation.campaign import run, run_all
from pipeline.testing.simulation.violation import ViolationError
from pipeline.testing.simulation.world import FAULTS, World


@pytest.mark.slow
def test_two_thousand_worlds_keep_every_promise():
    broken = [o for o in run_all(range(2_000), campaign.cores()) if o.invariant]
    assert not broken, "\n".join(
        f"milepost simulate --seed {o.seed}: step {o.steps}, {o.invariant}: {o.found}"
        for o in broken
    )


def test_two_runs_of_a_seed_are_byte_equal():
    assert [run(seed) for seed in range(5)] == [run(seed) for seed in range(5)]
    assert len({run(seed).digest for seed in range(5)}) == 5


def test_neither_processes_nor_hash_seeds_matter():
    told = {
        subprocess.run(
            [sys.executable, "-m", "pipeline.cli.main", *options.split()],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed, options in (
            ("1", "simulate --seeds 0..29 --json --jobs 1"),
            ("2", "simulate --seeds 0..29 --json --jobs 2"),
        )
    }
    assert len(told) == 1


def test_worlds_reach_what_they_are_made_for():
    """Or the invariants would say nothing."""
    struck, fates, alerts, processes = Counter(), Counter(), Counter(), 0
    for seed in range(250):
        world = World(seed)
        world.run()
        struck += world.struck
        fates += world.audit.fates
        processes += world.processes
        alerts.update(alert["kind"] for alert in alerts_of(world))
    assert processes > 300
    assert set(struck) == set(FAULTS)
    assert alerts[AlertKind.DEAD_LETTER_BRAKE] > 5
    assert set(fates) >= {
        "reference_bound", "uncorrelated", "wrong_partition", "awaiting_owner", "owner_silent",
        "owner_corrected", "retracted_by_author", "replaced_by_newer", "restated", "repeated",
        "link_applied", "region_unresolved", "stop_unresolved", "past_redecided",
        "platform_held_back", "platform_released", "policy_activated",
        "undecodable", "trailing_bytes", "record_too_large", "unknown_schema",
        "schema_not_allowed", "wrong_topic", "unmapped_status", "awaiting_predecessor",
        "retraction_target_unknown", "watermark_moved", "unknown_platform",
    }  # fmt: skip


def alerts_of(world):
    for (topic, _), log in world.broker.logs.items():
        if topic == names.ALERTS:
            for entry in log.read(0, log.end)[0]:
                yield codec.decode(entry.value, codec.committed("alert"))


@pytest.fixture
def simulate():
    def call(*options):
        return CliRunner().invoke(app, ["simulate", *options])

    return call


@pytest.fixture
def broken_at(monkeypatch):
    """Have seed 3 find something at its 50th step."""
    real = World._step

    def step(self):
        if self.seed == 3 and self.steps == 50:
            raise ViolationError("once", "revision 2 where 1 is due")
        return real(self)

    monkeypatch.setattr(World, "_step", step)


def test_one_seed_tells_what_happened(simulate):
    told = simulate("--seed", "3", "--trace")
    assert told.exit_code == 0
    assert "w0.0             starts" in told.stdout
    assert run(3).digest in told.stdout
    assert "Every invariant held after every step" in told.stdout


def test_a_seed_that_fails_names_the_command_that_runs_it_again(simulate, broken_at):
    told = simulate("--seeds", "0..5", "--jobs", "1")
    assert told.exit_code == 1
    assert "Seed 3, step 50: once does not hold." in told.stdout
    assert INVARIANTS["once"] in told.stdout
    assert "revision 2 where 1 is due" in told.stdout
    assert "milepost simulate --seed 3 --trace" in told.stdout
    alone = simulate("--seed", "3")
    assert alone.exit_code == 1
    assert "What happened last:" in alone.stdout


@pytest.mark.parametrize("options", ["--seeds 5", "--seeds 5..1", "--seeds a..b", "--trace"])
def test_what_can_not_be_meant_is_wrong_use(simulate, options):
    told = simulate(*options.split())
    assert told.exit_code == 2
    assert SEEDS in told.stderr or "--seed" in told.stderr
