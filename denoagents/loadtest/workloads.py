"""What the benches do, one function a workload; each measures one stretch of time.

Rules: messages are counted where they are handled, not where they are sent; of many cheap
operations every `SAMPLE_EVERY`-th is timed, so that the timing does not weigh on the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from denoagents._native.clock import Clock
from denoagents._native.histogram import Histogram
from denoagents.actor.reference import options, tell
from denoagents.errors import Overloaded
from denoagents.loadtest.durable_targets import KeptByTheSystem, KeptOnDisk
from denoagents.loadtest.runner import Load, OpenLoop
from denoagents.loadtest.sample import Sample
from denoagents.loadtest.schedule import plan_schedule
from denoagents.loadtest.targets import Idle, Received, Target
from denoagents.node.node import Node

SAMPLE_EVERY = 16
SPAWN_LIMIT = 100_000
"""Actors made in one stretch at most: memory."""
OVERLOADED_AGAIN_S = 0.005
RELIABLE_AHEAD = 4096
"""Reliable messages on their way at most, as a sender that watches its memory has."""
BREATH = 256
"""Local requests between two looks at the clock; they never wait, so the loop must be let go."""


@dataclass(slots=True)
class Bench:
    """What a workload works with: a node, in this process, and where its targets are."""

    node: Node
    clock: Clock = field(default_factory=Clock)
    spawned: int = 0

    @property
    def target(self) -> Target:
        return self.node.actor(Target, "target")

    def end_ns(self, seconds: float) -> int:
        return self.clock.now_ns() + round(seconds * 1e9)


Workload = Callable[[Bench, float], Awaitable[Sample]]


async def send_one_way(bench: Bench, seconds: float) -> Sample:
    """Tell one actor as fast as credit allows; ends when all has been handled."""
    clock, target, sent = bench.clock, bench.target, 0
    await target.received()
    begin_ns, end_ns = clock.now_ns(), bench.end_ns(seconds)
    while (now_ns := clock.now_ns()) < end_ns:
        try:
            await tell(target.put, now_ns)
            sent += 1
            for _ in range(SAMPLE_EVERY - 1):
                await tell(target.add, 1)
                sent += 1
        except Overloaded:
            await tell_again(target.add, 1)
            sent += 1
    return await _received(bench, begin_ns, sent)


async def send_reliably(bench: Bench, seconds: float) -> Sample:
    """Tell one actor reliably, as fast as it handles what it is told; ends when all was handled."""
    clock, target = bench.clock, options(bench.target, reliable=True)
    books = bench.node.runtime.books
    await bench.target.received()
    sent, begin_ns = 0, clock.now_ns()
    end_ns = bench.end_ns(seconds)
    while (now_ns := clock.now_ns()) < end_ns:
        await tell(target.put, now_ns)
        for _ in range(SAMPLE_EVERY - 1):
            await tell(target.add, 1)
        sent += SAMPLE_EVERY
        while books.reliable_outstanding > RELIABLE_AHEAD:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0)
    while books.reliable_outstanding:  # noqa: ASYNC110 - books have no event
        await asyncio.sleep(0.001)
    return await _received(bench, begin_ns, sent)


async def tell_again(method: Callable[..., Awaitable[object]], *args: object) -> None:
    """What a sender does whose target can take no more: wait, and tell it once more."""
    while True:
        await asyncio.sleep(OVERLOADED_AGAIN_S)
        with contextlib.suppress(Overloaded):
            return await tell(method, *args)


async def _received(bench: Bench, begin_ns: int, sent: int) -> Sample:
    """What the target got; asked last, so all that was sent before is in it."""
    seen: Received | None = None
    while seen is None:
        try:
            seen = await bench.target.received()
        except Overloaded:  # its mailbox is full: what came over the bound was refused
            await asyncio.sleep(OVERLOADED_AGAIN_S)
    seconds = (bench.clock.now_ns() - begin_ns) / 1e9
    sample = Sample(seen.count, seconds, Histogram.from_bytes(seen.latency))
    if sent != seen.count:
        sample.figures["not_handled"] = float(sent - seen.count)
    return sample


async def ask_one_at_a_time(bench: Bench, seconds: float) -> Sample:
    """Ask one actor, wait for the reply, ask again; every request is timed."""
    return await _ask(bench, bench.end_ns(seconds))


async def ask_by_hundred(bench: Bench, seconds: float) -> Sample:
    """A hundred callers, each asking one at a time."""
    end_ns = bench.end_ns(seconds)
    parts = await asyncio.gather(*(_ask(bench, end_ns) for _ in range(100)))
    together = Sample()
    for part in parts:
        together.n += part.n
        together.latency.merge(part.latency)
        together.seconds = max(together.seconds, part.seconds)
    return together


def ask_durable(cls: type[KeptByTheSystem]) -> Workload:
    """Ask one durable actor, one request at a time: each is kept before it is answered."""

    async def ask(bench: Bench, seconds: float) -> Sample:
        return await _ask(bench, bench.end_ns(seconds), bench.node.actor(cls, "target"))

    return ask


async def _ask(bench: Bench, end_ns: int, asked: Target | KeptByTheSystem | None = None) -> Sample:
    clock, target, latency = bench.clock, asked or bench.target, Histogram()
    begin_ns = before_ns = clock.now_ns()
    count = 0
    while before_ns < end_ns:
        await target.add(1)
        now_ns = clock.now_ns()
        latency.record(now_ns - before_ns)
        before_ns = now_ns
        count += 1
    return Sample(count, (before_ns - begin_ns) / 1e9, latency)


async def ask_in_process(bench: Bench, seconds: float) -> Sample:
    """Ask an actor of this process; one of sixteen requests is timed."""
    clock, target, latency = bench.clock, bench.target, Histogram()
    begin_ns = now_ns = clock.now_ns()
    end_ns, count = bench.end_ns(seconds), 0
    while now_ns < end_ns:
        for _ in range(BREATH // SAMPLE_EVERY):
            before_ns = clock.now_ns()
            await target.add(1)
            latency.record(clock.now_ns() - before_ns)
            for _ in range(SAMPLE_EVERY - 1):
                await target.add(1)
        count += BREATH
        await asyncio.sleep(0)
        now_ns = clock.now_ns()
    return Sample(count, (now_ns - begin_ns) / 1e9, latency)


async def open_loop_1000(bench: Bench, seconds: float) -> Sample:
    """A thousand requests a second at Poisson times, timed from when they were due."""
    target = bench.target

    async def send(_priority: str) -> bool:
        return await target.add(1) > 0

    load = Load(plan_schedule("poisson", 1000, seconds, seed=1), priorities=("normal",))
    loop = OpenLoop(load, send, bench.clock)
    begin_ns = bench.clock.now_ns()
    total = (await loop.run(begin_ns)).total()
    figures = {
        "errors": float(total.errors.total()),
        "late_p99_us": loop.lateness.quantile(0.99) / 1000,
    }
    took_s = (bench.clock.now_ns() - begin_ns) / 1e9
    return Sample(total.answered, max(seconds, took_s), total.latency, figures)


async def spawn(bench: Bench, seconds: float) -> Sample:
    """Make actors, each by its first message; ends at the time or at a hundred thousand."""
    clock, latency, count = bench.clock, Histogram(), 0
    begin_ns = before_ns = clock.now_ns()
    end_ns = bench.end_ns(seconds)
    while before_ns < end_ns and count < SPAWN_LIMIT:
        await bench.node.actor(Idle, str(bench.spawned)).touch()
        now_ns = clock.now_ns()
        latency.record(now_ns - before_ns)
        before_ns = now_ns
        bench.spawned += 1
        count += 1
        if count % BREATH == 0:
            await asyncio.sleep(0)
    return Sample(count, (before_ns - begin_ns) / 1e9, latency)


def carry(size_bytes: int) -> Workload:
    """Tell one actor payloads of that size, as fast as credit allows."""

    async def carry_payload(bench: Bench, seconds: float) -> Sample:
        clock, target, payload = bench.clock, bench.target, incompressible(size_bytes)
        sent = 0
        await target.received()
        begin_ns, end_ns = clock.now_ns(), bench.end_ns(seconds)
        while (now_ns := clock.now_ns()) < end_ns:
            try:
                await tell(target.take, now_ns, payload)
            except Overloaded:
                await tell_again(target.take, now_ns, payload)
            sent += 1
        sample = await _received(bench, begin_ns, sent)
        sample.figures["mb_per_s"] = sample.rate_per_s * size_bytes / 1e6
        return sample

    return carry_payload


def incompressible(size_bytes: int) -> bytes:
    """Bytes that no compression shrinks, the same ones every time."""
    return random.Random(1).randbytes(size_bytes)


BETWEEN_PROCESSES: dict[str, Workload] = {
    "tell_between_processes": send_one_way,
    "reliable_between_processes": send_reliably,
    "ask_between_processes": ask_one_at_a_time,
    "ask_between_processes_100": ask_by_hundred,
    "open_loop_1000": open_loop_1000,
    "payload_1KiB": carry(1024),
    "payload_64KiB": carry(64 * 1024),
    "payload_1MiB": carry(1024 * 1024),
}
"""Against a worker in a process of its own."""

DURABLE: dict[str, Workload] = {
    "durable_ask_os": ask_durable(KeptByTheSystem),
    "durable_ask_disk": ask_durable(KeptOnDisk),
}
"""Against a worker with a store, in a process of its own."""

IN_PROCESS: dict[str, Workload] = {
    "tell_in_process": send_one_way,
    "ask_in_process": ask_in_process,
    "spawn": spawn,
}
"""Against actors of an embedded node."""
