"""Actors with handlers that end their process, and others who have nothing to do with them."""

import asyncio
import ctypes
import os
from pathlib import Path

from denoagents import Actor, idempotent, reliable


class Victim(Actor):
    """Handles what it can; each attempt leaves a line in a file."""

    total: int = 0

    @idempotent
    async def where(self) -> int:
        return os.getpid()

    @reliable
    async def add(self, path: str, n: int) -> int:
        note(path)
        self.total += n
        return self.total

    @reliable
    async def fail(self, path: str) -> None:
        note(path)
        raise ValueError("as asked")

    @reliable
    async def leave(self, path: str, code: int) -> None:
        note(path)
        os._exit(code)

    @reliable
    async def crash(self, path: str) -> None:
        """A real segmentation fault."""
        note(path)
        ctypes.string_at(0)

    @idempotent
    async def leave_until(self, path: str, times: int) -> int:
        """Ends `times` processes; then how many times it was run."""
        note(path)
        count = await asyncio.to_thread(count_lines, path)
        if count <= times:
            os._exit(3)
        return count


class Bystander(Actor):
    """Answers."""

    @idempotent
    async def echo(self, n: int) -> int:
        await asyncio.sleep(0)
        return n


def note(path: str) -> None:
    with Path(path).open("a") as file:
        file.write(f"{os.getpid()}\n")


def count_lines(path: str) -> int:
    return len(Path(path).read_text().splitlines())
