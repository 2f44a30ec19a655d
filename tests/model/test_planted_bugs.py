"""The simulator catches each planted bug: who searches must be able to find.

The short form tries the seeds noted beside a bug, and further ones if the code has changed since;
`DENOAGENTS_FULL=1` draws them at random.
"""

import os
from itertools import chain
from random import SystemRandom

import pytest
from model.planted_bugs import PLANTED
from model.planted_durable_bugs import PLANTED_DURABLE

from denoagents.testing.simulation import play

IS_FULL = os.environ.get("DENOAGENTS_FULL", "") not in {"", "0"}
ALL = (*PLANTED, *PLANTED_DURABLE)
SEEDS = 1000
"""A bug that so many stories do not show counts as missed."""


def seeds_for(planted):
    if IS_FULL:
        return SystemRandom().sample(range(10_000, 1_000_000), SEEDS)
    return chain(planted.seeds, range(SEEDS))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("planted", [one for one in ALL if IS_FULL or not one.is_rare], ids=repr)
def test_a_planted_bug_is_caught(planted, monkeypatch):
    planted.plant(monkeypatch)
    for count, seed in enumerate(seeds_for(planted), 1):
        found = play(seed, **planted.how).violations
        if found:
            print(f"caught by story {count}, seed {seed}: {found[0]}")
            monkeypatch.undo()
            healthy = play(seed, **planted.how)
            if not healthy.violations:
                return
            print("but it breaks a rule without the bug, too")
            planted.plant(monkeypatch)
    pytest.fail(f"{SEEDS} stories did not show it")


def test_there_are_enough_planted_bugs():
    assert len(ALL) >= 12
