"""Actors that watch one another over processes."""

import os

from denoagents import Actor, idempotent


class Target(Actor):
    """Lives until it is told to stop."""

    total: int = 0

    @idempotent
    async def where(self) -> int:
        return os.getpid()

    async def add(self, n: int) -> int:
        self.total += n
        return self.total

    async def stop(self) -> None:
        self.context.stop_self()


class Watcher(Actor):
    """Keeps the notices that it gets."""

    notices: list[tuple[str, str]] = []  # noqa: RUF012 - state: each actor gets its own

    @idempotent
    async def where(self) -> int:
        return os.getpid()

    async def on_terminated(self, address: str, reason: str) -> None:
        self.notices.append((address, reason))

    async def watch(self, targets: list[Target]) -> None:
        for target in targets:
            await self.context.watch(target)

    async def told(self) -> list[tuple[str, str]]:
        return self.notices
