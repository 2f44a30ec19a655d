"""R2: frozen and hogged workers: a short pause costs time alone, a long one costs the worker."""

import asyncio
import time
from random import Random

import pytest
from fault_run import FULL, FaultRun, Voice, app, books, calibrate, draw_seed
from real_fleet import members, refs_on, settled

from denoagents import options
from denoagents.testing.checker import Bars
from denoagents.testing.schedule import Schedule, plan_freezes

RATE = 1000
ACTORS = 200
SHORT_FREEZES = 40 if FULL else 6
HOGS = 20 if FULL else 3
LONG_S = (5.0, 8.0, 12.0, 20.0, 30.0) if FULL else (5.0,)


@pytest.mark.timeout(600 if FULL else 120)
@pytest.mark.asyncio
async def test_r2_pauses_up_to_a_second_evict_nobody(tmp_path):
    """SIGSTOP for 0.05 to 1 s, and handlers that hold the GIL as long: no death, no failure."""
    seed = draw_seed()
    chance = Random(seed)
    with FaultRun(tmp_path, seed) as run:
        run.start_workers(3)
        async with run.fleet.client("load") as client:
            await settled(client)
            before = {name: row["incarnation"] for name, row in (await members(client)).items()}
            targets = run.targets(client, plain=ACTORS // 2, reliable=ACTORS // 2)
            hogs = [
                (await refs_on(client, app.Plain, child, 1, f"hog{name}"))[0]
                for name, child in run.fleet.workers.items()
            ]
            voice = Voice("load", run.history, targets)
            carried, _ = await calibrate(voice, RATE, 1.0)
            schedule = Schedule(
                plan_freezes(seed, SHORT_FREEZES, 0.3, (0.05, 1.0)),
                on_deed=lambda done: run.history.fault("freeze", done.name, done.deed.lasts_s),
            )
            for name, child in run.fleet.workers.items():
                schedule.give(name, child.pid)
            run.history.plan("freeze", SHORT_FREEZES, seed)
            run.history.plan("hog", HOGS, seed)
            last = schedule.deeds[-1]
            driving = asyncio.create_task(
                voice.drive(RATE, last.at_s + last.lasts_s + 0.5 + 1.2 * HOGS)
            )
            await schedule.run()
            for _ in range(HOGS):
                run.history.fault("hog", lasts_s=(seconds := chance.uniform(0.3, 1.0)))
                await options(chance.choice(hogs), timeout_s=20).hog(seconds)
                await asyncio.sleep(0.1)
            rate = (await driving).rate
            await voice.settle()
            await run.barrier(client, targets)
            after = {name: row["incarnation"] for name, row in (await members(client)).items()}
            wrong = await books(client)
            longest = max(deed.lasts_s for deed in schedule.deeds)
            run.figures |= {
                "control msg/s": round(carried), "msg/s": round(rate),
                "freezes": f"{schedule.executed}/{schedule.planned}, up to {longest:.2f} s",
                "hogs": HOGS,
            }  # fmt: skip
        verdict = run.verdict(Bars(operations=int(0.7 * min(RATE, carried) * (last.at_s + 1))))
        run.show("R2 short pauses", verdict)
        assert verdict.is_good, str(verdict)
        assert all(set(counts) == {"ok"} for counts in verdict.outcomes.values()), verdict.outcomes
        assert verdict.lost_tells == 0
        assert not wrong
        assert after == before
        assert "evicted" not in run.fleet.broker.log


async def gone(client, name, incarnation):
    """Returns when the fleet goes on without that incarnation."""
    while True:
        row = (await members(client)).get(name)
        if row is None or row["incarnation"] != incarnation:
            return time.monotonic()
        await asyncio.sleep(0.02)


@pytest.mark.timeout(600 if FULL else 120)
@pytest.mark.asyncio
async def test_r2_a_long_pause_costs_the_worker_within_three_seconds_and_its_zombie_is_mute(
    tmp_path,
):
    """Frozen for 5 s and longer: evicted within 3 s; woken, it starts no turn of its old life."""
    seed = draw_seed()
    chance = Random(seed)
    took = []
    with FaultRun(tmp_path, seed) as run:
        run.start_workers(3)
        async with run.fleet.client("load") as client:
            await settled(client)
            targets = run.targets(client, plain=ACTORS // 2, reliable=ACTORS // 2)
            voice = Voice("load", run.history, targets)
            carried, _ = await calibrate(voice, RATE, 1.0)
            run.history.plan("freeze", len(LONG_S), seed)
            for lasts_s in LONG_S:
                name = chance.choice(sorted(run.fleet.workers))
                frozen = run.fleet.workers[name]
                incarnation = (await members(client))[name]["incarnation"]
                driving = asyncio.create_task(voice.drive(RATE, lasts_s + 2))
                await asyncio.sleep(0.5)
                frozen.freeze()
                begun, begun_ns = time.monotonic(), time.monotonic_ns()
                run.history.fault("freeze", name, lasts_s)
                try:
                    took.append(await gone(client, name, incarnation) - begun)
                    run.history.over(frozen.pid, begun_ns)
                    await asyncio.sleep(begun + lasts_s - time.monotonic())
                finally:
                    frozen.thaw()
                rate = (await driving).rate
                await voice.settle(30)
                await settled(client, *run.fleet.workers)
                assert (await members(client))[name]["incarnation"] != incarnation
            await run.barrier(client, targets)
            wrong = await books(client)
            run.figures |= {
                "control msg/s": round(carried), "msg/s": round(rate),
                "evicted after": ", ".join(f"{one:.2f} s" for one in took),
            }  # fmt: skip
        floor = int(0.7 * min(RATE, carried) * sum(LONG_S))
        verdict = run.verdict(Bars(recovery_max_s=5.0, operations=floor))
        run.show("R2 long pauses", verdict)
        assert verdict.is_good, str(verdict)
        assert verdict.availability.recoveries > 0
        assert not wrong
        assert max(took) <= 3.0
