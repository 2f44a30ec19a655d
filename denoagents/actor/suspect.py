"""Messages that a process may have died of: their senders know that they run before they run.

Rules:
    A message that was under way when a process died runs when its sender has accepted the word that
    it starts, together with those like it behind it. Those and no others are blamed for a second
    death. One that is blamed runs alone among them until its sender has its outcome: so the third
    death names the deadly message, and no other one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from denoagents._native.envelope import Envelope
from denoagents._native.remote import RemoteReply

PATIENCE_S = 5.0
"""For how long one waits for its turn among them, and for the word to be accepted."""


class Suspects:
    """Those of one process."""

    def __init__(self) -> None:
        self._running = 0
        self._alone = 0
        self._change: asyncio.Event | None = None

    async def run(self, coroutine: Coroutine[Any, Any, Any], envelope: Envelope, told: Any) -> Any:
        """Await `coroutine`, the turn of `envelope`, once `told` (Futures) are done."""
        is_blamed = envelope.reply is not None and envelope.reply.deaths > 1
        try:
            async with self._turn(envelope, is_blamed=is_blamed):
                waiters = [one for one in told if one is not None]
                if waiters:
                    await asyncio.wait(waiters, timeout=PATIENCE_S)
                return await coroutine
        finally:
            coroutine.close()

    @asynccontextmanager
    async def _turn(self, envelope: Envelope, *, is_blamed: bool) -> AsyncIterator[None]:
        self._alone += is_blamed
        try:
            async with asyncio.timeout(PATIENCE_S):
                while self._running and (is_blamed or self._alone):
                    await self._changed()
        except TimeoutError:  # one that waits for another: better together than never
            pass
        self._running += 1
        try:
            yield
        finally:
            if is_blamed:
                asyncio.get_running_loop().call_soon(self._leave_when_answered, envelope)
            else:
                self._leave()

    def _leave_when_answered(self, envelope: Envelope) -> None:
        reply, accepted = envelope.reply, None
        if isinstance(reply, RemoteReply) and reply.peer.link is not None:
            reply.peer.flush()
            accepted = reply.peer.link.when_accepted()
        self._alone -= 1
        if accepted is None:
            self._leave()
        else:
            accepted.add_done_callback(lambda _: self._leave())

    def _leave(self) -> None:
        self._running -= 1
        if self._change is not None:
            self._change.set()

    async def _changed(self) -> None:
        if self._change is None or self._change.is_set():
            self._change = asyncio.Event()
        await self._change.wait()
