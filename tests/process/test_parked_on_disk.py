"""Messages without a destination, and mailboxes that move: on the disk, in order, and back."""

import asyncio
import contextlib
import sys

import pytest

from denoagents import Actor, Node, options, reliable, tell
from denoagents.errors import ExpiredError, Overloaded
from denoagents.limits.settings import AdmissionSettings
from denoagents.node.settings import NodeSettings
from denoagents.store.settings import SpillSettings
from denoagents.testing.cluster import Cluster

pytestmark = pytest.mark.asyncio
KB = 1024
MEMORY = 1 << 20


class Keeper(Actor):
    seen: list[int] = []  # noqa: RUF012 - state: each actor gets its own
    wrong: int = 0

    async def take(self, number: int, data: bytes) -> int:
        self.seen.append(number)
        self.wrong += data != number.to_bytes(4, "big") * (len(data) // 4)
        return number

    @reliable
    async def take_surely(self, number: int, data: bytes) -> None:
        await self.take(number, data)

    async def slow(self) -> None:
        await asyncio.sleep(1)

    async def result(self) -> tuple[list[int], int]:
        return self.seen, self.wrong


def data_of(number: int, size: int = KB) -> bytes:
    return number.to_bytes(4, "big") * (size // 4)


@contextlib.asynccontextmanager
async def fleet(tmp_path, *, workers=1, **spill):
    folder = str(tmp_path / "spill")
    settings = NodeSettings(
        spill=SpillSettings(MEMORY, folder=folder, **spill), admission=AdmissionSettings(rate=None)
    )
    cluster = Cluster(settings)
    await cluster.start(Keeper, workers=workers)
    try:
        yield cluster
    finally:
        assert await cluster.close() == []


async def lose_worker(cluster):
    """The client's messages have no destination after this."""
    await cluster.actor(Keeper, "one").result()
    await cluster.stop("w0", drain=False)
    for _ in range(400):
        if "parking" in repr(cluster.node.router.destination("Keeper/one")).lower():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(repr(cluster.node.router.destination("Keeper/one")))


def is_exact(node) -> bool:
    figures = node.statistics()
    runtime = node.runtime
    return figures["accounting"]["off"] == 0 and not (
        runtime.spilled or runtime.parked_bytes or runtime.queued_bytes or node.router.parked
    )


async def test_parked_messages_over_the_budget_wait_on_the_disk_and_come_in_order(tmp_path):
    async with fleet(tmp_path) as cluster:
        await lose_worker(cluster)
        actor = cluster.actor(Keeper, "one")
        for number in range(4000):
            tell(actor.take, number, data_of(number))
        queued = cluster.node.statistics()["queued"]
        assert cluster.node.router.parked == 4000
        assert queued["bytes"] == queued["parked_bytes"] <= MEMORY // 2
        assert queued["spilled"] > 3000
        assert cluster.node.statistics()["accounting"]["spilled"] == queued["spilled"]
        assert cluster.node.statistics()["accounting"]["off"] == 0
        await cluster.start(Keeper)
        assert await actor.result() == (list(range(4000)), 0)
        assert is_exact(cluster.node)


async def test_what_was_parked_waits_for_the_links_window_and_is_not_refused(tmp_path):
    async with fleet(tmp_path) as cluster:
        await lose_worker(cluster)
        actor = cluster.actor(Keeper, "one")
        for number in range(600):
            tell(actor.take, number, data_of(number, 128 * KB))
        assert cluster.node.runtime.spilled > 590
        await cluster.start(Keeper)
        async with asyncio.timeout(20):
            for number in range(600, 700):
                await tell(actor.take, number, data_of(number))
        assert await options(actor, timeout_s=30).result() == (list(range(700)), 0)
        assert cluster.node.router.books.sender()["refused"] == 0
        assert is_exact(cluster.node)


async def test_what_was_parked_is_not_refused_when_it_is_parked_again(tmp_path):
    async with fleet(tmp_path) as cluster:
        await lose_worker(cluster)
        actor, router = cluster.actor(Keeper, "one"), cluster.node.router
        router.park_limit = 100
        for number in range(100):
            tell(actor.take, number, data_of(number))
        for number in range(100, 300):
            tell(actor.take_surely, number, data_of(number))
        with pytest.raises(Overloaded):
            tell(actor.take, 300, data_of(300))
        router.park_limit = 10
        await cluster.start(Keeper)
        while router.parked:  # noqa: ASYNC110 - a new question would be refused while they wait
            await asyncio.sleep(0.01)
        assert await actor.result() == (list(range(300)), 0)
        assert is_exact(cluster.node)


async def test_parked_reliable_messages_and_asks_keep_their_place_among_spilled_ones(tmp_path):
    async with fleet(tmp_path) as cluster:
        await lose_worker(cluster)
        actor = options(cluster.actor(Keeper, "one"), timeout_s=60)
        asks = []
        for number in range(2000):
            if number % 7 == 0:
                asks.append(asyncio.ensure_future(actor.take(number, data_of(number))))
                await asyncio.sleep(0)
            elif number % 3 == 0:
                tell(actor.take_surely, number, data_of(number))
            else:
                tell(actor.take, number, data_of(number))
        assert cluster.node.runtime.spilled > 500
        await cluster.start(Keeper)
        assert await asyncio.gather(*asks) == list(range(0, 2000, 7))
        assert await actor.result() == (list(range(2000)), 0)
        assert is_exact(cluster.node)


async def test_parked_asks_that_are_cancelled_or_expire_leave_the_disk(tmp_path):
    async with fleet(tmp_path) as cluster:
        await lose_worker(cluster)
        actor = options(cluster.actor(Keeper, "one"), timeout_s=60)
        short = options(actor, timeout_s=0.2)
        asks = [asyncio.ensure_future(actor.take(n, data_of(n, 4 * KB))) for n in range(400)]
        asks += [asyncio.ensure_future(short.take(n, data_of(n, 4 * KB))) for n in range(100)]
        await asyncio.sleep(0.05)
        assert cluster.node.runtime.spilled > 300
        for ask in asks[:400]:
            ask.cancel()
        found = await asyncio.gather(*asks, return_exceptions=True)
        assert all(isinstance(one, ExpiredError) for one in found[400:])
        assert is_exact(cluster.node)
        await cluster.start(Keeper)
        assert await actor.result() == ([], 0)


async def test_what_the_disk_has_damaged_of_parked_messages_is_a_dead_letter(tmp_path):
    async with fleet(tmp_path) as cluster:
        await lose_worker(cluster)
        actor = cluster.actor(Keeper, "one")
        for number in range(2000):
            tell(actor.take, number, data_of(number))
        path = next((tmp_path / "spill").rglob("*.segment"))
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        await cluster.start(Keeper)
        seen, wrong = await actor.result()
        assert (len(seen), wrong) == (1999, 0)
        assert seen == sorted(seen)
        assert cluster.node.router.books.sender()["refused"] == 1
        assert "the disk" in cluster.node.statistics()["last_dead_letters"][0]["reason"]
        assert is_exact(cluster.node)


@pytest.mark.parametrize("spill", [{"is_on": False}, {"disk_bytes": 2 << 20}])
async def test_without_room_on_a_disk_parked_messages_are_refused_with_the_reason(tmp_path, spill):
    async with fleet(tmp_path, **spill) as cluster:
        await lose_worker(cluster)
        actor = cluster.actor(Keeper, "one")
        sent = 0
        with pytest.raises(Overloaded, match="half of the memory for queues"):
            for number in range(4000):
                tell(actor.take, number, data_of(number))
                sent += 1
        tell(actor.take_surely, sent, data_of(sent))
        assert 400 < sent < 2600
        assert cluster.node.runtime.parked_bytes <= MEMORY // 2
        await cluster.start(Keeper)
        assert await actor.result() == (list(range(sent + 1)), 0)
        assert is_exact(cluster.node)


async def test_a_drained_worker_hands_over_what_it_has_on_the_disk(tmp_path):
    async with fleet(tmp_path) as cluster:
        worker = cluster.nodes["w0"]
        actor = cluster.actor(Keeper, "one")
        await actor.result()
        tell(actor.slow)
        for number in range(3000):
            await tell(actor.take, number, data_of(number))
        for _ in range(100):
            await asyncio.sleep(0.01 if worker.runtime.spilled < 1000 else 0)
        assert worker.runtime.spilled >= 1000
        await cluster.start(Keeper)
        await cluster.stop("w0")
        assert worker.runtime.spilled == worker.runtime.queued_bytes == 0
        assert await options(actor, timeout_s=30).result() == (list(range(3000)), 0)
        for node in (worker, *cluster.nodes.values()):
            assert node.statistics()["accounting"]["off"] == 0


async def test_a_mailbox_of_many_megabytes_is_handed_over_in_parts(tmp_path):
    async with fleet(tmp_path) as cluster:
        worker, actor = cluster.nodes["w0"], cluster.actor(Keeper, "one")
        await actor.result()
        tell(actor.slow)
        for number in range(600):
            await tell(actor.take, number, data_of(number, 64 * KB))
        for _ in range(100):
            await asyncio.sleep(0.01 if worker.runtime.spilled < 400 else 0)
        assert worker.runtime.spilled >= 400
        await cluster.start(Keeper)
        await cluster.stop("w0")
        assert await options(actor, timeout_s=30).result() == (list(range(600)), 0)


KILLED = """
import asyncio, sys
from denoagents import Actor, Node, tell
from denoagents.limits.settings import AdmissionSettings
from denoagents.node.settings import NodeSettings
from denoagents.store.settings import SpillSettings

class Stalled(Actor):
    async def take(self, data: bytes) -> None:
        await asyncio.sleep(3600)

async def main():
    settings = NodeSettings(spill=SpillSettings(1 << 20, folder=sys.argv[1]))
    async with Node(settings=settings) as node:
        for _ in range(3000):
            tell(node.actor(Stalled, "one").take, bytes(1024))
        print(node.runtime.spilled, flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_what_a_killed_process_has_left_is_removed_at_the_next_start(tmp_path):
    folder = tmp_path / "spill"
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(folder), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert killed.stdout is not None
        assert int(await killed.stdout.readline()) > 1000
        settings = NodeSettings(spill=SpillSettings(MEMORY, folder=str(folder)))
        async with Node(settings=settings):
            assert len(list(folder.iterdir())) == 1, "its process lives"
    finally:
        killed.kill()
        await killed.wait()
    assert len(list(folder.iterdir())) == 1
    async with Node(settings=settings):
        assert not list(folder.iterdir())
