"""A worker is killed: its actors answer again elsewhere, and every ask has its outcome."""

import asyncio
import time

import pytest
from real_fleet import RealFleet, load, members, refs_on, settled

from denoagents import options
from denoagents.errors import OutcomeUnknownError

app = load()


@pytest.fixture
def fleet(tmp_path):
    with RealFleet(tmp_path) as fleet:
        fleet.start("a", "b")
        yield fleet


@pytest.mark.asyncio
async def test_a_killed_workers_actors_answer_again_within_five_seconds(fleet):
    """In-flight asks: idempotent ones are sent once more, others have an unknown outcome."""
    victim, other = fleet.workers["a"], fleet.workers["b"]
    async with fleet.client() as client:
        await settled(client, "a", "b")
        on_victim = await refs_on(client, app.Counter, victim, 20, "c")
        on_other = await refs_on(client, app.Counter, other, 5, "o")
        assert await on_other[0].add(5) == 5
        once_more = [asyncio.create_task(one.answer_slowly(0.7)) for one in on_victim[:5]]
        unknown = [asyncio.create_task(one.add_slowly(1, 0.7)) for one in on_victim[5:10]]
        apart = [asyncio.create_task(one.add_slowly(1, 0.7)) for one in on_other]
        await asyncio.sleep(0.3)
        victim.kill()
        killed = time.monotonic()

        # never sent: asked after the death, held until there is a new owner, run once
        await asyncio.sleep(0.2)
        late = [asyncio.create_task(one.add(7)) for one in on_victim[10:]]
        assert await asyncio.gather(*late) == [7] * 10
        assert time.monotonic() - killed < 5
        assert await asyncio.gather(*once_more) == [other.pid] * 5
        outcomes = await asyncio.gather(*unknown, return_exceptions=True)
        assert [type(one) for one in outcomes] == [OutcomeUnknownError] * 5
        assert "whether it ran is unknown" in str(outcomes[0])
        assert await asyncio.gather(*apart) == [other.pid] * 5, "the others noticed nothing"
        assert await on_other[0].count() == 6

        pids = await asyncio.gather(*[one.where() for one in on_victim])
        assert set(pids) == {other.pid}
        assert [await one.count() for one in on_victim] == [0] * 10 + [7] * 10
        assert "a" not in await members(client)
        books = client.statistics()["accounting"]
        assert books["off"] == 0
        assert books["sender"]["retained"] == 0


@pytest.mark.asyncio
async def test_the_fleet_lives_through_kills_under_load(fleet):
    """Two kills and two joins while 100 actors are asked: only in-flight asks are unknown."""
    async with fleet.client() as client:
        await settled(client, "a", "b")
        refs = [client.actor(app.Counter, f"load{n}") for n in range(100)]
        errors: list[BaseException] = []
        is_over = False

        async def ask(ref):
            answered = 0
            while not is_over:
                try:
                    assert isinstance(await ref.where(), int)
                    answered += 1
                except Exception as error:
                    errors.append(error)
                await asyncio.sleep(0.02)
            return answered

        asking = [asyncio.create_task(ask(ref)) for ref in refs]
        fleet.begin("c")
        await asyncio.sleep(0.8)
        fleet.workers["a"].kill()
        await asyncio.sleep(0.3)
        fleet.begin("d")
        fleet.workers["b"].kill()
        await settled(client, "c", "d")
        is_over = True
        answered = await asyncio.gather(*asking)
        assert min(answered) > 20
        assert errors == [], "idempotent asks survive the death of their owner"
        pids = await asyncio.gather(*[options(ref, timeout_s=2).where() for ref in refs])
        assert set(pids) <= {fleet.workers["c"].pid, fleet.workers["d"].pid}
        assert client.statistics()["accounting"]["off"] == 0
        rows = await members(client)
        assert all(row["statistics"]["accounting"]["off"] == 0 for row in rows.values())
