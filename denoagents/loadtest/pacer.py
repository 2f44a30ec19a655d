"""Wakes one coroutine at given times of the boot-time clock, to some ten microseconds.

Event loops round their timers to milliseconds, which would show up as latency. Linux has timers
that are file descriptors; elsewhere, and under a virtual clock, the loop's own are the fallback.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import struct
import sys
from typing import Protocol

from denoagents._native.clock import Clock

CLOCK_BOOTTIME = 7
TIMER_FLAGS = 0o4000 | 0o2000000
"""TFD_NONBLOCK | TFD_CLOEXEC."""
TIMER_ABSOLUTE = 1


class Pacer(Protocol):
    """Whatever can wait until a time of a clock."""

    async def sleep_until(self, due_ns: int) -> None: ...

    def close(self) -> None: ...


class LoopPacer:
    """Waits by the event loop's timers: within a millisecond or two."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def sleep_until(self, due_ns: int) -> None:
        await asyncio.sleep(max(0, due_ns - self._clock.now_ns()) / 1e9)

    def close(self) -> None:
        """Nothing to let go."""


class TimerPacer:
    """Waits by a timer descriptor of the kernel; for one coroutine at a time."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(CLOCK_BOOTTIME, TIMER_FLAGS)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._fire)
        self._waiter: asyncio.Future[None] | None = None

    def _fire(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 8)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def sleep_until(self, due_ns: int) -> None:
        self._waiter = self._loop.create_future()
        seconds, ns = divmod(max(1, due_ns), 1_000_000_000)
        timer = struct.pack("@qqqq", 0, 0, seconds, ns)
        if self._libc.timerfd_settime(self._fd, TIMER_ABSOLUTE, timer, None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")
        await self._waiter

    def close(self) -> None:
        """Let the descriptor go."""
        self._loop.remove_reader(self._fd)
        os.close(self._fd)


def open_pacer(clock: Clock) -> Pacer:
    """The best pacer that this machine has; call it inside the running loop."""
    if sys.platform == "linux" and not clock.is_virtual:
        with contextlib.suppress(OSError, AttributeError):
            return TimerPacer()
    return LoopPacer(clock)
