"""Connections between two living processes are reset: nothing is lost, doubled or out of order."""

import asyncio

import pytest
from real_fleet import RealFleet, load, refs_on, settled, until
from tcp_proxy import TcpProxy

from denoagents import options, tell
from denoagents.link.connection import ZeroMQTransport

app = load()


class ThroughProxy(ZeroMQTransport):
    """Dials one endpoint by way of a proxy."""

    def __init__(self):
        super().__init__()
        self.ways = {}

    def dial(self, endpoint, receiver):
        return super().dial(self.ways.get(endpoint, endpoint), receiver)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    with RealFleet(tmp_path_factory.mktemp("order")) as fleet:
        fleet.start("a")
        yield fleet


@pytest.mark.asyncio
async def test_resets_lose_double_and_reorder_nothing_end_to_end(fleet):
    """Asks, tells, streams and both directions of them, while the connection is cut 20 times."""
    transport = ThroughProxy()
    async with fleet.client("scout") as scout:
        await settled(scout, "a")
        rows = await scout.control("get", {"kind": "workers"})
        endpoint = rows["rows"][0]["endpoint"]
    async with TcpProxy(int(endpoint.rpartition(":")[2])) as proxy:
        transport.ways[endpoint] = proxy.endpoint
        async with fleet.client("caller", transport=transport) as client:
            journals = [client.actor(app.Journal, f"j{n}") for n in range(4)]
            counters = [client.actor(app.Counter, f"c{n}") for n in range(10)]
            spout = client.actor(app.Spout, "s")
            is_over = False
            sent = [0] * len(journals)

            async def tells(index):
                while not is_over:
                    for _ in range(20):
                        await tell(journals[index].note, sent[index])
                        sent[index] += 1
                    await asyncio.sleep(0.002)

            async def asks(ref):
                total = 0
                while not is_over:
                    total += 1
                    assert await ref.add(1) == total
                    await asyncio.sleep(0)
                return total

            async def stream():
                numbers = [
                    int.from_bytes(item[:8], "big") async for item in spout.pour("s", 1500, 2000)
                ]
                assert numbers == list(range(1500))

            tasks = [asyncio.create_task(tells(n)) for n in range(len(journals))]
            tasks += [asyncio.create_task(asks(ref)) for ref in counters]
            streams = asyncio.create_task(stream())
            for _ in range(20):
                await asyncio.sleep(0.1)
                proxy.reset()
            await asyncio.wait_for(streams, 10)
            is_over = True
            totals = [one for one in await asyncio.gather(*tasks) if one is not None]
            for ref, count in zip(journals, sent, strict=True):
                assert await options(ref, timeout_s=10).noted() == list(range(count))
            assert min(totals) > 20
            assert min(sent) > 1000
            figures = client.statistics()
            link = next(one for one in figures["links"] if one["peer"] == "a")
            assert proxy.resets >= 15
            assert link["connections"] > 15
            books = figures["accounting"]
            assert books["off"] == 0
            assert books["sender"]["acknowledged"] == books["sender"]["sent"]
            assert books["sender"]["unknown"] == 0


@pytest.mark.asyncio
async def test_each_priority_keeps_its_own_order(fleet):
    """Between priorities the weights decide; within one, messages stay in order."""
    async with fleet.client("sender") as client:
        journal = client.actor(app.Journal, "priorities")
        (witness,) = await refs_on(client, app.Witness, fleet.workers["a"], 1, "w")
        holding = asyncio.create_task(journal.hold("priorities"))
        await until(lambda: witness.seen("priorities"))
        for number in range(90):
            name = ("high", "normal", "low")[number % 3]
            await tell(options(journal, priority=name).note, number)
        await witness.open("priorities")
        await holding
        noted = await options(journal, priority="low").noted()
        for one in range(3):
            assert [n for n in noted if n % 3 == one] == list(range(one, 90, 3))
        first = [n % 3 for n in noted[:39]]  # three rounds; the first began with `hold`
        assert 24 <= first.count(0) <= 25
        assert 11 <= first.count(1) <= 12
        assert first.count(2) == 3, "none starves"
