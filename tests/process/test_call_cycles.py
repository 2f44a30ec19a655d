"""Asks that come back over three processes: named at once, or let in where a class allows it."""

import asyncio
import time
from pathlib import Path

import pytest
from real_fleet import RealFleet, key_of, load, refs_on, settled

from denoagents import options
from denoagents.errors import CallCycleError

APP = Path(__file__).parent / "apps" / "cycling.py"
app = load(APP)


@pytest.mark.asyncio
async def test_a_circle_over_three_processes_raises_with_its_path_and_reentrant_ones_go_on(
    tmp_path,
):
    with RealFleet(tmp_path, APP) as fleet:
        workers = fleet.start("a", "b", "c")
        async with fleet.client() as client:
            await settled(client, "a", "b", "c")
            closed, opened = [], []
            for worker in workers:
                closed += await refs_on(client, app.Link, worker, 1, f"l{worker.name}")
                opened += await refs_on(client, app.Open, worker, 1, f"o{worker.name}")
            a, b, c = [f"Link/{key_of(one)}" for one in closed]
            x, y, z = [f"Open/{key_of(one)}" for one in opened]

            begun = time.monotonic()
            with pytest.raises(CallCycleError) as error:
                await closed[0].go([b, c, a])
            assert f"{a} -> {b} -> {c} -> {a} waits for itself" in str(error.value)
            with pytest.raises(CallCycleError) as error:
                await closed[0].go([x, b, y, b])
            assert f"{b} -> {y} -> {b} waits for itself" in str(error.value)
            assert time.monotonic() - begun < 5, "at once, not at the deadline"

            assert await opened[0].go([y, z, x]) == [x, y, z, x]
            assert await opened[0].go([y, z] * 3 + [x]) == [x, *[y, z] * 3, x]
            assert await opened[0].go([b, x, c, y, x]) == [x, b, x, c, y, x]
            with pytest.raises(CallCycleError):
                await opened[0].go([b, y, c, b])

            # many chains at once, crossing each other but none coming back: no false alarm
            chains = [[a, b, c], [b, c], [c], [x, a], [y, b], [z, c]] * 10
            asked = [options(opened[n % 3], timeout_s=20).go(path) for n, path in enumerate(chains)]
            ends = [path[-1] for path in await asyncio.gather(*asked)]
            assert ends == [path[-1] for path in chains]
            assert await closed[0].count() > 0
