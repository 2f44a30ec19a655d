"""R3: the broker is killed again and again, then every worker is replaced: nobody sees an error."""

import asyncio
import signal
import time
from random import Random

import pytest
from fault_run import FULL, FaultRun, Voice, books, calibrate, draw_seed
from real_fleet import members, settled, until

from denoagents.testing.checker import Bars

KILLS = 100 if FULL else 5
RATE = 2000
ACTORS = 300


async def kill_the_broker(run, chance, longest_s):
    """Kill it, leave the fleet alone for a while, start it again where it was."""
    run.fleet.broker.kill()
    run.history.fault("broker kill", "broker")
    await asyncio.sleep(chance.uniform(0.1, longest_s))
    broker = run.fleet.start_broker()
    await until(lambda: broker.told("listening"), 10)


@pytest.mark.timeout(1200 if FULL else 120)
@pytest.mark.asyncio
async def test_r3_a_killed_broker_costs_placed_actors_nothing(tmp_path):
    seed = draw_seed()
    chance = Random(seed)
    with FaultRun(tmp_path, seed) as run:
        run.start_workers(3)
        async with run.fleet.client("load") as client:
            await settled(client)
            before = {name: row["incarnation"] for name, row in (await members(client)).items()}
            targets = run.targets(client, plain=ACTORS // 2, reliable=ACTORS // 2)
            voice = Voice("load", run.history, targets)
            await run.barrier(client, targets)
            carried, _ = await calibrate(voice, RATE, 1.0)
            run.history.plan("broker kill", KILLS, seed)
            is_over = False

            async def drive():
                sent = 0
                while not is_over:
                    sent += (await voice.drive(RATE, 0.5)).sent
                return sent

            driving, begun = asyncio.create_task(drive()), time.monotonic()
            for number in range(KILLS):
                await asyncio.sleep(chance.uniform(0.2, 1.0))
                await kill_the_broker(run, chance, 30.0 if FULL and number % 25 == 24 else 1.5)
            await settled(client, *run.fleet.workers)
            is_over = True
            rate = await driving / (time.monotonic() - begun)
            await voice.settle()
            await run.barrier(client, targets)
            after = {name: row["incarnation"] for name, row in (await members(client)).items()}
            wrong = await books(client)
            run.figures |= {"control msg/s": round(carried), "msg/s": round(rate)}
        verdict = run.verdict(Bars(operations=int(KILLS * 0.5 * min(RATE, 0.7 * carried))))
        run.show("R3 broker kills", verdict)
        assert verdict.is_good, str(verdict)
        assert all(set(counts) == {"ok"} for counts in verdict.outcomes.values()), verdict.outcomes
        assert verdict.lost_tells == 0
        assert not wrong
        assert after == before, "nobody was evicted, nobody had to begin anew"


@pytest.mark.timeout(300 if FULL else 120)
@pytest.mark.asyncio
async def test_r3_a_rolling_restart_under_load_has_no_errors(tmp_path):
    """Each worker in turn: the next one joins, it drains (turns take up to 1 s), it ends with 0."""
    seed, workers = draw_seed(), 6 if FULL else 3
    drains = []
    with FaultRun(tmp_path, seed) as run:
        run.start_workers(workers)
        async with run.fleet.client("load") as client:
            await settled(client)
            targets = run.targets(client, plain=ACTORS // 2, reliable=ACTORS // 2)
            slow = run.slow_targets(client, count=20, seconds=1.0)
            voice = Voice("load", run.history, targets)
            patient = Voice("patient", run.history, slow)
            carried, _ = await calibrate(voice, RATE, 1.0)
            is_over = False

            async def drive():
                sent = 0
                while not is_over:
                    stretch, _ = await asyncio.gather(
                        voice.drive(RATE, 0.5), patient.drive(len(slow) / 2, 0.5)
                    )
                    sent += stretch.sent
                return sent

            driving, begun = asyncio.create_task(drive()), time.monotonic()
            run.history.plan("restart", workers, seed)
            for name in tuple(run.fleet.workers):
                newer = run.replace()
                await until(lambda newer=newer: newer.told("joined"), 20)
                older = run.fleet.workers.pop(name)
                older.signal(signal.SIGTERM)
                asked = time.monotonic()
                assert await older.ended(30) == 0, older.log
                drains.append(time.monotonic() - asked)
                run.history.fault("restart", name)
            is_over = True
            rate = await driving / (time.monotonic() - begun)
            await asyncio.gather(voice.settle(), patient.settle())
            await run.barrier(client, targets)
            wrong = await books(client)
            run.figures |= {
                "control msg/s": round(carried), "msg/s": round(rate),
                "slowest drain": f"{max(drains):.2f} s",
            }  # fmt: skip
        verdict = run.verdict(Bars(operations=int(workers * 0.5 * min(RATE, 0.7 * carried))))
        run.show("R3 rolling restart", verdict)
        assert verdict.is_good, str(verdict)
        assert all(set(counts) == {"ok"} for counts in verdict.outcomes.values()), verdict.outcomes
        assert verdict.lost_tells == 0
        assert not wrong
        assert max(drains) <= 10
