"""The deep health probe (plan 2.8): without a disk, or with a blocked loop, there is no work."""

import asyncio

import pytest
from real_fleet import APP, Child, RealFleet, load, members, refs_on, settled, until

app = load()
FLAGS = [
    word
    for name, value in (("interval", "300ms"), ("timeout", "200ms"), ("unhealthy_threshold", "3"))
    for word in ("--set", f"message_routing.health_check.{name}={value}")
]


@pytest.fixture
def fleet(tmp_path):
    """Two workers; `a` has a temporary folder of its own."""
    with RealFleet(tmp_path, flags=FLAGS) as fleet:
        (tmp_path / "own").mkdir()
        words = ("worker", APP, "--broker", fleet.endpoint, "--name", "a", *FLAGS)
        fleet.workers["a"] = Child("a", tmp_path / "own", *words)
        fleet.children.append(fleet.workers["a"])
        fleet.start("b")
        fleet.workers["a"].wait_for("joined")
        yield fleet


async def is_probed(client):
    rows = (await client.control("get", {"kind": "workers"}))["rows"]
    return all(row["probe"] and row["probe"]["ok"] for row in rows)


async def until_out(client):
    """Wait until `a` is out of the placement; until then it had failed fewer than three times."""
    while True:
        rows = (await client.control("get", {"kind": "workers"}))["rows"]
        (row,) = [one for one in rows if one["name"] == "a"]
        assert row["is_healthy"] == (row["probe_failures"] < 3), row
        if row["state"] == "unhealthy":
            assert row["slots_owned"] == 0
            return row
        await asyncio.sleep(0.01)


async def until_back(client):
    async def is_back():
        row = (await members(client))["a"]
        return row["is_healthy"] and row["state"] == "placed" and row["slots_owned"] > 0

    await until(is_back)
    await settled(client, "a", "b")


@pytest.mark.asyncio
async def test_a_worker_that_cannot_write_gets_no_work_until_it_can(fleet, tmp_path):
    async with fleet.client() as client:
        await settled(client, "a", "b")
        await until(lambda: is_probed(client))
        counters = await refs_on(client, app.Counter, fleet.workers["a"], 5, "c")
        assert await asyncio.gather(*[one.add(7) for one in counters]) == [7] * 5
        (tmp_path / "own").rename(tmp_path / "gone")
        async with asyncio.timeout(5):
            row = await until_out(client)
        assert "FileNotFoundError" in row["probe_reason"]
        await settled(client, "a", "b")
        other = fleet.workers["b"].pid
        assert {await one.where() for one in counters} == {other}
        assert [await one.count() for one in counters] == [7] * 5, "their state moved with them"
        (tmp_path / "gone").rename(tmp_path / "own")
        await until_back(client)
        assert fleet.workers["a"].pid in {await one.where() for one in counters}


@pytest.mark.asyncio
async def test_a_worker_whose_loop_is_blocked_gets_no_work_until_it_is_free(fleet):
    async with fleet.client() as client:
        await settled(client, "a", "b")
        await until(lambda: is_probed(client))
        (busy,) = await refs_on(client, app.Faulty, fleet.workers["a"], 1, "f")
        blocked = asyncio.create_task(busy.block(2.5))
        async with asyncio.timeout(5):
            row = await until_out(client)
        assert "no answer within 0.2 s" in row["probe_reason"]
        assert not blocked.done()
        assert await blocked == "free again"
        await until_back(client)
