"""Streaming replies: the reader's side, and the pump that drives the writer's generator.

Rules:
    A writer is at most its credit ahead of the reader: bytes between processes, items inside one.
    The reader gives credit back as it takes items. Leaving the loop early, closing or losing the
    stream object cancels the writer. A writer without credit for `credit_timeout_s` is cancelled.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from denoagents._native.call import BoundMethod, admit, in_turn, open_stream
from denoagents._native.envelope import Envelope, ReplyTo
from denoagents._native.peer import Peer, RemoteReply
from denoagents._native.router import Destination
from denoagents.errors import CreditTimeoutError, DenoagentsError, RequestTimeoutError

GRANT_BYTES = 64 << 10
"""The reader gives credit back in parts of this size."""


class StreamCall(AsyncIterator[Any]):
    """One streaming ask, iterated once. Whoever lets go of it has left: the writer is cancelled."""

    __slots__ = ("__weakref__", "_reader")

    def __init__(self, target: BoundMethod, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._reader = Reader(target, args, kwargs)

    def __aiter__(self) -> StreamCall:
        return self

    async def __anext__(self) -> Any:
        return await self._reader.next()

    async def aclose(self) -> None:
        """Stop reading; the writer is cancelled."""
        self._reader.leave()

    def __del__(self) -> None:
        self._reader.leave()

    def __repr__(self) -> str:
        return repr(self._reader)


class Reader(ReplyTo):
    """The reader's end of one stream: sent at the first item asked for."""

    def __init__(self, target: BoundMethod, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._target, self._args, self._kwargs = target, args, kwargs
        self._router = target.router
        self._ready: deque[tuple[int, Any]] = deque()
        self._is_sent = self._is_over = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._owed = 0
        self._writer: asyncio.Future[None] | None = None
        self._member: Any = None
        self.credit = self._router.directory.stream_items

    async def next(self) -> Any:
        """The next item; raises `StopAsyncIteration` at the end, and what the generator raised."""
        if not self._is_sent:
            await self._send()
        while not self._ready:
            if self._is_over:
                error, self._error = self._error, None
                if error is not None:
                    raise error
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            except asyncio.CancelledError:
                self.leave()
                raise
        cost, item = self._ready.popleft()
        self._give_back(cost)
        return item if cost == 1 and not isinstance(item, _Encoded) else self._decode(item)

    async def _send(self) -> None:
        self._is_sent = True
        target = self._target
        if self._router.admission is not None and not in_turn():
            waiter = admit(self._router, target.ref, self)
            if waiter is not None:
                await waiter
        open_stream(self._target, self._args, self._kwargs, self)
        if not self._is_over:
            self._router.directory.add_deadline(self)

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
        """Nobody reads any more: cancel the writer."""
        if self._is_over or not self._is_sent:
            return
        self._finish(None)
        place, self.place = self.place, None
        if isinstance(place, Envelope):
            self._router.runtime.cancel(place)
        elif isinstance(place, Destination):
            place.withdraw(self)

    def _finish(self, error: BaseException | None) -> None:
        if self._is_over:
            return
        self._is_over, self._error = True, error
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
        if not self._is_over:
            self._ready.append((len(payload) + 16, _Encoded(payload)))
            self._wake()

    def send_item(self, value: Any) -> int:
        """An item from an actor in this process; the credit that is left."""
        if self._router.codec:
            value = _Encoded(self._target.method.encode_result(value))
        self._ready.append((1, value))
        self.credit -= 1
        self._wake()
        return int(self.credit)

    def wait_for_credit(self) -> asyncio.Future[None]:
        """A future that is done when the reader has taken something."""
        self._writer = asyncio.get_running_loop().create_future()
        return self._writer

    def end(self) -> None:
        """The generator ended."""
        self._finish(None)

    def reject(self, error: BaseException) -> None:
        """The generator raised, or the request was refused."""
        local = self._router.directory.local_error
        self._finish(error if isinstance(error, DenoagentsError) else local(error))

    def expire(self) -> None:
        """The deadline of the whole stream passed."""
        if not self._is_over:
            self.leave()
            self._error = RequestTimeoutError(f"{self!r} did not end within its deadline")

    def __repr__(self) -> str:
        return f"<StreamCall {self._target.address}.{self._target.method.name}>"


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
        raise CreditTimeoutError(f"the reader took nothing for {timeout_s:g} s; the stream was cancelled") from None
