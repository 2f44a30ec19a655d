"""One client process of the demo: external look-ups at a fixed rate, checked against the truth.

Started by the demo as `python -m denoagents.loadtest.client OPTIONS`, where OPTIONS is JSON. It
says `ready`, obeys `begin`, `open`, `close`, `statistics`, and says `progress` and `report`.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec

from denoagents._native.clock import Clock
from denoagents.loadtest.child import Message, Parent
from denoagents.loadtest.corpus import open_corpus
from denoagents.loadtest.event_loop import run_fast
from denoagents.loadtest.library import Librarian
from denoagents.loadtest.lookup import Desk
from denoagents.loadtest.questions import Draw, LookUp, Population
from denoagents.loadtest.runner import Load, OpenLoop
from denoagents.loadtest.schedule import Arrivals, plan_schedule
from denoagents.loadtest.truth import read_truth
from denoagents.node.node import Node

PROGRESS_EVERY_S = 0.5


class ClientOptions(msgspec.Struct, frozen=True):
    """What one client process does."""

    broker: str
    number: int
    truth: str
    rate_per_s: float
    seconds: float
    seed: int
    arrivals: Arrivals = "poisson"
    timeouts_s: dict[str, float] | None = None
    """By priority; the configured ones if None."""


class Client:
    """Look-ups drawn in advance, sent when they are due."""

    def __init__(self, options: ClientOptions, node: Node, look_ups: list[LookUp]) -> None:
        self._options = options
        self._node = node
        self._look_ups = iter(look_ups)
        self._desk = Desk(node, options.timeouts_s)
        schedule = plan_schedule(
            options.arrivals, options.rate_per_s, options.seconds, options.seed + options.number
        )
        self.clock = Clock()
        self.loop = OpenLoop(Load(schedule), self._send, self.clock)
        self._running: list[asyncio.Task[None]] = []

    async def _send(self, priority: str) -> bool:
        return await self._desk.is_right(next(self._look_ups), priority)

    async def obey(self, parent: Parent) -> None:
        """Do what the parent says until it says no more."""
        async for command in parent.commands():
            match command["t"]:
                case "begin":
                    self._start(self._measure(int(command["at_ns"])))
                    self._start(self._tell_progress())
                case "open":
                    self.loop.record.open_window(command["name"], self.clock.now_ns())
                    parent.say({"t": "opened"})
                case "close":
                    self.loop.record.close_window(command["name"], int(command["at_ns"]))
                case "statistics":
                    statistics = {"at_ns": self.clock.now_ns(), **self._node.statistics()}
                    parent.say({"t": "statistics", "of": statistics})
        for task in self._running:
            task.cancel()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._running.append(asyncio.create_task(work))

    async def _measure(self, begin_ns: int) -> None:
        record = await self.loop.run(begin_ns)
        Parent.say({"t": "report", "record": record.encode(), **self.progress()})

    async def _tell_progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_EVERY_S)
            Parent.say({"t": "progress", **self.progress()})

    def progress(self) -> Message:
        loop, total = self.loop, self.loop.record.total()
        return {
            "offered": loop.offered,
            "ended": loop.ended,
            "wrong": total.wrong,
            "errors": dict(total.errors),
            "p50_ms": total.latency_ms()["p50"],
            "late_p99_ms": loop.lateness.quantile(0.99) / 1e6,
        }


async def serve(options: ClientOptions) -> None:
    """Join the fleet, look up the librarians once, then do as the parent says."""
    population = Population(read_truth(Path(options.truth)), open_corpus(), options.seed)
    draw = Draw(population, options.seed * 1000 + options.number)
    count = round(options.rate_per_s * options.seconds)
    look_ups = [draw.look_up() for _ in range(count)]
    del population, draw
    async with Node(broker=options.broker, name=f"client-{options.number}") as node:
        client = Client(options, node, look_ups)
        await asyncio.gather(
            *(node.actor(Librarian, key).stock() for key in open_corpus().librarian_keys)
        )
        gc.collect()
        gc.freeze()  # the drawn look-ups never die: the collector need not visit them
        parent = await Parent.connect()
        parent.say({"t": "ready"})
        await client.obey(parent)


def main() -> None:
    """Run one client process."""
    run_fast(serve(msgspec.json.decode(sys.argv[1], type=ClientOptions)))


if __name__ == "__main__":
    main()
