"""The broker is killed, frozen and started again: placed actors keep talking, nobody is evicted."""

import asyncio

import pytest
from real_fleet import RealFleet, key_of, load, members, refs_on, settled, until

app = load()


@pytest.fixture
def fleet(tmp_path):
    with RealFleet(tmp_path) as fleet:
        fleet.start("a", "b")
        yield fleet


async def version(client):
    return (await client.control("status", {"statistics": False}))["broker"]["version"]


@pytest.mark.asyncio
async def test_a_dead_broker_stops_nobody_and_knows_its_fleet_when_it_is_back(fleet):
    """Longer than a lease without a broker; then it evicts nobody, and joins work again."""
    a, b = fleet.workers["a"], fleet.workers["b"]
    async with fleet.client("caller") as client:
        await settled(client, "a", "b")
        relays = [(await refs_on(client, app.Relay, one, 1, "r"))[0] for one in (a, b)]
        keys = [key_of(one) for one in relays]
        counters = [client.actor(app.Counter, f"c{n}") for n in range(30)]
        await asyncio.gather(*[one.add(1) for one in counters])
        before = await version(client)
        lives = {name: row["incarnation"] for name, row in (await members(client)).items()}

        fleet.broker.kill()
        for number in range(18):  # over 1.8 s: every lease has ended, but for "nobody listens"
            assert len(await relays[0].pass_on([keys[1]], 0.0, "while dead")) == 2
            await asyncio.gather(*[one.add(1) for one in counters])
            fresh = client.actor(app.Counter, f"fresh{number}")
            assert await fresh.add(1) == 1, "new actors are placed without a broker, too"
            await asyncio.sleep(0.1)
        late = fleet.begin("late")  # a join waits for the broker

        fleet.start_broker().wait_for("listening")
        await until(lambda: late.told("joined"))
        await settled(client, "a", "b", "late")
        rows = await members(client)
        assert {name: rows[name]["incarnation"] for name in lives} == lives
        assert await version(client) > before
        assert "evicted" not in fleet.broker.log
        assert [await one.add(1) for one in counters] == [20] * 30, "nothing was lost or moved anew"


@pytest.mark.asyncio
async def test_a_silent_broker_stops_turns_and_its_wake_lets_them_go_on(fleet):
    """Silence may mean that this worker is cut off and replaced: only a refusal renews a lease."""
    async with fleet.client("caller") as client:
        await settled(client, "a", "b")
        counters = [client.actor(app.Counter, f"s{n}") for n in range(10)]
        assert await asyncio.gather(*[one.add(1) for one in counters]) == [1] * 10
        fleet.broker.freeze()
        await asyncio.sleep(1.8)  # stop_after is 1.6 s
        waiting = [asyncio.create_task(one.add(1)) for one in counters]
        done, _ = await asyncio.wait(waiting, timeout=0.5)
        assert not done, "no turn starts without a lease"
        fleet.broker.thaw()
        assert await asyncio.wait_for(asyncio.gather(*waiting), 2) == [2] * 10
        await asyncio.sleep(0.5)
        assert "evicted" not in fleet.broker.log
        assert {"a", "b", "caller"} <= (await members(client)).keys()
