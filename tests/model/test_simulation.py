"""A whole fleet in virtual time: real nodes and brokers, seeded faults, all rules of the semantics.

`DENOAGENTS_FULL=1` plays two thousand stories instead of two hundred. A failing one names the
command that replays it.
"""

import os
import subprocess
import sys

import pytest

from denoagents.testing.simulation import play

SEEDS = 2000 if os.environ.get("DENOAGENTS_FULL", "") not in {"", "0"} else 200
CHUNK = 5


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_rule_holds_in_every_story(first):
    endings = [play(seed) for seed in range(first, first + CHUNK)]
    broken = [f"{ending.command}: {ending.violations}" for ending in endings if ending.violations]
    assert not broken, "\n".join(broken)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(3, SEEDS, SEEDS // 8))
def test_the_same_seed_has_the_same_trace(seed):
    assert play(seed).digest == play(seed).digest


@pytest.mark.timeout(60)
def test_the_same_seed_is_the_same_story_in_another_process_too():
    here = str(play(7))
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "denoagents.testing.simulation", "--seed", "7"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.splitlines()[0] == here
