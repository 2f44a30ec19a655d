"""Workers join, drain and leave under load: actors move with all they have, and nobody notices."""

import asyncio
import contextlib
import signal

import pytest
from real_fleet import RealFleet, load, members, refs_on, settled, until

from denoagents import tell

app = load()


@pytest.fixture
def fleet(tmp_path):
    with RealFleet(tmp_path) as fleet:
        fleet.start("a")
        yield fleet


class Load:
    """Asks and tells at many actors, each checked against what this one sender has sent."""

    def __init__(self, client, counters=40, journals=40):
        self.counters = [client.actor(app.Counter, f"load{n}") for n in range(counters)]
        self.journals = [client.actor(app.Journal, f"load{n}") for n in range(journals)]
        self.sent = [0] * journals
        self.answered = 0
        self.errors = []
        self.longest_s = 0.0
        self.is_over = False

    async def ask(self, ref):
        total = 0
        loop = asyncio.get_running_loop()
        while not self.is_over:
            begun = loop.time()
            try:
                got = await ref.add(1)
                total += 1
                if got != total:
                    self.errors.append(f"{ref} says {got}, {total} were added")
            except Exception as error:
                self.errors.append(repr(error))
            self.longest_s = max(self.longest_s, loop.time() - begun)
            self.answered += 1
            await asyncio.sleep(0.01)

    async def tell(self, index):
        while not self.is_over:
            for _ in range(3):
                await tell(self.journals[index].note, self.sent[index])
                self.sent[index] += 1
            await asyncio.sleep(0.01)

    async def check(self):
        """Everything told has been noted once, in order."""
        for ref, sent in zip(self.journals, self.sent, strict=True):
            assert await ref.noted() == list(range(sent))

    @contextlib.asynccontextmanager
    async def running(self):
        tasks = [asyncio.create_task(self.ask(ref)) for ref in self.counters]
        tasks += [asyncio.create_task(self.tell(n)) for n in range(len(self.journals))]
        try:
            yield self
        finally:
            self.is_over = True
            await asyncio.gather(*tasks)


@pytest.mark.asyncio
async def test_joins_drains_and_leaves_under_load_lose_and_reorder_nothing(fleet):
    """State is kept, no ask fails, order holds, running turns end where they began."""
    async with fleet.client() as client, Load(client).running() as load:
        slow = [client.actor(app.Counter, f"slow{n}") for n in range(10)]
        first = fleet.workers["a"].pid
        running = [asyncio.create_task(one.add_slowly(1, 1.6)) for one in slow]
        await asyncio.sleep(0.1)

        fleet.begin("b")
        fleet.begin("c")
        await settled(client, "a", "b", "c")
        pids = {child.pid for child in fleet.workers.values()}
        assert set(await asyncio.gather(*[one.where() for one in load.counters])) == pids
        assert not any(task.done() for task in running)
        counts = await asyncio.gather(*[one.count() for one in slow])
        assert counts == [1] * 10, "nothing starts at the new owner before the old turn has ended"
        assert await asyncio.gather(*running) == [first] * 10, "running turns end where they began"
        assert len(set(await asyncio.gather(*[one.where() for one in slow]))) > 1

        await client.control("drain", {"name": "b"})
        await settled(client, "a", "c")
        assert await fleet.workers["b"].ended() == 0
        fleet.workers["c"].signal(signal.SIGTERM)
        await settled(client, "a")
        assert await fleet.workers["c"].ended() == 0

        load.is_over = True
        await asyncio.sleep(0.05)
        assert load.errors == []
        assert load.answered > 1000
        assert load.longest_s < 1.5
        await load.check()
        assert [await one.count() for one in slow] == [1] * 10
        assert "evicted" not in fleet.broker.log
        for row in (await members(client)).values():
            assert row["statistics"]["accounting"]["off"] == 0
        assert client.statistics()["accounting"]["sender"]["unknown"] == 0


@pytest.mark.asyncio
async def test_waiting_messages_and_children_move_with_their_actor(fleet):
    async with fleet.client() as client:
        await settled(client, "a")
        journals = [client.actor(app.Journal, f"wait{n}") for n in range(12)]
        parents = [client.actor(app.Parent, f"p{n}") for n in range(12)]
        for one in parents:
            await one.begin()
            assert await one.add(3) == 3
        families = [asyncio.create_task(one.add_later(1, 1.0)) for one in parents]
        holding = [asyncio.create_task(one.wait(0.8)) for one in journals]
        await asyncio.sleep(0.05)
        waiting = [
            asyncio.create_task(one.note(number)) for one in journals for number in range(30)
        ]
        await asyncio.sleep(0.05)
        fleet.begin("b")
        await settled(client, "a", "b")
        assert set(await asyncio.gather(*holding)) == {fleet.workers["a"].pid}
        assert await asyncio.gather(*waiting) == list(range(30)) * 12
        for one in journals:
            assert await one.noted() == list(range(30))
        assert len(set(await asyncio.gather(*[one.where() for one in journals]))) == 2

        assert await asyncio.gather(*families) == [4] * 12, "a child helps a turn that still runs"
        pids = await asyncio.gather(*[one.where() for one in parents])
        assert len(set(pids)) == 2
        assert [await one.add(1) for one in parents] == [5] * 12, "children moved with their state"
        before = [await one.ticked() for one in parents]
        assert min(before) > 0

        async def all_tick():
            now = [await one.ticked() for one in parents]
            return all(n > b for n, b in zip(now, before, strict=True))

        await until(all_tick, 3)


@pytest.mark.asyncio
async def test_children_are_reached_from_outside_while_they_move(fleet):
    async with fleet.client() as client:
        await settled(client, "a")
        parents = [client.actor(app.Parent, f"p{n}") for n in range(30)]
        for one in parents:
            await one.begin()
        leaves = [await one.my_leaf() for one in parents]
        is_over = False

        async def ask(leaf):
            count = 0
            while not is_over:
                count += 1
                assert await leaf.add(1) == count
                await asyncio.sleep(0.001)
            return count

        asking = [asyncio.create_task(ask(leaf)) for leaf in leaves]
        fleet.begin("b")
        await settled(client, "a", "b")
        await client.control("drain", {"name": "a"})
        await settled(client, "b")
        is_over = True
        assert min(await asyncio.gather(*asking)) > 20


@pytest.mark.asyncio
async def test_streams_and_idle_state_survive_a_drain(fleet):
    """A stream is a running turn: its worker leaves when it has ended."""
    fleet.start("b")
    async with fleet.client() as client:
        await settled(client, "a", "b")
        (spout,) = await refs_on(client, app.Spout, fleet.workers["b"], 1, "s")
        idle = await refs_on(client, app.Counter, fleet.workers["b"], 50, "idle")
        await asyncio.gather(*[one.add(9) for one in idle])
        count = 0
        async for number in spout.drip("drain", 0.005):
            assert number == count
            count += 1
            if count == 20:
                fleet.workers["b"].signal(signal.SIGTERM)
            if count == 150:
                assert fleet.workers["b"].code is None, "it waits for the stream"
                break
        assert await fleet.workers["b"].ended() == 0
        assert await asyncio.gather(*[one.count() for one in idle]) == [9] * 50
        assert set(await asyncio.gather(*[one.where() for one in idle])) == {fleet.workers["a"].pid}
