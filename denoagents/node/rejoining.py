"""A client that the fleet declared over (asleep or cut off for too long) comes back by itself."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

log = structlog.get_logger("denoagents.node")

AGAIN_S = 1.0
"""Between two tries."""


class Returning(Protocol):
    """What comes back."""

    name: str

    @property
    def state(self) -> str:
        """`rejoining` until it is back."""

    async def begin_again(self, reason: str) -> None:
        """Join as a new incarnation."""


async def rejoin(node: Returning, reason: str) -> None:
    """Try until the fleet has the node again."""
    while node.state == "rejoining":
        try:
            await node.begin_again(reason)
        except Exception as error:
            log.warning("rejoin_failed", node=node.name, error=repr(error))
            await asyncio.sleep(AGAIN_S)
        else:
            log.info("rejoined", node=node.name)
