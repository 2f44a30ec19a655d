"""One process for R8: a stalled actor is sent more than memory may hold, healthy ones are asked."""

import asyncio
import json
import os
import sys
import time
import zlib

import psutil

from denoagents import Actor, Node, NodeSettings, tell
from denoagents.store.settings import SpillSettings

PROCESS = psutil.Process()


class Stalled(Actor):
    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.next = 0
        self.wrong = 0

    async def wait(self) -> None:
        await self.gate.wait()

    async def take(self, number: int, check: int, data: bytes) -> None:
        self.wrong += number != self.next or zlib.crc32(data) != check
        self.next = number + 1

    async def result(self) -> tuple[int, int]:
        return self.next, self.wrong


class Healthy(Actor):
    async def echo(self, value: int) -> int:
        return value


class Watch:
    """Asks healthy actors 200 times a second, each by itself, and looks at the memory."""

    def __init__(self, node: Node) -> None:
        self.actors = [node.actor(Healthy, str(number)) for number in range(100)]
        self.latencies: list[float] = []
        self.highest = 0
        self.failed = 0

    async def run(self, until: asyncio.Event) -> None:
        begun, count = time.perf_counter(), 0
        async with asyncio.TaskGroup() as asks:
            while not until.is_set():
                due = begun + count * 0.005
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                asks.create_task(self.ask(count, due))
                count += 1
                if count % 10 == 0:
                    self.highest = max(self.highest, PROCESS.memory_info().rss)

    async def ask(self, count: int, due: float) -> None:
        try:
            await self.actors[count % 100].echo(count)
        except Exception:
            self.failed += 1
        self.latencies.append(time.perf_counter() - due)

    def p99_ms(self) -> float:
        return round(sorted(self.latencies)[int(len(self.latencies) * 0.99)] * 1e3, 2)


async def watched(node: Node, work) -> tuple[Watch, float]:
    watch, over = Watch(node), asyncio.Event()
    task = asyncio.ensure_future(watch.run(over))
    begun = time.perf_counter()
    await work
    seconds = time.perf_counter() - begun
    over.set()
    await task
    return watch, seconds


async def main(folder: str, budget: int, messages: int, size: int) -> dict:
    settings = NodeSettings(spill=SpillSettings(budget, folder=folder))
    async with Node(settings=settings) as node:
        node.router.codec = False
        stalled = node.actor(Stalled, "one")
        await stalled.result()
        waiting = asyncio.ensure_future(stalled.wait())
        seed = os.urandom(size)

        async def send() -> None:
            for number in range(messages):
                data = number.to_bytes(8, "big") + seed[8:]
                await tell(stalled.take, number, zlib.crc32(data), data)
                if number % 4 == 0:
                    await asyncio.sleep(0.001)

        calm, _ = await watched(node, asyncio.sleep(1.5))
        before = PROCESS.memory_info().rss
        filling, fill_s = await watched(node, send())
        queued = node.statistics()["queued"]
        at_most = node.statistics()["accounting"]
        node.runtime.cells["Stalled/one"].instance.gate.set()

        async def drain() -> None:
            await waiting
            await stalled.result()  # behind all of them

        draining, drain_s = await watched(node, drain())
        highest = max(filling.highest, draining.highest)
        handled, wrong = await stalled.result()
        books = node.statistics()["accounting"]
        return {
            "handled": handled,
            "wrong": wrong,
            "spilled": queued["spilled"],
            "spilled_mb": round(queued["spilled_bytes"] / 1e6, 1),
            "waiting_when_full": at_most["receiver"]["waiting"],
            "off": books["off"],
            "dead_lettered": books["receiver"]["dead_lettered"],
            "healthy_failed": calm.failed + filling.failed + draining.failed,
            "rss_above_baseline_mb": round((highest - before) / 1e6, 1),
            "p99_calm_ms": calm.p99_ms(),
            "p99_filling_ms": filling.p99_ms(),
            "p99_draining_ms": draining.p99_ms(),
            "fill_s": round(fill_s, 2),
            "drain_s": round(drain_s, 2),
        }


if __name__ == "__main__":
    where, *numbers = sys.argv[1:]
    print(json.dumps(asyncio.run(main(where, *map(int, numbers)))))
