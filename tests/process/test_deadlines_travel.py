"""Deadlines, priorities and cancellation travel from a client through three worker processes."""

import asyncio
import time
from collections import Counter

import pytest
from real_fleet import RealFleet, key_of, load, refs_on, settled, until

from denoagents import options, tell
from denoagents.errors import ExpiredError, RequestTimeoutError

app = load()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    with RealFleet(tmp_path_factory.mktemp("deadlines")) as fleet:
        fleet.start("a", "b", "c")
        yield fleet


class Path:
    """A relay in each worker, and who sees what happens in the last."""

    def __init__(self, refs, witness):
        self.first, self.last = refs[0], refs[-1]
        self.rest = [key_of(one) for one in refs[1:]]
        self.witness = witness


async def path_through(client, fleet, key):
    await settled(client, "a", "b", "c")
    workers = [fleet.workers[name] for name in "abc"]
    refs = [(await refs_on(client, app.Relay, one, 1, key))[0] for one in workers]
    (witness,) = await refs_on(client, app.Witness, workers[-1], 1, key)
    return Path(refs, witness)


@pytest.mark.asyncio
async def test_a_deadline_shrinks_on_its_way_and_cannot_be_lengthened(fleet):
    async with fleet.client() as client:
        path = await path_through(client, fleet, "shrink")
        asked = options(path.first, timeout_s=2)
        for method in (asked.pass_on, asked.pass_on_longer):
            left = await method(path.rest, 0.0, "shrink")
            assert len(left) == 3
            assert 2 >= left[0] >= left[1] >= left[2] > 1


@pytest.mark.asyncio
async def test_an_expired_request_is_never_started(fleet):
    """Neither when its asker still waits for it, nor when nobody does."""
    async with fleet.client() as client:
        path = await path_through(client, fleet, "expire")
        busy = asyncio.create_task(path.last.pass_on([], 0.6, "busy"))
        await asyncio.sleep(0.1)
        late = options(path.last, timeout_s=0.2)
        asks = [asyncio.create_task(late.pass_on([], 0.0, "expired")) for _ in range(20)]
        for _ in range(20):
            await tell(late.pass_on, [], 0.0, "expired")
        outcomes = await asyncio.gather(*asks, return_exceptions=True)
        assert {type(one) for one in outcomes} <= {RequestTimeoutError, ExpiredError}
        await busy
        assert await path.last.pass_on([], 0.0, "after")
        assert await path.witness.seen("expired") == []
        row = (await client.control("status"))["nodes"]
        books = next(one["statistics"]["accounting"] for one in row if one["name"] == "c")
        assert books["receiver"]["expired"] >= 20
        assert books["off"] == 0


@pytest.mark.asyncio
async def test_a_cancelled_task_of_the_client_reaches_the_last_running_turn(fleet):
    async with fleet.client() as client:
        path = await path_through(client, fleet, "cancel")
        asking = asyncio.create_task(path.first.pass_on(path.rest, 20.0, "c"))
        await until(lambda: path.witness.seen("c"))
        asking.cancel()
        begun = time.monotonic()
        await until(lambda: path.witness.seen("c cancelled"))
        assert time.monotonic() - begun < 1
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert len(await path.first.pass_on(path.rest, 0.0, "c2")) == 3, "all three go on"


@pytest.mark.asyncio
async def test_a_passed_deadline_reaches_the_last_running_turn(fleet):
    async with fleet.client() as client:
        path = await path_through(client, fleet, "passed")
        with pytest.raises(RequestTimeoutError, match="whether it ran is unknown"):
            await options(path.first, timeout_s=0.3).pass_on(path.rest, 20.0, "p")
        await until(lambda: path.witness.seen("p cancelled"), 2)


@pytest.mark.asyncio
async def test_under_overload_no_expired_turn_starts_and_high_goes_first(fleet):
    """Twice as much as the last one can do: what starts has time left, the rest fails typed."""
    async with fleet.client() as client:
        path = await path_through(client, fleet, "over")
        levels = {"high": 0.4, "normal": 0.8, "low": 1.2}
        outcomes = Counter()

        async def ask(level):
            ref = options(path.first, timeout_s=levels[level], priority=level)
            try:
                left = await ref.pass_on(path.rest, 0.004, f"over {level}")
                assert left[0] >= left[1] >= left[2] > 0
                outcomes[level, "answered"] += 1
            except (RequestTimeoutError, ExpiredError) as error:
                outcomes[level, type(error).__name__] += 1

        tasks = []
        for number in range(450):
            tasks.append(asyncio.create_task(ask(("high", "normal", "low")[number % 3])))
            await asyncio.sleep(0.003)
        await asyncio.gather(*tasks)
        started = [await path.witness.seen(f"over {level}") for level in levels]
        assert all(left_ms >= 0 for one in started for left_ms in one)
        answered = {level: outcomes[level, "answered"] for level in levels}
        assert sum(outcomes.values()) == 450
        assert answered["high"] > answered["low"] > 0, outcomes
        assert sum(answered.values()) < 450, "it was too much"
