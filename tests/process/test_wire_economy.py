"""Few connections (plan 5.3) and few bytes (plan 5.4): counted by the system and by a proxy."""

import asyncio
from pathlib import Path
from random import Random

import psutil
import pytest
from link_nodes import LinkNode, until
from real_fleet import RealFleet, key_of, load, members, refs_on, settled
from tcp_proxy import TcpProxy

from denoagents._native.clock import Clock
from denoagents.link import LinkSettings, ZeroMQTransport

TALKING = Path(__file__).parent / "apps" / "talking.py"
ACTORS = 100
ALGORITHMS = ("lz4", "gzip", "none")


def port_of(endpoint):
    return int(endpoint.rpartition(":")[2])


# --- connections --------------------------------------------------------------------------------


class Census:
    """The most connections that were ever open at once, by who dialed whom."""

    def __init__(self, pids, ports):
        self.pids, self.ports = pids, ports
        self.most = {}

    def take(self):
        now = {}
        for who, pid in self.pids.items():
            for one in psutil.Process(pid).net_connections("tcp"):
                whom = self.ports.get(one.raddr.port) if one.raddr else None
                if whom and one.status == psutil.CONN_ESTABLISHED:
                    now[who, whom] = now.get((who, whom), 0) + 1
        for pair, count in now.items():
            self.most[pair] = max(count, self.most.get(pair, 0))

    async def keep(self):
        while True:
            self.take()
            await asyncio.sleep(0.05)


@pytest.mark.asyncio
async def test_a_hundred_actors_a_side_share_one_connection_per_direction(tmp_path):
    app = load(TALKING)
    with RealFleet(tmp_path, app=TALKING) as fleet:
        a, b = fleet.start("a", "b")
        async with fleet.client("c") as client:
            await settled(client, "a", "b")
            left = await refs_on(client, app.Talker, a, ACTORS, "l")
            right = await refs_on(client, app.Talker, b, ACTORS, "r")
            rows = await members(client)
            ports = {port_of(rows[name]["endpoint"]): name for name in ("a", "b")}
            pids = {"a": a.pid, "b": b.pid, "c": psutil.Process().pid}
            census = Census(pids, ports)
            counting = asyncio.create_task(census.keep())
            half = ACTORS // 2  # one half asks, the other half answers
            pairs = [*zip(left[:half], right[half:], strict=True)]
            pairs += zip(right[:half], left[half:], strict=True)
            try:
                talks = [one.talk_to(key_of(other), 50) for one, other in pairs]
                assert await asyncio.gather(*talks) == [50] * ACTORS
                census.take()
            finally:
                counting.cancel()
                await asyncio.gather(counting, return_exceptions=True)
    assert census.most == {("a", "b"): 1, ("b", "a"): 1, ("c", "a"): 1, ("c", "b"): 1}


# --- bytes --------------------------------------------------------------------------------------


async def bytes_on_the_wire(algorithm, bodies):
    """What the proxy between two nodes passes on for these batches, greetings left out."""
    owner, caller = LinkNode("owner"), LinkNode("caller")
    for node in (owner, caller):
        settings = LinkSettings(compression=algorithm)
        node.open(ZeroMQTransport(), Clock(), settings=settings)
    endpoint = await owner.mesh.start("tcp://127.0.0.1:0")
    await caller.mesh.start(None)
    try:
        async with TcpProxy(port_of(endpoint)) as proxy:
            link = caller.mesh.dial(proxy.endpoint)
            await until(lambda: link.is_up)
            before = proxy.passed_bytes
            for body in bodies:
                link.send(body, 1)
            await link.when_accepted()
            await until(lambda: len(owner.bodies) == len(bodies))
            assert owner.bodies == bodies, "what arrives is what was sent"
            return proxy.passed_bytes - before
    finally:
        await caller.mesh.close()
        await owner.mesh.close()


def prose(size):
    words = [b"actor", b"worker", b"message", b"broker", b"slot", b"turn", b"state"]
    chance = Random(size)
    return b" ".join(chance.choice(words) for _ in range(size))[:size]


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [1100, 4096, 65536])
async def test_what_can_be_compressed_is_shorter_on_the_wire(size):
    bodies = [prose(size)] * 20
    lz4, gzip, none = [await bytes_on_the_wire(one, bodies) for one in ALGORITHMS]
    assert none >= 20 * size
    assert lz4 < 0.75 * none
    assert gzip < 0.6 * none


@pytest.mark.asyncio
@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_random_bytes_grow_by_no_more_than_a_hundredth(algorithm):
    large = [Random(n).randbytes(65536) for n in range(20)]
    assert await bytes_on_the_wire(algorithm, large) <= 1.01 * 20 * 65536
    small = [Random(n).randbytes(1500) for n in range(200)]
    plain = await bytes_on_the_wire("none", small)
    assert await bytes_on_the_wire(algorithm, small) <= 1.01 * plain


@pytest.mark.asyncio
async def test_a_batch_below_a_kilobyte_is_sent_as_it_is():
    bodies = [prose(1000)] * 50
    lz4, none = [await bytes_on_the_wire(one, bodies) for one in ("lz4", "none")]
    assert abs(lz4 - none) <= 0.01 * none
