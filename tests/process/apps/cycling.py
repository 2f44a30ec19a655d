"""Actors that ask one another in a circle."""

import os

from denoagents import Actor, idempotent


class Link(Actor):
    """One link of a chain of asks."""

    passed: int = 0

    @idempotent
    async def where(self) -> int:
        return os.getpid()

    async def go(self, path: list[str]) -> list[str]:
        """Ask the next one of the path, and so on; what each one says of itself."""
        self.passed += 1
        mine = f"{type(self).__name__}/{self.context.address.partition('/')[2]}"
        if not path:
            return [mine]
        kind, _, key = path[0].partition("/")
        cls = Open if kind == "Open" else Link
        return [mine, *await self.context.actor(cls, key).go(path[1:])]

    async def count(self) -> int:
        return self.passed


class Open(Link):
    """The same, but one that may be asked again while it waits."""

    reentrant = True
