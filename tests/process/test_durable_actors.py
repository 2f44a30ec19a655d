"""Workers that share a store are killed: states, replies, transfers and reminders outlive them."""

import asyncio
import os
import random
import sys
from pathlib import Path

import pytest
from real_fleet import RealFleet, load, refs_on, settled, until

from denoagents import options
from denoagents.errors import DenoagentsError, JoinRefusedError

APP = Path(__file__).parent / "apps" / "banking.py"
SENDER = Path(__file__).parent / "durable_sender.py"
app = load(APP)


@pytest.fixture
def fleet(tmp_path):
    with RealFleet(tmp_path, APP) as fleet:
        fleet.start("a", "b")
        yield fleet


@pytest.mark.asyncio
async def test_every_transfer_has_one_effect_while_workers_are_killed(fleet):
    chance = random.Random(7)
    async with fleet.client() as client:
        await settled(client, "a", "b")
        accounts = [options(client.actor(app.Account, f"k{n}"), timeout_s=25) for n in range(8)]
        await asyncio.gather(*(one.open(1000) for one in accounts))
        expected = [1000] * 8
        asked = 0

        async def drive(me: int) -> None:
            nonlocal asked
            for done in range(1, 61):
                other = chance.randrange(8)
                cents = chance.randrange(1, 20)
                assert await accounts[me].pay(accounts[other], cents) == done
                expected[me] -= cents
                expected[other] += cents
                asked += 1
                await asyncio.sleep(0.03)

        async def kill() -> None:
            for name in "ab":
                await asyncio.sleep(0.6)
                fleet.workers[name].kill()
                await asyncio.sleep(0.3)
                fleet.begin(name)
                await settled(client, "a", "b", seconds=15)

        await asyncio.gather(kill(), *map(drive, range(8)))
        assert asked == 480

        async def are_right() -> bool:
            return [await one.balance() for one in accounts] == expected

        try:
            await until(are_right, 8)
        except AssertionError:
            found = [await one.balance() for one in accounts]
            raise AssertionError(f"{found}, not {expected}; off by {sum(found) - 8000}") from None
        assert sum(expected) == 8000
        assert client.statistics()["accounting"]["off"] == 0


@pytest.mark.asyncio
async def test_reminders_and_states_outlive_all_workers(fleet):
    async with fleet.client() as client:
        await settled(client, "a", "b")
        diary = options(client.actor(app.Diary, "d"), timeout_s=20)
        await diary.remind("soon", 1.5)
        await diary.remind("later", 3600)
        await client.actor(app.Account, "x").open(77)
        for name in "ab":
            fleet.workers[name].kill()
        await asyncio.sleep(1.0)
        fleet.start("a", "b")
        await settled(client, "a", "b", seconds=15)
        assert await options(client.actor(app.Account, "x"), timeout_s=20).balance() == 77

        async def is_reminded() -> bool:
            return await diary.read() == ["soon"]

        await until(is_reminded, 10)
        await asyncio.sleep(0.5)
        assert await diary.read() == ["soon"]


@pytest.mark.asyncio
async def test_a_woken_zombie_writes_nothing(fleet):
    async with fleet.client() as client:
        await settled(client, "a", "b")
        (account,) = await refs_on(client, app.Account, fleet.workers["a"], 1, "z")
        account = options(account, timeout_s=20)
        await account.open(5)
        fence = await account.fence()
        slow = asyncio.ensure_future(account.add_slowly(100, 1.0))
        await asyncio.sleep(0.2)
        fleet.workers["a"].freeze()  # in the middle of its turn
        await settled(client, "b", seconds=15)
        assert await account.balance() in {5, 105}
        later = await account.fence()
        assert later > fence
        fleet.workers["a"].thaw()
        assert await slow == 105  # asked again of the new owner
        await asyncio.sleep(2.0)
        assert await account.balance() == 105


@pytest.mark.asyncio
async def test_a_worker_with_another_store_is_refused_with_the_remedy(fleet):
    other = fleet.begin("c", "--store", fleet.folder / "other.db")
    assert await other.ended(20) == 5
    assert "--store" in other.log
    assert "another one than that of" in other.log
    assert DenoagentsError.by_code["join_refused"] is JoinRefusedError


@pytest.mark.asyncio
async def test_what_a_killed_client_had_sent_durably_is_handled_once(fleet):
    async def send(count: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, SENDER, fleet.endpoint, fleet.folder / "sent.db", str(count),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(SENDER.parents[1])])},
        )  # fmt: skip

    async with fleet.client() as client:
        await settled(client, "a", "b")
        for name in "ab":  # nobody can handle anything while it sends
            fleet.workers[name].freeze()
        sender = await send(200)
        try:
            assert await asyncio.wait_for(sender.stdout.readline(), 20) == b"kept\n"
        finally:
            sender.kill()
            await sender.wait()
        for name in "ab":
            fleet.workers[name].kill()
        fleet.start("a", "b")
        await settled(client, "a", "b", seconds=15)
        account = options(client.actor(app.Account, "target"), timeout_s=20)
        assert await account.balance() <= 200
        sender = await send(0)  # the next life of the same node
        try:
            await until(lambda: _is(account, 200), 15)
        finally:
            await sender.wait()
        assert await account.balance() == 200


async def _is(account: "app.Account", cents: int) -> bool:
    return await account.balance() == cents
