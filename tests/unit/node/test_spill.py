"""Messages that the memory has no room for: on the disk, in order, counted, and back."""

import asyncio
import errno

import pytest

from denoagents import Actor, Node, options, tell
from denoagents.errors import ExpiredError, Overloaded
from denoagents.node.settings import NodeSettings
from denoagents.store.settings import SpillSettings
from denoagents.testing.disk import SimulatedDisk

pytestmark = pytest.mark.asyncio
KB = 1024


class Stalled(Actor):
    def __init__(self):
        self.seen: list[int] = []
        self.gate = asyncio.Event()

    async def wait(self) -> None:
        await self.gate.wait()

    async def take(self, number: int, data: bytes) -> int:
        self.seen.append(number)
        return number

    async def numbers(self) -> list[int]:
        return self.seen


def settings(tmp_path, memory=1 << 20, disk=1 << 30, **others) -> NodeSettings:
    return NodeSettings(
        spill=SpillSettings(memory, disk_bytes=disk, folder=str(tmp_path / "spill")), **others
    )


async def stall(node, key="one"):
    actor = node.actor(Stalled, key)
    await actor.numbers()
    waiting = asyncio.ensure_future(actor.wait())
    await asyncio.sleep(0)
    return actor, waiting


def let_go(node, actor_key="one"):
    node.runtime.cells[f"Stalled/{actor_key}"].instance.gate.set()


def files(tmp_path):
    return list((tmp_path / "spill").rglob("*.segment"))


async def test_messages_over_the_budget_wait_on_the_disk_and_are_handled_in_order(tmp_path):
    async with Node(settings=settings(tmp_path)) as node:
        actor, waiting = await stall(node)
        for number in range(4000):
            tell(actor.take, number, bytes(KB))
        queued = node.statistics()["queued"]
        assert queued["bytes"] <= 1 << 20
        assert queued["spilled"] > 2500
        assert node.statistics()["accounting"]["receiver"]["waiting"] == 4000
        assert node.statistics()["accounting"]["spilled"] == queued["spilled"]
        assert files(tmp_path)
        let_go(node)
        await waiting
        assert await actor.numbers() == list(range(4000))
        assert node.statistics()["accounting"]["off"] == 0
        assert node.statistics()["queued"]["spilled"] == 0
        assert node.runtime.queued_bytes == 0
    assert not list((tmp_path / "spill").iterdir())


async def test_asks_and_tells_of_each_priority_keep_their_order(tmp_path):
    async with Node(settings=settings(tmp_path)) as node:
        actor, waiting = await stall(node)
        asks = []
        for number in range(3000):
            bound = options(actor, priority=("high", "normal", "low")[number % 3], timeout_s=60)
            if number % 5 == 0:
                asks.append(asyncio.ensure_future(bound.take(number, bytes(KB))))
                await asyncio.sleep(0)
            else:
                tell(bound.take, number, bytes(KB))
        assert node.runtime.spilled > 1000
        let_go(node)
        await waiting
        assert await asyncio.gather(*asks) == list(range(0, 3000, 5))
        seen = await actor.numbers()
        for priority in range(3):
            assert [n for n in seen if n % 3 == priority] == list(range(priority, 3000, 3))
        assert node.statistics()["accounting"]["off"] == 0


async def test_cancelled_and_expired_asks_on_the_disk_are_not_run(tmp_path):
    async with Node(settings=settings(tmp_path)) as node:
        actor, waiting = await stall(node)
        asks = [asyncio.ensure_future(actor.take(n, bytes(4 * KB))) for n in range(1000)]
        short = [
            asyncio.ensure_future(options(actor, timeout_s=0.05).take(n, bytes(4 * KB)))
            for n in range(1000, 1200)
        ]
        await asyncio.sleep(0.01)
        before = node.runtime.spilled
        assert before > 500
        for ask in asks[::2]:
            ask.cancel()
        with pytest.raises(ExpiredError):
            await short[-1]
        await asyncio.gather(*short, return_exceptions=True)
        assert node.runtime.spilled < before
        assert node.statistics()["accounting"]["off"] == 0
        let_go(node)
        await waiting
        assert await asyncio.gather(*asks[1::2]) == list(range(1, 1000, 2))
        assert await actor.numbers() == list(range(1, 1000, 2))
        assert node.runtime.spilled == 0
        assert node.runtime.queued_bytes == 0
        assert node.statistics()["accounting"]["off"] == 0


async def test_a_full_disk_lets_senders_wait_and_nothing_is_lost(tmp_path):
    async with Node(settings=settings(tmp_path, disk=2 << 20)) as node:
        actor, waiting = await stall(node)
        sent = 0

        async def send() -> None:
            nonlocal sent
            for number in range(5000):
                await tell(actor.take, number, bytes(4 * KB))
                sent += 1

        sender = asyncio.ensure_future(send())
        await asyncio.sleep(0.2)
        queued = node.statistics()["queued"]
        assert queued["is_full"]
        assert "limit" in queued["disk_failure"]
        assert sent < 1500
        let_go(node)
        await waiting
        await sender
        assert await actor.numbers() == list(range(5000))
        assert node.statistics()["accounting"]["off"] == 0


async def test_a_failing_disk_is_a_typed_error_and_is_tried_again(tmp_path):
    disk = SimulatedDisk()
    async with Node(settings=settings(tmp_path)) as node:
        node.runtime.disk._files = disk
        actor, waiting = await stall(node)
        disk.failing["write"] = errno.EIO
        for number in range(1000):
            tell(actor.take, number, bytes(4 * KB))
        assert "Input/output error" in node.statistics()["queued"]["disk_failure"]
        disk.failing.clear()
        await asyncio.sleep(1.1)
        tell(actor.take, 1000, b"")
        assert not node.statistics()["queued"]["is_full"]
        let_go(node)
        await waiting
        assert await actor.numbers() == list(range(1001))


async def test_what_the_disk_has_damaged_is_never_run_and_counted(tmp_path):
    async with Node(settings=settings(tmp_path)) as node:
        actor, waiting = await stall(node)
        for number in range(4000):
            tell(actor.take, number, number.to_bytes(4, "big") * 256)
        path = files(tmp_path)[0]
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        let_go(node)
        await waiting
        seen = await actor.numbers()
        assert seen == sorted(seen)
        lost = node.statistics()["accounting"]["receiver"]["dead_lettered"]
        assert 0 < lost < 1000
        assert len(seen) == 4000 - lost
        assert node.statistics()["accounting"]["off"] == 0
        assert "the disk" in node.statistics()["last_dead_letters"][0]["reason"]


async def test_a_node_that_ends_refuses_what_is_on_the_disk_and_removes_it(tmp_path):
    node = Node(settings=settings(tmp_path))
    await node.start()
    actor, waiting = await stall(node)
    for number in range(4000):
        tell(actor.take, number, bytes(KB))
    await node.close(drain=False)
    await asyncio.gather(waiting, return_exceptions=True)
    receiver = node.runtime.books.receiver()
    assert receiver["dead_lettered"] == 4000
    assert receiver["off"] == 0
    assert not list((tmp_path / "spill").iterdir())


async def test_without_a_disk_senders_that_do_not_wait_are_refused_far_over_the_budget(tmp_path):
    spill = SpillSettings(1 << 20, is_on=False)
    async with Node(settings=NodeSettings(spill=spill)) as node:
        actor, waiting = await stall(node)
        with pytest.raises(Overloaded):
            for number in range(2000):
                tell(actor.take, number, bytes(64 * KB))
        let_go(node)
        await waiting
        assert node.runtime.books.sender()["off"] == 0
