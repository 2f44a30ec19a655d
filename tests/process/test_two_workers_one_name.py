"""Two workers of one name: the living one keeps it, a dead or frozen one's is free soon."""

import asyncio
import time

import pytest
from real_fleet import RealFleet, load, members, settled

from denoagents import Node
from denoagents.errors import JoinRefusedError

app = load()


@pytest.fixture
def fleet(tmp_path):
    with RealFleet(tmp_path) as fleet:
        fleet.start("a")
        yield fleet


@pytest.mark.asyncio
async def test_a_second_worker_of_a_living_ones_name_is_refused_and_told_who(fleet):
    async with fleet.client("caller") as client:
        await settled(client, "a")
        counter = client.actor(app.Counter, "kept")
        assert await counter.add(1) == 1
        twin = Node(broker=fleet.endpoint, name="a", serve=[app.Counter], group="proving")
        pid = fleet.workers["a"].pid
        with pytest.raises(JoinRefusedError, match=rf"named 'a' is alive.*process {pid}.*another"):
            await twin.start()
        with pytest.raises(JoinRefusedError, match="client named 'caller' is alive"):
            await fleet.client("caller").start()
        assert await counter.add(1) == 2
        assert await counter.where() == pid


@pytest.mark.asyncio
async def test_a_killed_workers_name_is_taken_over_as_soon_as_it_was_silent_long_enough(fleet):
    async with fleet.client("caller") as client:
        await settled(client, "a")
        before = (await members(client))["a"]["incarnation"]
        fleet.workers["a"].kill()
        begun = time.monotonic()
        successor = fleet.begin("a")
        counter = client.actor(app.Counter, "again")
        assert await counter.where() == successor.pid
        assert time.monotonic() - begun < 5
        assert (await members(client))["a"]["incarnation"] != before


@pytest.mark.asyncio
async def test_a_frozen_worker_whose_name_was_taken_wakes_into_a_refusal(fleet):
    """It may not have its name back while its successor lives, and says why it ends."""
    frozen = fleet.workers["a"]
    async with fleet.client("caller") as client:
        await settled(client, "a")
        frozen.freeze()
        await asyncio.sleep(0.5)
        successor = fleet.begin("a")
        counter = client.actor(app.Counter, "again")
        assert await counter.add(1) == 1
        frozen.thaw()
        assert await frozen.ended(10) == 5
        assert "'a' is alive in this fleet" in frozen.log
        assert await counter.add(1) == 2
        assert await counter.where() == successor.pid
