"""Actors that write down what they handle: one of each promise, for runs with faults."""

import asyncio
import os
import time
from pathlib import Path

import denoagents
from denoagents import Actor, idempotent
from denoagents.testing.history import History, add_to_runs

FOLDER = os.environ.get("DENOAGENTS_HISTORIES", "")
"""Set for the workers only; opened at once, so that it is older than whatever may end the life."""
HISTORY = History(Path(FOLDER), "worker", is_kill_safe=True) if FOLDER else None

reliable = getattr(denoagents, "reliable", None)
durable = getattr(denoagents, "durable", None)


def unchanged(cls):
    return cls


class Recorded(Actor):
    """What all of them do."""

    @idempotent
    async def where(self) -> int:
        return os.getpid()

    async def take(self, voice: str, number: int) -> int:
        self._write(voice, number)
        return number

    async def take_a_while(self, voice: str, number: int) -> int:
        """Long enough that a kill meets some of them in the middle."""
        self._write(voice, number)
        await asyncio.sleep(0.02)
        return number

    async def take_slowly(self, voice: str, number: int, seconds: float) -> int:
        self._write(voice, number)
        await asyncio.sleep(seconds)
        return number

    async def hog(self, seconds: float) -> None:
        """Hold the loop, and hardly ever let go of the GIL."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            sum(range(1000))

    def _write(self, voice: str, number: int) -> None:
        if HISTORY is not None:
            fence = getattr(self.context, "fence", 0)
            HISTORY.handle(voice, self.context.address, number, fence)


class Plain(Recorded):
    """At most once."""


@reliable or unchanged
class Reliable(Recorded):
    """At least once, and again only after a death."""


@durable or unchanged
class Durable(Actor):
    """Keeps what it took in its state, each number once."""

    runs: dict[str, list[tuple[int, int]]] = {}  # noqa: RUF012 - state: each actor gets its own

    async def take(self, voice: str, number: int) -> int:
        if HISTORY is not None:
            fence = getattr(self.context, "fence", 0)
            HISTORY.handle(voice, self.context.address, number, fence)
        runs = self.runs.setdefault(voice, [])
        add_to_runs(runs, number)
        return number

    @idempotent
    async def taken(self) -> dict[str, list[tuple[int, int]]]:
        return self.runs
