"""Durable accounts, and actors that are reminded: what must outlive every process."""

import asyncio
import os

from denoagents import Actor, durable, tell


@durable(mode="os")
class Account(Actor):
    """Money goes from one to another; none is made, none is lost."""

    cents: int = 0
    transfers: int = 0

    async def where(self) -> int:
        return os.getpid()

    async def open(self, cents: int) -> None:
        self.cents = cents

    async def pay(self, to: "Account", cents: int) -> int:
        """Move money; how many transfers this account has begun."""
        self.cents -= cents
        tell(to.receive, cents)
        self.transfers += 1
        return self.transfers

    async def receive(self, cents: int) -> None:
        self.cents += cents

    async def balance(self) -> int:
        return self.cents

    async def fence(self) -> int:
        return self.context.fence

    async def add_slowly(self, cents: int, seconds: float) -> int:
        await asyncio.sleep(seconds)
        self.cents += cents
        return self.cents


@durable
class Diary(Actor):
    """Is reminded."""

    seen: list[str] = []  # noqa: RUF012 - each actor gets a copy

    async def where(self) -> int:
        return os.getpid()

    async def remind(self, name: str, after_s: float) -> None:
        self.context.remind(name, self.note, name, after_s=after_s)

    async def note(self, name: str) -> None:
        self.seen.append(name)

    async def read(self) -> list[str]:
        return self.seen
