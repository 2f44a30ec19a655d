"""What code outside of turns sends durably: kept by this node's store before the send returns.

Rules:
    A node of the same name with the same store sends again what was not handled, in its order and
    with its identities; the one before it writes nothing more.
    Messages leave in the order of the calls, each when it is kept.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from denoagents.actor.durables import Outgoings
from denoagents.actor.reference import JOURNALED
from denoagents.durability import JOURNAL, Commit, Kept, Mode, Outgoing, StateStore, stream_of
from denoagents.errors import ConfigurationError, StoreError

log = structlog.get_logger("denoagents.node")

LEVELS: Final[dict[int, Mode]] = {
    JOURNALED["os"]: "os",
    JOURNALED["disk"]: "disk",
}

Opening = Callable[[int, int, int, Callable[[int, object], None]], Outgoings]


class Journal:
    """The durable sends of one node."""

    def __init__(self, name: str, store: StateStore | None, open_stream: Opening) -> None:
        """`store` is None for a node without one, or without a name that the next one has too."""
        self.actor = f"{JOURNAL}{name}"
        self._store, self._open_stream = store, open_stream
        self._fence, self._sent = 0, 0
        self._stream: Outgoings | None = None
        self._leaving: deque[tuple[Outgoing, asyncio.Future[None]]] = deque()
        self._settled: list[int] = []
        self._loop: asyncio.AbstractEventLoop
        self._settling: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Claim what the node before left, and send it again."""
        self._loop = asyncio.get_running_loop()
        if self._store is None:
            return
        self._fence = await self._store.next_fence()
        kept = await self._store.claim(self.actor, self._fence) or Kept()
        self._sent = kept.sent
        first = kept.outgoing[0].number if kept.outgoing else kept.sent + 1
        self._stream = self._open_stream(stream_of(self.actor), kept.sent, first, self._on_settled)
        if kept.outgoing:
            log.info("sent_again", node=self.actor, messages=len(kept.outgoing))
        for one in kept.outgoing:
            self._stream.send(one.target, one.method, one.payload, one.priority, one.number)

    def close(self) -> None:
        """Write what is settled; the rest is the next node's."""
        if self._settling is not None:
            self._settling.cancel()
        self._settle()
        if self._stream is not None:
            self._stream.on_settled = None

    def tell(
        self, address: str, method: str, payload: bytes, priority: int, level: int
    ) -> Awaitable[None]:
        """Keep it, then send it; the awaitable ends when it is kept."""
        if self._store is None or self._stream is None:
            raise ConfigurationError(
                "options(…, durability=…) needs a store to keep what is sent; "
                "write Node(store='sent.db', name='a name of its own', …)"
            )
        self._sent += 1
        one = Outgoing(self._sent, address, method, priority, payload)
        commit = Commit(self.actor, self._fence, sent=self._sent, outgoing=(one,))
        keeping = asyncio.ensure_future(self._store.commit(commit, LEVELS[level]))
        self._leaving.append((one, keeping))
        keeping.add_done_callback(self._leave)
        return asyncio.shield(keeping)

    def _leave(self, _: Any) -> None:
        while self._leaving and self._leaving[0][1].done():
            one, kept = self._leaving.popleft()
            if kept.cancelled() or kept.exception() is not None or self._stream is None:
                continue  # whoever waits for it hears why
            self._stream.send(one.target, one.method, one.payload, one.priority, one.number)

    def _on_settled(self, number: int, _: object) -> None:
        self._settled.append(number)
        if self._settling is None:
            self._settling = self._loop.call_later(0.05, self._settle)

    def _settle(self) -> None:
        self._settling = None
        if self._settled and self._store is not None:
            numbers = tuple(self._settled)
            self._settled.clear()
            try:
                self._store.settle(self.actor, self._fence, numbers)
            except StoreError as error:
                log.warning("not_settled", node=self.actor, error=str(error))
