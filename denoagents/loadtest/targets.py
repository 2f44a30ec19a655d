"""The actors that benches talk to; the app of the benches' worker process."""

from __future__ import annotations

import msgspec

from denoagents._native.clock import Clock
from denoagents._native.histogram import Histogram
from denoagents.actor.actor import Actor

__all__ = ["Idle", "Received", "Target"]


class Received(msgspec.Struct, frozen=True):
    """What a target has got since the last time it was asked."""

    count: int
    latency: bytes
    """A `Histogram` of the messages that carried their sending time."""


class Target(Actor):
    """Counts what it gets; knows when the messages that say so were sent."""

    async def on_start(self) -> None:
        self._clock = Clock()
        self._latency = Histogram()
        self._count = 0

    async def add(self, n: int) -> int:
        """The smallest useful request."""
        self._count += n
        return self._count

    async def put(self, sent_ns: int) -> None:
        """Count, and note how long the message was on its way (one machine has one clock)."""
        self._count += 1
        self._latency.record(max(0, self._clock.now_ns() - sent_ns))

    async def take(self, sent_ns: int, payload: bytes) -> None:  # noqa: ARG002 - only carried
        """Like `put`, with something to carry."""
        self._count += 1
        self._latency.record(max(0, self._clock.now_ns() - sent_ns))

    async def received(self) -> Received:
        """What came since the last `received`; begins anew."""
        seen = Received(self._count, self._latency.to_bytes())
        self._count, self._latency = 0, Histogram()
        return seen


class Idle(Actor):
    """Does nothing; there can be a great many."""

    async def touch(self) -> None:
        """Be alive."""
