"""Runs a load process on uvloop, or on asyncio's own loop where uvloop is not installed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

try:
    import uvloop
except ImportError:  # it has no wheel for this machine
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    new_loop = uvloop.new_event_loop


def run_fast(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main)
