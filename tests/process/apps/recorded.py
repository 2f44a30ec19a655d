"""Actors that write down what they handle: one of each promise, for runs with faults."""

import asyncio
import os
import time
from pathlib import Path

import denoagents
from denoagents import Actor, idempotent, tell
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


class Forwarder(Recorded):
    """Tells another actor of each message that it takes."""

    told: int = 0

    async def take(self, voice: str, number: int) -> int:
        self._write(voice, number)
        me, key = self.context.address, f"of {self.context.address.partition('/')[2]}"
        self.told += 1
        if HISTORY is not None:
            HISTORY.invoke(me, f"Plain/{key}", self.told, "plain", is_ask=False)
        await tell(self.context.actor(Plain, key).take, me, self.told)
        if HISTORY is not None:
            HISTORY.end(me, f"Plain/{key}", self.told, "ok")
        return number

    async def forwarded(self) -> int:
        """Returns when the last one has been handled, too."""
        await self.context.actor(Plain, f"of {self.context.address.partition('/')[2]}").where()
        return self.told


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
