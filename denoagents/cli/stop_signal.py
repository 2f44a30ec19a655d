"""SIGTERM and Ctrl-C of a long-running process: the first drains, the second stops now."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

CANCEL_S: Final = 1.0
"""How long work that is given up may take to end."""


class StoppedError(Exception):
    """A second signal came: nothing more is waited for."""


class StopSignal:
    """Counts SIGTERM and SIGINT on the running loop."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.receive)

    @property
    def asked(self) -> bool:
        """Whether the process was told to end."""
        return self._count > 0

    @property
    def insisted(self) -> bool:
        """Whether it was told twice."""
        return self._count > 1

    def receive(self) -> None:
        """One signal."""
        self._count += 1
        self._changed.set()

    async def first(self) -> None:
        """Wait until the process is told to end."""
        await self._wait_for(1)

    async def second(self) -> None:
        """Wait until it is told again."""
        await self._wait_for(2)

    async def or_first(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Do `work`, unless the first signal comes: then cancel it and return None."""
        try:
            return await self._race(work, self.first())
        except StoppedError:
            return None

    async def unless_insisted(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work`, unless a second signal comes: then cancel it and raise `StoppedError`."""
        return await self._race(work, self.second())

    async def _race(self, work: Coroutine[Any, Any, T], signalled: Coroutine[Any, Any, None]) -> T:
        task = asyncio.ensure_future(work)
        signal_task = asyncio.ensure_future(signalled)
        try:
            await asyncio.wait({task, signal_task}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise StoppedError
            return task.result()
        finally:
            signal_task.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=CANCEL_S)

    async def _wait_for(self, count: int) -> None:
        while self._count < count:
            self._changed.clear()
            await self._changed.wait()
