"""R1: workers are killed under load; nothing acknowledged is lost, nothing doubled or reordered."""

import asyncio

import pytest
from fault_run import FULL, FaultRun, Voice, books, calibrate, draw_seed
from real_fleet import settled

from denoagents.testing.checker import Bars
from denoagents.testing.schedule import plan_kills

RATE = 5000
EVERY_S = 5.0 if FULL else 3.5
KILLS = 120 if FULL else 3
ACTORS = 1000


@pytest.mark.timeout(1200 if FULL else 120)
@pytest.mark.asyncio
async def test_r1_kills_lose_nothing_acknowledged_and_double_nothing(tmp_path):
    """A random one of four workers, every few seconds; half of the messages are reliable."""
    seed = draw_seed()
    with FaultRun(tmp_path, seed) as run:
        run.start_workers(4)
        async with run.fleet.client("load") as client:
            await settled(client)
            targets = run.targets(client, plain=ACTORS // 2, reliable=300, durable=200)
            voice = Voice("load", run.history, targets)
            carried, _ = await calibrate(voice, RATE)
            floor = RATE if FULL else min(RATE, 0.8 * carried)
            schedule = run.kills(plan_kills(seed, KILLS, EVERY_S, jitter_s=0.5))
            killing = asyncio.create_task(schedule.run())
            stretch = await voice.drive(RATE, EVERY_S * KILLS + 3.5)
            await killing
            await voice.settle(30)
            await settled(client, *run.fleet.workers)
            await run.barrier(client, targets)
            wrong = await books(client)
            run.figures |= {
                "control msg/s": round(carried), "msg/s under kills": round(stretch.rate),
                "kills": f"{schedule.executed}/{schedule.planned}",
                "unknown by the books": client.statistics()["accounting"]["sender"]["unknown"],
            }  # fmt: skip
        bars = Bars(recovery_p99_s=3.0, recovery_max_s=5.0, operations=int(floor * stretch.seconds))
        verdict = run.verdict(bars)
        run.show("R1 kills", verdict)
        assert verdict.is_good, str(verdict)
        assert not wrong
        assert schedule.executed == schedule.planned == KILLS
        assert verdict.availability.recoveries >= KILLS * ACTORS // 8, "the kills met actors"


@pytest.mark.timeout(600 if FULL else 120)
@pytest.mark.asyncio
async def test_r1_deaths_that_overlap_double_and_lose_nothing(tmp_path):
    """Workers die while others take over from those that died before; recovery takes longer."""
    seed, kills = draw_seed(), 40 if FULL else 5
    with FaultRun(tmp_path, seed) as run:
        run.start_workers(4)
        async with run.fleet.client("load") as client:
            await settled(client)
            targets = run.targets(client, plain=500, reliable=300, durable=200)
            voice = Voice("load", run.history, targets)
            carried, _ = await calibrate(voice, RATE * 0.6, 1.0)
            schedule = run.kills(plan_kills(seed, kills, 1.0, jitter_s=0.9))
            killing = asyncio.create_task(schedule.run())
            stretch = await voice.drive(RATE * 0.6, kills + 3)
            await killing
            await voice.settle(40)
            await settled(client, *run.fleet.workers, seconds=20)
            await run.barrier(client, targets)
            wrong = await books(client)
            run.figures |= {
                "control msg/s": round(carried), "msg/s under kills": round(stretch.rate),
                "kills": f"{schedule.executed}/{schedule.planned}",
            }  # fmt: skip
        verdict = run.verdict(Bars(operations=int(0.8 * carried * stretch.seconds)))
        run.show("R1 overlapping deaths", verdict)
        assert verdict.is_good, str(verdict)
        assert not wrong
        assert schedule.executed == kills
