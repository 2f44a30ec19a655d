"""The fleet's quarantine: messages that were given up, kept until an operator decides.

Rules:
    A message is answered for when it is stored, not before; the same one is stored once.
    Bounded in messages and bytes: a full quarantine refuses, and the sender keeps the message.
    Lists carry no payload: it is shown for one message, by its id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec
import structlog

from denoagents.cluster.messages import Quarantined
from denoagents.cluster.settings import ClusterSettings
from denoagents.errors import NotFoundError, Overloaded, UsageError
from denoagents.store.quarantine_store import QuarantineStore, Row

LISTED: Final = 1000
"""Messages in one answer; ask again with `after`."""
AGAIN_S: Final = 5.0

T = TypeVar("T")
Body = dict[str, Any]
log = structlog.get_logger("denoagents.broker")


class Quarantine:
    """What the broker keeps for its members; its calls return when the store has done them."""

    def __init__(
        self,
        store: QuarantineStore,
        settings: ClusterSettings,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.store, self._wall_clock = store, wall_clock
        self._most = settings.quarantine_messages
        self._most_bytes = settings.quarantine_bytes
        self._thread: ThreadPoolExecutor | None = None
        self._size = 0, 0
        self._turn = asyncio.Lock()

    def load(self) -> None:
        """Look at what the store has from a former life; raises `StoreError`."""
        self._size = self.store.size()

    def close(self) -> None:
        """Wait for what is under way."""
        if self._thread is not None:
            self._thread.shutdown(wait=True)

    def facts(self) -> Body:
        """How much there is, for `status`."""
        count, size_bytes = self._size
        return {"messages": count, "bytes": size_bytes, "is_durable": self.store.is_durable}

    # --- for members ----------------------------------------------------------------------------

    async def keep(self, message: Quarantined) -> int:
        """Store `message`; its id. Raises `Overloaded` when there is no room, `StoreError`."""
        async with self._turn:
            return await self._run(lambda: self._keep(message))

    def _keep(self, message: Quarantined) -> int:
        key = b"%016x%016x" % (message.stream, message.number) + message.target.encode()
        known = self.store.find(key)
        if known is not None:
            return known
        count, size_bytes = self._size
        if count >= self._most or size_bytes + len(message.payload) > self._most_bytes:
            raise Overloaded(
                f"the quarantine is full ({count} messages, {size_bytes} bytes); "
                "look at it with `denoagents dlq ls`, then replay or purge",
                AGAIN_S,
            )
        header = msgspec.msgpack.encode(msgspec.structs.replace(message, payload=b""))
        at_ms = int(self._wall_clock().timestamp() * 1000)
        number = self.store.add(key, at_ms, header, message.payload)
        self._size = count + 1, size_bytes + len(message.payload)
        log.error(
            "broker.quarantined",
            id=number,
            actor=message.target,
            method=message.method,
            node=message.node,
            reason=message.reason,
            survives_restart=self.store.is_durable,
        )
        return number

    # --- for operators --------------------------------------------------------------------------

    async def listing(self, body: Body) -> Body:
        """`{"after": 0, "limit": 1000}` to `{"rows", …}`, oldest first, without payloads."""
        after, limit = _number(body, "after", 0), min(_number(body, "limit", LISTED), LISTED)
        rows = await self._run(lambda: self.store.rows(after, limit))
        return {"rows": [_described(row) for row in rows], **self.facts()}

    async def show(self, body: Body) -> Body:
        """`{"id"}` to everything about one message, its payload as bytes."""
        number = _number(body, "id", None)
        row = await self._run(lambda: self.store.row(number))
        if row is None:
            raise NotFoundError(f"the quarantine has no message {number}; see `denoagents dlq ls`")
        return {**_described(row), "payload": row.payload}

    async def purge(self, body: Body) -> Body:
        """`{"ids": […]}` or `{"all": true}`: forget them; nothing is if one id is unknown."""
        ids = body.get("ids")
        is_all = body.get("all") is True
        if is_all == isinstance(ids, list) or not all(_is_number(one) for one in ids or ()):
            raise UsageError('purge needs {"ids": [numbers]} or {"all": true}')
        async with self._turn:
            return {"purged": await self._run(lambda: self._purge(None if is_all else ids))}

    def _purge(self, ids: Sequence[int] | None) -> int:
        unknown = [one for one in ids or () if self.store.row(one) is None]
        if unknown:
            listed = ", ".join(map(str, unknown[:20]))
            raise NotFoundError(
                f"the quarantine has no message {listed}; nothing was purged "
                "(see `denoagents dlq ls`)"
            )
        count = self.store.remove(ids)
        self._size = self.store.size()
        return count

    async def _run(self, work: Callable[[], T]) -> T:
        if not self.store.is_blocking:
            return work()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="denoagents-quarantine")
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _described(row: Row) -> Body:
    message = msgspec.msgpack.decode(row.header, type=Quarantined)
    at = datetime.fromtimestamp(row.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return {
        "id": row.id,
        "at": at,
        "target": message.target,
        "method": message.method,
        "deaths": message.deaths,
        "reason": message.reason,
        "node": message.node,
        "priority": message.priority,
        "age_s": round(message.age_s, 3),
        "stream": str(message.stream),
        "number": message.number,
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _number(body: Body, key: str, default: int | None) -> int:
    value = body.get(key, default)
    if not _is_number(value):
        raise UsageError(f"the request needs a whole number {key!r}, got {value!r}")
    return int(value)  # type: ignore[arg-type]
