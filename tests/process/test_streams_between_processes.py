"""Streams between processes: a slow reader slows the writer; leaving and cancelling reach it."""

import asyncio
import gc

import pytest
from real_fleet import RealFleet, key_of, load, refs_on, settled, until

from denoagents import options
from denoagents.errors import RemoteError, RequestTimeoutError

app = load()
CREDIT_BYTES = 256 << 10


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    with RealFleet(tmp_path_factory.mktemp("streams")) as fleet:
        fleet.start("a", "b")
        yield fleet


async def spout_and_witness(client, worker, key):
    (spout,) = await refs_on(client, app.Spout, worker, 1, key)
    (witness,) = await refs_on(client, app.Witness, worker, 1, f"{key}w")
    return spout, witness


@pytest.mark.asyncio
async def test_a_slow_reader_slows_the_writer_with_flat_memory(fleet):
    """Between two workers: 400 MB offered, the reader takes a little; nobody keeps the rest."""
    a, b = fleet.workers["a"], fleet.workers["b"]
    async with fleet.client() as client:
        await settled(client, "a", "b")
        spout, witness = await spout_and_witness(client, a, "slow")
        (reader,) = await refs_on(client, app.Spout, b, 1, "reader")
        before = (a.rss, b.rss)
        key = key_of(spout)
        item = 40_000
        reading = asyncio.create_task(reader.read(key, "slow", 10_000, item, 0.01))
        await asyncio.sleep(1.0)
        sent = len(await witness.seen("slow"))
        assert 20 <= sent <= 110 + CREDIT_BYTES // item, f"{sent} items in one second"
        assert a.rss - before[0] < 8e6
        assert b.rss - before[1] < 8e6
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await until(lambda: witness.seen("slow over"))


@pytest.mark.asyncio
async def test_a_fast_reader_gets_everything_in_order(fleet):
    async with fleet.client() as client:
        spout, witness = await spout_and_witness(client, fleet.workers["a"], "fast")
        numbers = [int.from_bytes(one[:8], "big") async for one in spout.pour("fast", 3000, 10_000)]
        assert numbers == list(range(3000)), "30 MB"
        assert await witness.seen("fast over") == [1]
        assert await witness.seen("fast left") == []


@pytest.mark.asyncio
async def test_leaving_a_stream_early_reaches_the_writer(fleet):
    async with fleet.client() as client:
        spout, witness = await spout_and_witness(client, fleet.workers["a"], "early")
        async for item in spout.pour("early", 1_000_000, 1000):
            if int.from_bytes(item[:8], "big") == 5:
                break
        gc.collect()
        await until(lambda: witness.seen("early over"), 2)
        assert await spout.where() == fleet.workers["a"].pid, "the actor is free again"

        stream = spout.drip("closed", 0.001)
        assert await anext(stream) == 0
        await stream.aclose()
        await until(lambda: witness.seen("closed over"), 2)


@pytest.mark.asyncio
async def test_cancelling_the_reader_reaches_the_writer(fleet):
    async with fleet.client() as client:
        spout, witness = await spout_and_witness(client, fleet.workers["b"], "cancel")

        async def read():
            async for _ in spout.drip("cancel", 0.005):
                pass

        task = asyncio.create_task(read())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: witness.seen("cancel over"), 2)
        books = client.statistics()["accounting"]
        assert books["off"] == 0


@pytest.mark.asyncio
async def test_a_streams_deadline_ends_it_on_both_sides(fleet):
    async with fleet.client() as client:
        spout, witness = await spout_and_witness(client, fleet.workers["a"], "late")
        count = 0
        with pytest.raises(RequestTimeoutError, match="did not end within its deadline"):
            async for _ in options(spout, timeout_s=0.5).drip("late", 0.01):
                count += 1
        assert count > 10
        await until(lambda: witness.seen("late over"), 2)


@pytest.mark.asyncio
async def test_a_stream_whose_writer_raises_ends_with_its_error(fleet):
    async with fleet.client() as client:
        (spout,) = await refs_on(client, app.Spout, fleet.workers["a"], 1, "raise")
        got = []
        with pytest.raises(RemoteError, match="after 3") as caught:
            async for number in spout.fail_after(3):
                got.append(number)  # noqa: PERF401 - it raises: what came before counts
        assert got == [0, 1, 2]
        assert caught.value.type_name == "RuntimeError"
        assert "fail_after" in caught.value.remote_traceback
