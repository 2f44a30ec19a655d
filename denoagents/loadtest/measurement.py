"""The measured part of a demo: chats and clients ask, a worker dies, everything is counted."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from denoagents.loadtest.chats import Chats
from denoagents.loadtest.client import ClientOptions
from denoagents.loadtest.crowd import Crowd
from denoagents.loadtest.event_loop import together
from denoagents.loadtest.footprint import Footprint
from denoagents.loadtest.recovery import KILL_WINDOW, Recovery, kill_and_recover, worker_statistics
from denoagents.loadtest.stage import Stage
from denoagents.loadtest.summary import Observed

START_DELAY_NS = 300_000_000
"""The clients are told to begin this far ahead, so that all of them begin together."""
SAMPLE_EVERY_S = 0.5


async def measure(stage: Stage, chats: Chats) -> Observed:
    """Let the crowd ask, kill a worker at half time, gather what everyone saw."""
    options = stage.options
    crowd = Crowd(
        [client_options(stage, number) for number in range(options.clients)], stage.directory
    )
    try:
        stage.progress.now("the clients are getting ready")
        await crowd.start()
        return await Measurement(stage, crowd, chats).run()
    finally:
        await crowd.end()


def client_options(stage: Stage, number: int) -> ClientOptions:
    """The look-ups of one client process."""
    options = stage.options
    return ClientOptions(
        broker=stage.fleet.endpoint,
        number=number,
        truth=str(stage.truth_file),
        rate_per_s=options.rate_per_s,
        seconds=options.seconds,
        seed=options.seed,
    )


class Measurement:
    """The measured part of a run."""

    def __init__(self, stage: Stage, crowd: Crowd, chats: Chats) -> None:
        self.stage, self.crowd, self.chats = stage, crowd, chats
        self.footprint = Footprint()
        self.recovery: Recovery | None = None

    async def run(self) -> Observed:
        """Begin, watch, kill at half time, wait for all answers, count."""
        stage, options = self.stage, self.stage.options
        begin_ns = stage.clock.now_ns() + START_DELAY_NS
        end_ns = begin_ns + round(options.seconds * 1e9)
        processes = {**stage.fleet.pids(), **self.crowd.pids(), "demo": os.getpid()}
        before = await self.statistics()
        self.footprint.watch(processes)
        self.crowd.begin(begin_ns)
        watching = asyncio.create_task(self.watch(begin_ns))
        works = [self.crowd.reports(), self.chats.run(end_ns)]
        if options.kill:
            works.append(self.kill_at(begin_ns + round(options.seconds * 5e8)))
        try:
            record, *_ = await together(*works)
        finally:
            watching.cancel()
        self.footprint.sample()
        told = self.crowd.progress.values()
        return Observed(
            seconds=options.seconds,
            target_per_s=options.rate_per_s * options.clients,
            clients=options.clients,
            workers=options.workers,
            stocks=list(stage.stocks.values()),
            index_s=stage.index_s,
            offered=sum(message["offered"] for message in told),
            late_p99_ms=max(message["late_p99_ms"] for message in told),
            record=record,
            chats=self.chats,
            footprint=self.footprint,
            before=before,
            after=await self.statistics(),
            recovery=self.recovery,
        )

    async def watch(self, begin_ns: int) -> None:
        """Show how it goes, and read the processes' usage, until cancelled."""
        seconds = self.stage.options.seconds
        while True:
            await asyncio.sleep(SAMPLE_EVERY_S)
            self.footprint.sample()
            offered, ended, wrong = self.crowd.sample()
            passed_s = max(0.0, (self.stage.clock.now_ns() - begin_ns) / 1e9)
            self.stage.progress.now(
                f"{passed_s:.0f}/{seconds:.0f} s · look-ups: {offered} sent, {ended} ended, "
                f"{wrong} wrong · chats: {self.chats.record.total().answered} answers"
            )

    async def kill_at(self, at_ns: int) -> None:
        """Kill a worker at that time, and see how long its librarians are missed."""
        stage = self.stage
        await asyncio.sleep((at_ns - stage.clock.now_ns()) / 1e9)
        keys = stage.corpus.librarian_keys
        recovery = await kill_and_recover(stage.node, stage.fleet, keys, self.open_kill_window)
        self.crowd.close_window(KILL_WINDOW, recovery.end_ns)
        self.chats.record.close_window(KILL_WINDOW, recovery.end_ns)
        self.footprint.watch({f"{recovery.victim} anew": stage.fleet.children[recovery.victim].pid})
        self.recovery = recovery
        stage.progress.stage(
            f"killed {recovery.victim} with SIGKILL: its {recovery.lost} librarians all answered "
            f"again after {recovery.seconds:.2f} s"
        )

    async def open_kill_window(self) -> None:
        await self.crowd.open_window(KILL_WINDOW)
        self.chats.record.open_window(KILL_WINDOW, self.stage.clock.now_ns())

    async def statistics(self) -> dict[str, dict[str, Any]]:
        """The statistics of every node of the run, by name."""
        fleet = await worker_statistics(self.stage.node)
        own = {"demo": self.stage.node.statistics()}
        return {**fleet, **await self.crowd.statistics(), **own}
