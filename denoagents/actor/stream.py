"""Streaming replies: the reader's side, and the pump that drives the writer's generator.

Rules:
    A writer is at most its credit ahead of the reader: bytes between processes, items inside one.
    The reader gives credit back as it takes items. A writer without credit for `credit_timeout_s`
    is cancelled.
    What a user holds is a `StreamCall`; what the writer holds is its `Reader`. So the writer does
    not keep the user's object alive: leaving the loop early, closing or losing it cancels the
    writer.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from denoagents._native.call import BoundMethod, admit, in_turn, open_stream
from denoagents._native.envelope import Envelope, ReplyTo
from denoagents._native.peer import Peer, RemoteReply
from denoagents._native.router import Destination
from denoagents.errors import (
    CreditTimeoutError,
    DenoagentsError,
    ExpiredError,
    RequestTimeoutError,
)

GRANT_BYTES = 64 << 10
"""The reader gives credit back in parts of this size."""


class StreamCall(AsyncIterator[Any]):
    """One streaming ask: sent at the first item asked for, iterated once."""

    __slots__ = ("__weakref__", "_reader")

    def __init__(self, target: BoundMethod, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._reader = Reader(target, args, kwargs)

    def __aiter__(self) -> StreamCall:
        return self

    async def __anext__(self) -> Any:
        return await self._reader.take()

    async def aclose(self) -> None:
        """Stop reading; the writer is cancelled."""
        self._reader.leave()

    def __del__(self) -> None:
        self._reader.lost()

    def __repr__(self) -> str:
        return f"<StreamCall {self._reader.name}>"


class Reader(ReplyTo):
    """The reader's end of one stream: sent at the first item asked for."""

    def __init__(self, target: BoundMethod, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._target, self._args, self._kwargs = target, args, kwargs
        self._router = target.router
        self._ready: deque[tuple[int, Any]] = deque()
        self._is_sent = False
        self.is_over = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._owed = 0
        self._member: Any = None
        self._thread = threading.get_ident()
        self.credit = self._router.directory.stream_items

    @property
    def name(self) -> str:
        """Which actor's method it comes from."""
        return f"{self._target.address}.{self._target.method.name}"

    # --- the reader's side ------------------------------------------------------------------------

    async def take(self) -> Any:
        """The next item; raises StopAsyncIteration after the last one."""
        if not self._is_sent:
            await self._send()
        while not self._ready:
            if self.is_over:
                error, self._error = self._error, None
                raise StopAsyncIteration if error is None else error
            if self._waiter is not None:
                raise RuntimeError(f"{self!r} is being read already")
            await self._arrival()
        cost, item = self._ready.popleft()
        self._give_back(cost)
        return self._decode(item) if isinstance(item, _Encoded) else item

    async def _arrival(self) -> None:
        self._router.runtime.check_loop()
        self._waiter = self._router.runtime.loop.create_future()
        try:
            await self._waiter
        except asyncio.CancelledError:
            self.leave()
            raise
        finally:
            self._waiter = None

    async def _send(self) -> None:
        self._is_sent = True
        try:
            await self._admission()
            open_stream(self._target, self._args, self._kwargs, self)
        except BaseException:
            self._finish(None)
            raise
        if not self.is_over:
            self._router.directory.add_deadline(self)

    async def _admission(self) -> None:
        gate = self._router.admission
        if gate is None or in_turn():
            return
        waiter = admit(self._router, self._target.ref, self)
        if waiter is not None:
            try:
                await waiter
            except asyncio.CancelledError:
                gate.leave(waiter)
                raise

    def _decode(self, item: _Encoded) -> Any:
        try:
            return self._target.method.decode_result(item.payload)
        except DenoagentsError:
            self.leave()
            raise

    def _give_back(self, cost: int) -> None:
        if isinstance(self.place, Peer):
            self._owed += cost
            if self._owed >= GRANT_BYTES:
                self.place.grant(self.number, self._owed)
                self._owed = 0
            return
        self.credit += cost
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    def leave(self) -> None:
        """Nobody reads any more: the writer is cancelled."""
        self._withdraw()
        self._finish(None)
        self._ready.clear()
        self._error = None

    def lost(self) -> None:
        """The reader's object is gone; any thread may say so."""
        if self.is_over or not self._is_sent:
            return
        if threading.get_ident() == self._thread:
            self.leave()
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and the writer with it
                self._router.runtime.loop.call_soon_threadsafe(self.leave)

    def _withdraw(self) -> None:
        place, self.place = self.place, None
        if self.is_over:
            return
        if isinstance(place, Envelope):
            self._router.runtime.cancel(place)
        elif isinstance(place, Destination):
            place.withdraw(self)

    def _finish(self, error: BaseException | None) -> None:
        if self.is_over:
            return
        self.is_over, self._error, self.place = True, error, None
        self._router.directory.discard_deadline(self)
        if self._member is not None:
            self._member.finished()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def count_for(self, member: Any) -> None:
        """Tell `member` of a pool when this stream is over."""
        self._member = member

    @property
    def is_idempotent(self) -> bool:
        """Streams are never sent again: some of their items may have been seen."""
        return False

    # --- what the writer's side calls, here or through the peer ----------------------------------

    def item_payload(self, payload: bytes) -> None:
        """An item came from another process."""
        if not self.is_over:
            self._ready.append((len(payload) + 16, _Encoded(payload)))
            self._wake()

    def send_item(self, value: Any) -> int:
        """An item from an actor in this process; the credit that is left."""
        self.credit -= 1
        if not self.is_over:
            if self._router.codec:
                value = _Encoded(self._target.method.encode_result(value))
            self._ready.append((1, value))
            self._wake()
        return self.credit

    def wait_for_credit(self) -> asyncio.Future[None]:
        """A future that is done when the reader has taken something."""
        self._writer = self._router.runtime.loop.create_future()
        return self._writer

    def end(self) -> None:
        """The generator ended."""
        self._finish(None)

    def reject(self, error: BaseException) -> None:
        """The generator raised, or the request was refused."""
        if not self.is_over:
            local = self._router.directory.local_error
            self._finish(error if isinstance(error, DenoagentsError) else local(error))

    def expire(self) -> None:
        """The deadline of the whole stream passed."""
        if self.is_over:
            return
        place = self.place
        if isinstance(place, Envelope) and self._router.runtime.expire(place):
            self._finish(
                ExpiredError(f"{self.name} was not reached within its deadline; it was not run")
            )
        else:
            self._withdraw()
            self._finish(RequestTimeoutError(f"{self.name} did not end within its deadline"))

    def __repr__(self) -> str:
        return f"<Reader {self.name}{' over' if self.is_over else ''}>"


class _Encoded:
    """An item as it came over the wire."""

    __slots__ = ("payload",)

    def __init__(self, payload: bytes) -> None:
        self.payload = payload


async def pump(
    generator: AsyncGenerator[Any, None], reply: RemoteReply | Reader, credit_timeout_s: float
) -> None:
    """Send what `generator` yields, no further ahead than the reader's credit."""
    try:
        async for value in generator:
            if reply.send_item(value) <= 0:
                await _wait_for_credit(reply, credit_timeout_s)
    finally:
        await generator.aclose()


async def _wait_for_credit(reply: RemoteReply | Reader, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while reply.credit <= 0:
                await reply.wait_for_credit()
    except TimeoutError:
        raise CreditTimeoutError(
            f"the reader took nothing for {timeout_s:g} s; the stream was cancelled"
        ) from None
