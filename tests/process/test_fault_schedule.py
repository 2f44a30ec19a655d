"""Kill and freeze schedules: seeded, bounded, only processes that were given, all counted."""

import asyncio
import os
import subprocess
import sys
import time

import psutil
import pytest

from denoagents.errors import UsageError
from denoagents.testing.schedule import (
    Deed,
    Schedule,
    count_by_kind,
    is_there,
    plan_freezes,
    plan_kills,
)


@pytest.fixture
def sleepers():
    words = [sys.executable, "-c", "import time; time.sleep(60)"]
    found = {name: subprocess.Popen(words) for name in "abc"}
    yield found
    for one in found.values():
        one.kill()
        one.wait()


def test_the_same_seed_is_the_same_plan():
    assert plan_kills(1, 5, 2.0, 0.5) == plan_kills(1, 5, 2.0, 0.5) != plan_kills(2, 5, 2.0, 0.5)
    freezes = plan_freezes(1, 50, 1.0, (0.05, 30.0))
    assert freezes == plan_freezes(1, 50, 1.0, (0.05, 30.0))
    assert all(0.05 <= one.lasts_s <= 30 for one in freezes)
    assert min(one.lasts_s for one in freezes) < 0.2
    assert max(one.lasts_s for one in freezes) > 10
    times = [one.at_s for one in freezes]
    assert times == sorted(times)
    assert count_by_kind(freezes) == {"freeze": 50}


@pytest.mark.asyncio
async def test_kills_hit_only_who_was_given_and_each_once(sleepers):
    schedule = Schedule(plan_kills(3, 3, 0.05))
    schedule.give("a", sleepers["a"].pid)
    schedule.give("b", sleepers["b"].pid)
    done = await schedule.run()
    assert {one.pid for one in done} == {sleepers["a"].pid, sleepers["b"].pid}
    assert (schedule.planned, schedule.executed) == (3, 2), "nobody was left for the third"
    assert sleepers["c"].poll() is None
    assert sleepers["a"].wait(5) == sleepers["b"].wait(5) == -9


@pytest.mark.asyncio
async def test_a_frozen_process_is_woken_when_its_time_is_over(sleepers):
    frozen, woken = [], []
    status = psutil.Process(sleepers["a"].pid).status
    schedule = Schedule(
        (Deed(0.0, "freeze", 0.0, 0.2),),
        on_deed=lambda one: frozen.append((one, time.monotonic())),
        on_woken=lambda one: woken.append((one, time.monotonic())),
    )
    schedule.give("a", sleepers["a"].pid)
    task = asyncio.create_task(schedule.run())
    await asyncio.sleep(0.1)
    assert status() == psutil.STATUS_STOPPED
    await task
    assert status() != psutil.STATUS_STOPPED
    assert 0.2 <= woken[0][1] - frozen[0][1] < 0.4


@pytest.mark.asyncio
async def test_a_cancelled_schedule_leaves_nobody_frozen(sleepers):
    schedule = Schedule((Deed(0.0, "freeze", 0.0, 30),))
    schedule.give("a", sleepers["a"].pid)
    task = asyncio.create_task(schedule.run())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert psutil.Process(sleepers["a"].pid).status() != psutil.STATUS_STOPPED


@pytest.mark.asyncio
async def test_a_process_that_has_ended_is_not_mistaken_for_its_ids_next_owner(sleepers):
    schedule = Schedule((Deed(0.0, "kill", 0.0),))
    schedule.give("a", sleepers["a"].pid)
    process = schedule._given["a"]
    process._create_time = process._ident = None  # what psutil compares: another process by now
    process._ident = (process.pid, 1.0)
    assert not is_there(process)
    await schedule.run()
    assert schedule.executed == 0
    assert sleepers["a"].poll() is None


def test_a_schedule_takes_neither_itself_nor_its_parent():
    for pid in (0, 1, os.getpid(), os.getppid()):
        with pytest.raises(UsageError):
            Schedule(()).give("me", pid)
