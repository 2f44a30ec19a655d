"""An event loop in virtual time: nobody waits, and the same program runs the same way every time.

Rules: time stands still while anything is ready, then jumps to the next timer. Threads and real
sockets do not belong here. The loop's clock is the `Clock` that the parts under test are given.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from denoagents._native.clock import Clock

T = TypeVar("T")

_LONGEST_S = 7200.0
_TO_CLEAN_UP_NS = 60 * 10**9


class NothingWillHappenError(RuntimeError):
    """Everything waits, and no timer is set: in real time this would hang for ever."""


class RunsTooLongError(RuntimeError):
    """The program is still running after the longest virtual time that it was given."""


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting it moves the clock."""

    clock: Clock
    end_ns: int

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise NothingWillHappenError("every task waits, and no timer is set")
        now_ns = self.clock.now_ns() + math.ceil(timeout * 1e9)
        self.clock.advance_to(now_ns)
        if now_ns > self.end_ns:
            self.end_ns = now_ns + _TO_CLEAN_UP_NS
            raise RunsTooLongError("the program goes on and on in virtual time")
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop whose time is that of a virtual clock."""

    def __init__(self, clock: Clock, longest_s: float = _LONGEST_S) -> None:
        selector = _JumpingSelector()
        selector.clock = clock
        selector.end_ns = clock.now_ns() + int(longest_s * 1e9)
        self._virtual = clock
        super().__init__(selector)

    def time(self) -> float:
        return self._virtual.now_ns() / 1e9


def run_virtually(
    main: Callable[[Clock], Awaitable[T]],
    *,
    start_ns: int = 10**9,
    longest_s: float = _LONGEST_S,
) -> T:
    """Run `main(clock)` to its end in virtual time, in a loop of its own.

    Raises: `RunsTooLongError` after `longest_s` of virtual time: no signal ends such a loop;
        `NothingWillHappenError` when everything waits for ever.
    """
    clock = Clock.virtual(start_ns)

    async def body() -> T:
        return await main(clock)

    def make_loop() -> Any:
        return VirtualLoop(clock, longest_s)

    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(body())
