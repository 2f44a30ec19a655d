"""A frozen worker: its actors answer elsewhere; woken, it starts nothing and is not heard."""

import asyncio
import json
import signal
import subprocess
import sys
import time

import pytest
from real_fleet import APP, RealFleet, key_of, load, members, refs_on, settled, until

from denoagents.errors import OutcomeUnknownError

app = load()


@pytest.fixture
def fleet(tmp_path):
    with RealFleet(tmp_path) as fleet:
        fleet.start("a", "b")
        yield fleet


@pytest.mark.asyncio
async def test_a_woken_worker_starts_no_turn_and_is_refused(fleet, tmp_path):
    frozen, other = fleet.workers["a"], fleet.workers["b"]
    trace = tmp_path / "trace"
    async with fleet.client() as client:
        await settled(client, "a", "b")
        (busy,) = await refs_on(client, app.Counter, frozen, 1, "busy")
        moved = await refs_on(client, app.Counter, frozen, 10, "m")
        witnesses = await refs_on(client, app.Counter, other, 3, "w")
        keys = [key_of(one) for one in witnesses]
        await busy.add_and_tell(0, 0.0, keys, str(trace))  # the link between the two workers stands
        trace.unlink()
        first_life = (await members(client))["a"]["incarnation"]

        interrupted = asyncio.create_task(busy.add_and_tell(1000, 0.6, keys, str(trace)))
        await asyncio.sleep(0.1)
        waiting = [asyncio.create_task(busy.add_and_write(n, str(trace))) for n in range(20)]
        await asyncio.sleep(0.1)
        frozen.freeze()
        begun = time.monotonic()

        assert set(await asyncio.gather(*[one.where() for one in moved])) == {other.pid}
        assert await asyncio.gather(*[one.add(1) for one in moved]) == [1] * 10
        assert await busy.add(5) == 5, "it lives elsewhere, anew"
        assert time.monotonic() - begun < 5
        assert await busy.where() == other.pid
        outcomes = await asyncio.gather(interrupted, *waiting, return_exceptions=True)
        assert {type(one) for one in outcomes} == {OutcomeUnknownError}
        assert not trace.exists()

        frozen.thaw()
        await until(lambda: "begins anew" in frozen.log)
        assert trace.read_text() == "1000\n", "the running turn goes on; no waiting one starts"
        assert [await one.count() for one in witnesses] == [0] * 3, "what it sends is refused"
        await settled(client, "a", "b")
        assert (await members(client))["a"]["incarnation"] != first_life
        assert frozen.code is None, "it joined again, as another incarnation"
        assert await busy.count() == 5
        assert [await one.count() for one in moved] == [1] * 10, "hand-over back kept their state"
        assert trace.read_text() == "1000\n"


@pytest.mark.asyncio
async def test_a_short_freeze_costs_time_and_nothing_else(fleet):
    frozen = fleet.workers["a"]
    async with fleet.client() as client:
        await settled(client, "a", "b")
        refs = await refs_on(client, app.Counter, frozen, 10, "s")
        frozen.freeze()
        asks = [asyncio.create_task(one.add(1)) for one in refs]
        await asyncio.sleep(1.2)
        assert not any(one.done() for one in asks)
        frozen.thaw()
        assert await asyncio.gather(*asks) == [1] * 10
        assert await refs[0].where() == frozen.pid
        assert "evicted" not in fleet.broker.log


class Caller:
    """The client of apps/caller.py, and what it has counted."""

    def __init__(self, fleet, folder):
        self.output = folder / "caller.out"
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, APP.parent / "caller.py", fleet.endpoint], stdout=file, cwd=folder
            )

    def tally(self):
        lines = [line for line in self.output.read_text().splitlines() if line.startswith("{")]
        return json.loads(lines[-1]) if lines else {}


@pytest.fixture
def caller(fleet, tmp_path):
    caller = Caller(fleet, tmp_path)
    yield caller
    caller.process.kill()
    caller.process.wait()


@pytest.mark.asyncio
async def test_a_client_that_was_frozen_for_long_goes_on_when_it_wakes(fleet, caller):
    """The fleet has given it up meanwhile: it comes back by itself, as another incarnation."""
    async with fleet.client("watching") as client:
        await until(lambda: caller.tally().get("answers", 0) > 20)
        caller.process.send_signal(signal.SIGSTOP)

        async def is_given_up():
            return "caller" not in await members(client)

        await until(is_given_up, 5)
        before = caller.tally()["answers"]
        caller.process.send_signal(signal.SIGCONT)
        await until(lambda: caller.tally()["answers"] > before + 50, 8)
        assert "caller" in await members(client)
        assert sum(caller.tally().values()) - caller.tally()["answers"] < 10, caller.tally()
        counted = await client.actor(app.Counter, "called").count()
        assert counted >= caller.tally()["answers"] - 1
