"""Actors that talk to each other, for the number of connections between their workers."""

import os

from denoagents import Actor


class Talker(Actor):
    """Asks and answers."""

    heard: int = 0

    async def where(self) -> int:
        return os.getpid()

    async def hear(self) -> int:
        self.heard += 1
        return self.heard

    async def talk_to(self, key: str, times: int) -> int:
        """Ask another one so often; returns what it had heard at last."""
        last = 0
        for _ in range(times):
            last = await self.context.actor(Talker, key).hear()
        return last
