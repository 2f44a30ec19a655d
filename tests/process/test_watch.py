"""Watching over processes: stopped and dead actors are told of once, moved ones are not."""

import asyncio
from pathlib import Path

import pytest
from real_fleet import RealFleet, key_of, load, refs_on, settled, until

APP = Path(__file__).parent / "apps" / "watching.py"
app = load(APP)


def names(refs):
    return {f"Target/{key_of(one)}" for one in refs}


async def told(watchers):
    return [address for one in watchers for address, _ in await one.told()]


@pytest.mark.asyncio
async def test_watchers_hear_once_of_stops_and_of_the_death_of_a_worker(tmp_path):
    with RealFleet(tmp_path, APP) as fleet:
        on_a, on_b = fleet.start("a", "b")
        async with fleet.client() as client:
            await settled(client, "a", "b")
            watchers = await refs_on(client, app.Watcher, on_a, 2, "w")
            here = await refs_on(client, app.Target, on_a, 4, "here")
            there = await refs_on(client, app.Target, on_b, 6, "there")
            for one in watchers:
                await one.watch([*here, *there])
            await there[0].stop()
            await here[0].stop()
            expected = sorted([*names(here[:1]), *names(there[:1])] * 2)
            await until(lambda: _are(watchers, expected))
            on_b.kill()
            expected = sorted([*names(here[:1]), *names(there)] * 2)
            await until(lambda: _are(watchers, expected), 15)
            await asyncio.sleep(0.5)
            assert sorted(await told(watchers)) == expected, "once each, and nobody else"
            reasons = {reason for _, reason in await watchers[0].told()}
            assert "it died with its worker" in reasons


@pytest.mark.asyncio
async def test_actors_that_move_are_not_dead_and_their_watches_move_along(tmp_path):
    """Watchers and targets move, by a join and by a drain; then targets end."""
    with RealFleet(tmp_path, APP) as fleet:
        fleet.start("a", "b")
        async with fleet.client() as client:
            await settled(client, "a", "b")
            watchers = [client.actor(app.Watcher, f"w{n}") for n in range(8)]
            targets = [client.actor(app.Target, f"t{n}") for n in range(24)]
            for one in targets:
                await one.add(1)
            for one in watchers:
                await one.watch(targets)
            before = [await one.where() for one in (*watchers, *targets)]
            fleet.start("c")
            await settled(client, "a", "b", "c")
            await client.control("drain", {"name": "a"})
            await settled(client, "b", "c", seconds=20)
            await fleet.workers["a"].ended()
            after = [await one.where() for one in (*watchers, *targets)]
            moved = [one != other for one, other in zip(before, after, strict=True)]
            assert sum(moved[:8]) > 1
            assert sum(moved[8:]) > 4
            await asyncio.sleep(0.3)
            assert await told(watchers) == [], "nobody has ended"
            assert [await one.add(1) for one in targets] == [2] * 24

            for one in targets[:12]:
                await one.stop()
            expected = sorted([*names(targets[:12])] * 8)
            await until(lambda: _are(watchers, expected))

            pids = {one: await one.where() for one in (*watchers, *targets[12:])}
            on_c = [one for one in targets[12:] if pids[one] == fleet.workers["c"].pid]
            left = [one for one in watchers if pids[one] != fleet.workers["c"].pid]
            assert on_c
            fleet.workers["c"].kill()
            expected = sorted([*names(targets[:12]), *names(on_c)] * len(left))
            await until(lambda: _are(left, expected), 15)
            await asyncio.sleep(0.3)
            assert sorted(await told(left)) == expected


async def _are(watchers, expected):
    return sorted(await told(watchers)) == expected
