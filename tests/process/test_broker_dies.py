"""A real broker process that is killed, frozen and started again, under nodes that go on."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from denoagents import Actor
from denoagents.node.node import Node

KEYS = [f"k{n}" for n in range(12)]


class Tally(Actor):
    total: int = 0

    async def add(self, n: int) -> int:
        self.total += n
        return self.total


class BrokerProcess:
    """Starts and ends one broker at one address with one store."""

    def __init__(self, store):
        self.store, self.endpoint, self.child = store, "tcp://127.0.0.1:0", None

    async def start(self):
        script = Path(__file__).with_name("broker_alone.py")
        self.child = await asyncio.create_subprocess_exec(
            sys.executable, script, self.endpoint, self.store, stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(20):
            while True:
                line = (await self.child.stdout.readline()).decode()
                if line.startswith("listening "):
                    self.endpoint = line.split()[1]
                    return

    def tell(self, number):
        os.kill(self.child.pid, number)

    async def kill(self):
        if self.child.returncode is None:
            self.child.kill()
        self.child.stdout.feed_eof()
        await self.child.wait()


@contextlib.asynccontextmanager
async def fleet(tmp_path):
    """A broker process; two workers and a client in this one."""
    broker = BrokerProcess(tmp_path / "broker.store")
    await broker.start()
    nodes = [
        Node(broker=broker.endpoint, name="w1", serve=[Tally], group="g"),
        Node(broker=broker.endpoint, name="w2", serve=[Tally], group="g"),
        Node(broker=broker.endpoint, name="c"),
    ]
    try:
        for node in nodes:
            await node.start()
        await calm(nodes[-1])
        yield broker, nodes
    finally:
        for node in reversed(nodes):
            await node.close(drain=False)
        await broker.kill()


async def calm(client):
    """Wait until all slots are handed over."""
    async with asyncio.timeout(10):
        while True:
            group = await client.control("describe", {"kind": "group", "name": "g"})
            if group["is_handed_over"] and len(group["workers"]) == 2:
                return
            await asyncio.sleep(0.05)


async def add_all(client):
    return await asyncio.gather(*(client.actor(Tally, key).add(1) for key in KEYS))


async def until_it_answers(client, timeout_s=10):
    async with asyncio.timeout(timeout_s):
        while True:
            with contextlib.suppress(Exception):
                return await client.control("status", {"statistics": False})
            await asyncio.sleep(0.05)


@pytest.mark.asyncio
async def test_a_killed_broker_stops_nobody_and_knows_its_fleet_when_it_is_back(tmp_path):
    async with fleet(tmp_path) as (broker, nodes):
        client = nodes[-1]
        assert await add_all(client) == [1] * len(KEYS)
        before = await client.control("status", {})
        await broker.kill()
        down_until = time.monotonic() + 2
        count = 1
        while time.monotonic() < down_until:
            count += 1
            assert await add_all(client) == [count] * len(KEYS)
            await asyncio.sleep(0.05)
        await broker.start()
        after = await until_it_answers(client)
        assert {one["name"] for one in after["nodes"]} == {"w1", "w2", "c"}
        assert after["broker"]["version"] >= before["broker"]["version"]
        await asyncio.sleep(2.6)  # longer than replace_after: nobody is evicted
        assert await add_all(client) == [count + 1] * len(KEYS)
        late = await client.control("status", {})
        assert {one["name"]: one["incarnation"] for one in late["nodes"]} == {
            one["name"]: one["incarnation"] for one in before["nodes"]
        }
        assert late["broker"]["is_settled"]


@pytest.mark.asyncio
async def test_a_frozen_broker_evicts_nobody_when_it_wakes(tmp_path):
    async with fleet(tmp_path) as (broker, nodes):
        client = nodes[-1]
        await add_all(client)
        broker.tell(signal.SIGSTOP)
        await asyncio.sleep(3)
        broker.tell(signal.SIGCONT)
        status = await until_it_answers(client)
        assert {one["name"] for one in status["nodes"]} == {"w1", "w2", "c"}
        async with asyncio.timeout(10):
            assert await add_all(client) == [2] * len(KEYS)


@pytest.mark.asyncio
async def test_two_brokers_cannot_share_a_store(tmp_path):
    first = BrokerProcess(tmp_path / "broker.store")
    await first.start()
    second = await asyncio.create_subprocess_exec(
        sys.executable,
        Path(__file__).with_name("broker_alone.py"),
        "tcp://127.0.0.1:0",
        first.store,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await asyncio.wait_for(second.communicate(), 20)
        assert second.returncode
        assert "another broker uses the file" in said.decode()
    finally:
        if second.returncode is None:
            second.kill()
            await second.wait()
        await first.kill()
