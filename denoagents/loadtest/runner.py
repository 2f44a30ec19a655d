"""The open-loop runner: sends requests at their scheduled times, whatever the replies do.

Rules:
    Latency counts from the scheduled time, so a stall shows in every request that it delays.
    At most `outstanding` requests are in flight; a later one waits, and its waiting counts.
    A wrong answer is an answer; an exception is an error, counted by its code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from denoagents._native.clock import Clock
from denoagents._native.histogram import Histogram
from denoagents.errors import DenoagentsError
from denoagents.loadtest.pacer import Pacer, open_pacer
from denoagents.loadtest.tally import Record

Send = Callable[[str], Awaitable[bool]]
"""Sends one request at a priority; True if the answer was right, False if it was wrong."""

PRIORITIES = ("high", "normal", "low")


@dataclass(frozen=True, slots=True)
class Load:
    """What to offer."""

    schedule: Sequence[int]
    """Offsets from the beginning, in ns, in order (`plan_schedule`)."""
    priorities: Sequence[str] = PRIORITIES
    """Taken in turn."""
    outstanding: int = 20_000
    """Requests in flight at most; 20 s of the demo's rate, so that a recovery never binds it."""


def error_code(error: BaseException) -> str:
    """The stable code of our own errors, the class's name of others."""
    return error.code if isinstance(error, DenoagentsError) else type(error).__name__


class OpenLoop:
    """One run; `record` and the counters may be read while it goes on."""

    def __init__(self, load: Load, send: Send, clock: Clock, pacer: Pacer | None = None) -> None:
        self.load = load
        self.record = Record()
        self.lateness = Histogram()
        """How much later than scheduled requests left, in ns: the generator's own fault."""
        self.offered = 0
        self.ended = 0
        self._send, self._clock, self._pacer = send, clock, pacer
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()

    async def run(self, begin_ns: int | None = None) -> Record:
        """Offer everything, wait for every end; cancelled, it cancels what is in flight."""
        pacer = self._pacer or open_pacer(self._clock)
        begin_ns = self._clock.now_ns() if begin_ns is None else begin_ns
        try:
            for number, offset_ns in enumerate(self.load.schedule):
                due_ns = begin_ns + offset_ns
                await self._wait_until(pacer, due_ns)
                self._begin(due_ns, self.load.priorities[number % len(self.load.priorities)])
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            if self._pacer is None:
                pacer.close()
            for task in self._tasks:
                task.cancel()
        return self.record

    async def _wait_until(self, pacer: Pacer, due_ns: int) -> None:
        while self._clock.now_ns() < due_ns:
            await pacer.sleep_until(due_ns)
        while len(self._tasks) >= self.load.outstanding:
            self._room.clear()
            await self._room.wait()

    def _begin(self, due_ns: int, priority: str) -> None:
        self.offered += 1
        self.lateness.record(max(0, self._clock.now_ns() - due_ns))
        task = asyncio.get_running_loop().create_task(self._one(due_ns, priority))
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._room.set()

    async def _one(self, due_ns: int, priority: str) -> None:
        right, error = False, ""
        try:
            right = await self._send(priority)
        except asyncio.CancelledError:
            error = "cancelled"
            raise
        except Exception as failure:
            error = error_code(failure)
        finally:
            self.ended += 1
            self.record.add(priority, due_ns, self._clock.now_ns(), right=right, error=error)
