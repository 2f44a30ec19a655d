"""Runs a load process on uvloop, or on asyncio's own loop where uvloop is not installed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

TERMINATED = 128 + signal.SIGTERM
"""Exit code of a process that was told to end, and did so in order."""

try:
    import uvloop
except ImportError:  # it has no wheel for this machine
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    new_loop = uvloop.new_event_loop


def run_fast(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end; SIGTERM cancels it, so that what it started ends with it.

    Raises:
        SystemExit: SIGTERM came (and KeyboardInterrupt for Ctrl-C, as everywhere).
    """
    told: list[int] = []

    async def stoppable() -> T:
        task = asyncio.current_task()
        assert task is not None

        def stop() -> None:
            told.append(signal.SIGTERM)
            task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        return await main

    with asyncio.Runner(loop_factory=new_loop) as runner:
        try:
            return runner.run(stoppable())
        except asyncio.CancelledError:
            if not told:
                raise
            raise SystemExit(TERMINATED) from None


async def together(*works: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run all at once; the first failure ends the others, and is raised as it is."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
