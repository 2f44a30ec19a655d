"""Kills one worker and measures until the last actor that it hosted answers again.

Rules: the worker is killed with SIGKILL, by its process id; like `up`, the demo tells the broker
that the process is gone (it has reaped it) and starts another under the same name. The kill window
lasts from just before the kill until the last lost librarian has answered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from denoagents._native.clock import Clock
from denoagents.actor.reference import options
from denoagents.errors import DenoagentsError
from denoagents.loadtest.child import ChildEndedError
from denoagents.loadtest.fleet import Fleet
from denoagents.loadtest.library import Librarian
from denoagents.node.node import Node

KILL_WINDOW = "kill"
PROBE_TIMEOUT_S = 30.0
PROBE_AGAIN_S = 0.01
ATTEMPTS = 5
"""How often workers are asked for their statistics."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """One killed worker."""

    victim: str
    lost: int
    """Librarians that it hosted."""
    seconds: float
    """From the kill until the last of them answered."""
    end_ns: int
    last_words: Mapping[str, Any]
    """The worker's own statistics, asked for just before the kill."""


async def kill_and_recover(
    node: Node, fleet: Fleet, keys: Sequence[str], opened: Callable[[], Awaitable[None]]
) -> Recovery:
    """Kill the last worker; `opened` is awaited just before."""
    victim = fleet.worker_names[-1]
    child = fleet.children[victim]
    stocks = await asyncio.gather(*(node.actor(Librarian, key).stock() for key in keys))
    lost = [key for key, stock in zip(keys, stocks, strict=True) if stock.pid == child.pid]
    clock = Clock()
    last_words = (await worker_statistics(node))[victim]
    await opened()
    killed_ns = clock.now_ns()
    child.kill()
    await child.wait()
    reviving = asyncio.create_task(revive(node, fleet, victim))
    ends = await asyncio.gather(*(probe(node, key, clock) for key in lost))
    await reviving
    end_ns = max(ends, default=killed_ns)
    return Recovery(victim, len(lost), (end_ns - killed_ns) / 1e9, end_ns, last_words)


async def worker_statistics(node: Node) -> dict[str, dict[str, Any]]:
    """What the workers report about themselves, by name.

    Raises:
        ChildEndedError: one does not answer the broker, even when it is asked again.
    """
    missing: list[str] = []
    for _ in range(ATTEMPTS):
        rows = (await node.control("status", {}))["nodes"]
        workers = {str(row["name"]): row["statistics"] for row in rows if row["role"] == "worker"}
        missing = [name for name, statistics in workers.items() if statistics is None]
        if not missing:
            return workers
    raise ChildEndedError(f"no statistics from {', '.join(missing)}")


async def revive(node: Node, fleet: Fleet, name: str) -> None:
    """What `up` does when a worker has ended."""
    with contextlib.suppress(DenoagentsError):
        await node.control("reaped", {"incarnation": fleet.incarnations[name]})
    await fleet.start_worker(name)


async def probe(node: Node, key: str, clock: Clock) -> int:
    """Ask one librarian until it answers; returns when it did."""
    librarian = options(node.actor(Librarian, key), timeout_s=PROBE_TIMEOUT_S, priority="high")
    while True:
        try:
            await librarian.stock()
        except DenoagentsError:
            await asyncio.sleep(PROBE_AGAIN_S)
        else:
            return clock.now_ns()
