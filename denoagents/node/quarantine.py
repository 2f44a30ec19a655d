"""Reliable messages that were given up: kept here, or at the broker as soon as it has stored them.

Rules:
    A message is its sender's until somebody keeps it: `on_kept` is called then, once.
    With a broker each message is offered to it, one after the other, until it answers that it is
    stored; a broker that is away or full is asked again.
    Without one the node keeps up to `limit` messages; more wait for room, and are not lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog

from denoagents.cluster.messages import Quarantined
from denoagents.errors import DenoagentsError

log = structlog.get_logger("denoagents.node")

LIMIT: Final = 1000
AGAIN_S: Final = 1.0
"""How long to wait before a broker that did not take a message is asked again."""
LARGEST_BYTES: Final = 7 << 20
"""A payload above this does not fit into a control message: its node keeps it."""


class Quarantine:
    """The quarantined messages of one node that the broker has not (yet)."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.kept: dict[int, Quarantined] = {}
        """By number, oldest first: what this node keeps itself."""
        self.count = 0
        """How many messages were given up."""
        self._numbers = 0
        self._node = ""
        self._offered: dict[tuple[int, int], tuple[Quarantined, Callable[[], None]]] = {}
        self._offer: Callable[[Quarantined], Awaitable[None]] | None = None
        self._task: asyncio.Task[None] | None = None

    def attach(self, node: str, offer: Callable[[Quarantined], Awaitable[None]] | None) -> None:
        """Whose messages they are; `offer` returns when the broker has stored one."""
        self._node, self._offer = node, offer

    def add(self, message: Quarantined, on_kept: Callable[[], None]) -> None:
        """Keep `message`, now or as soon as somebody can."""
        identity = (message.stream, message.number)
        if identity in self._offered:
            return
        self.count += 1
        log.error(
            "message quarantined",
            actor=message.target,
            method=message.method,
            reason=message.reason,
            deaths=message.deaths,
        )
        self._offered[identity] = (msgspec.structs.replace(message, node=self._node), on_kept)
        if self._offer is None:
            self._keep_here()
        elif self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._hand_over(self._offer))

    @property
    def waiting(self) -> int:
        """Messages that nobody has kept yet."""
        return len(self._offered)

    def statistics(self) -> dict[str, int]:
        """How many were given up here, how many wait for the broker, how many stay here."""
        return {"count": self.count, "waiting": self.waiting, "kept": len(self.kept)}

    def purge(self, number: int) -> bool:
        """Forget a message that this node keeps; false if it keeps none of that number."""
        found = self.kept.pop(number, None)
        self._keep_here()
        return found is not None

    async def close(self) -> None:
        """Offer nothing more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _keep_here(self) -> None:
        while self._offer is None and self._offered and len(self.kept) < self.limit:
            self._keep(*next(iter(self._offered)))

    def _keep(self, stream: int, number: int) -> None:
        message, on_kept = self._offered.pop((stream, number))
        self._numbers += 1
        self.kept[self._numbers] = message
        on_kept()

    async def _hand_over(self, offer: Callable[[Quarantined], Awaitable[None]]) -> None:
        while self._offered:
            identity, (message, on_kept) = next(iter(self._offered.items()))
            if len(message.payload) > LARGEST_BYTES and len(self.kept) < self.limit:
                log.error("quarantined message stays here", actor=message.target, why="its size")
                self._keep(*identity)
                continue
            try:
                await offer(message)
            except DenoagentsError as error:
                log.warning("the broker does not keep a message yet", error=str(error))
                await asyncio.sleep(AGAIN_S)
            else:
                del self._offered[identity]
                on_kept()
        self._task = None
