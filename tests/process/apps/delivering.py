"""Actors whose effects are lines of files, which outlive every process."""

import asyncio
import os
import signal
from pathlib import Path

from denoagents import Actor, reliable


@reliable
class Ledger(Actor):
    """Writes what it handles into a file of its own."""

    async def where(self) -> int:
        return os.getpid()

    async def note(self, path: str, number: int, seconds: float = 0.0, padding: str = "") -> None:
        del padding
        if seconds:
            await asyncio.sleep(seconds)
        self._write(path, number)

    async def ask(self, path: str, number: int) -> int:
        await asyncio.sleep(0.002)
        self._write(path, number)
        return number

    async def die(self, path: str, number: int) -> None:
        """Ends its process, every time."""
        self._write(path, number)
        os.kill(os.getpid(), signal.SIGKILL)

    def _write(self, path: str, number: int) -> None:
        with Path(path).open("a") as file:
            file.write(f"{number} {os.getpid()}\n")
