"""Messages that a process may have died of: they run one at a time, and their senders know which.

Rules:
    A message that was under way when a process died takes its turn among all such messages of its
    new process. It runs when its sender has accepted the word that it starts, and when the sender
    of the one before has accepted that one's outcome. So the next death is blamed on the one that
    ran, and on no other: what waits here, or in a mailbox, has not been announced.
    One that was blamed before lets the others go on for `QUIET_S` first: what travelled with it to
    this process is answered by the time that it ends the next one.
    One that runs for long is left behind after `BRIEFLY_S`, or `PATIENCE_S` if it was blamed
    before; so the death that counts most, the third, names one. Nobody waits longer than `WAIT_S`:
    the one that holds the others up may itself wait for one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from denoagents._native.envelope import Envelope
from denoagents._native.remote import RemoteReply

PATIENCE_S = 2.0
"""For how long one that was blamed has its turn for itself; and a word may take to be accepted."""
BRIEFLY_S = 0.1
"""For how long one has it that was not: slow handlers of thousands would take forever in a row."""
QUIET_S = 0.5
"""For how long one that was blamed already lets the others go on."""
WAIT_S = 10.0
"""For how long one waits for its turn."""


class Suspects:
    """Those of one process."""

    def __init__(self) -> None:
        self._one = asyncio.Lock()
        self._outcome: asyncio.Future[None] | None = None
        """Done when the outcome of the last one is its sender's."""

    async def run(self, coroutine: Coroutine[Any, Any, Any], envelope: Envelope) -> Any:
        """Await `coroutine`, the turn of `envelope`."""
        try:
            if _was_blamed(envelope):
                await asyncio.sleep(QUIET_S)
            async with self._turn(envelope):
                words = [self._outcome, _announce(envelope)]
                waiters = [one for one in words if one is not None and not one.done()]
                if waiters:
                    await asyncio.wait(waiters, timeout=PATIENCE_S)
                return await coroutine
        finally:
            coroutine.close()

    @asynccontextmanager
    async def _turn(self, envelope: Envelope) -> AsyncIterator[None]:
        leave, loop = await self._enter(), asyncio.get_running_loop()
        patience_s = PATIENCE_S if _was_blamed(envelope) else BRIEFLY_S
        patience = loop.call_later(patience_s, leave)
        try:
            yield
        finally:
            patience.cancel()
            loop.call_soon(self._answered, envelope, leave)  # its outcome is on its way by then

    async def _enter(self) -> Callable[[], None]:
        """Wait for the turn; how to give it up, which may be done twice."""
        has_left = False
        try:
            async with asyncio.timeout(WAIT_S):
                await self._one.acquire()
        except TimeoutError:  # better together than never
            has_left = True

        def leave() -> None:
            nonlocal has_left
            if not has_left:
                has_left = True
                self._one.release()

        return leave

    def _answered(self, envelope: Envelope, leave: Callable[[], None]) -> None:
        reply = envelope.reply
        if isinstance(reply, RemoteReply) and reply.peer.link is not None:
            reply.peer.flush()
            self._outcome = reply.peer.link.when_accepted()
        leave()


def _was_blamed(envelope: Envelope) -> bool:
    return envelope.reply is not None and envelope.reply.deaths > 1


def _announce(envelope: Envelope) -> asyncio.Future[None] | None:
    """Tell the sender that its message starts; done when it has accepted that."""
    peer = envelope.reply.announce() if isinstance(envelope.reply, RemoteReply) else None
    if peer is None or peer.link is None:
        return None
    peer.flush()
    accepted: asyncio.Future[None] = peer.link.when_accepted()
    return accepted
