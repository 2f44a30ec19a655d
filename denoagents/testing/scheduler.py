"""Many processes in one thread: who runs next, in virtual time, from one seed.

Rules: each loop belongs to one simulated process (its main thread, or another one) and is run by
the scheduler alone, one round at a time. Which of several ready loops runs next is drawn from the
seed. Time stands still while a loop runs, moves a little with each round, and jumps to the next
timer when nobody is ready. A loop that is stopped runs nothing; its timers and packets wait until
it goes on. A dead one never runs again. Every process has a clock of its own, with an offset and a
drift.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import heapq
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from denoagents._native.clock import Clock

T = TypeVar("T")
ROUND_NS = 2_000
"""What a round of a loop costs."""


class StoppedClockError(RuntimeError):
    """Everything waits, and no timer is set: in real time this would hang for ever."""


class ProcessLoop(asyncio.AbstractEventLoop):
    """The event loop of one thread of one simulated process; only the scheduler runs it."""

    def __init__(self, scheduler: Scheduler, name: str, clock: ProcessClock) -> None:
        self.scheduler, self.name, self.clock = scheduler, name, clock
        self.is_stopped = self.is_dead = self.is_queued = False
        self.notes: Any = None
        """Free for whoever simulates: code that runs here finds it."""
        self.context = contextvars.copy_context()
        self.ready: deque[asyncio.Handle] = deque()
        self.missed: list[asyncio.Handle] = []
        """Timers that became due while the loop was stopped."""

    # --- what asyncio asks ------------------------------------------------------------------

    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self.ready.append(handle)
        self.scheduler.wake(self)
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self.scheduler.add_timer(self.clock.world_ns(round(when * 1e9)), self, handle)
        return handle

    def time(self) -> float:
        return self.clock.local_ns(self.scheduler.now_ns) / 1e9

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: contextvars.Context | None = None
    ) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.is_dead:
            error = context.get("exception")
            frames = traceback.extract_tb(error.__traceback__) if error is not None else ()
            where = " < ".join(
                f"{Path(one.filename).name}:{one.lineno} {one.name}" for one in frames[::-1]
            )
            self.scheduler.problems.append(
                f"{self.name}: {context['message']}: {error!r} ({where})"
            )

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self.scheduler.running is self

    def is_closed(self) -> bool:
        return False

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is skipped when its time comes."""

    # --- what the scheduler does --------------------------------------------------------------

    def run_round(self) -> None:
        """Run what is ready now."""
        self.clock.native.advance_to(self.clock.local_ns(self.scheduler.now_ns))
        ready = self.ready
        with self.entered():
            for _ in range(len(ready)):
                handle = ready.popleft()
                if not handle._cancelled:
                    handle._run()
                    if self.is_stopped or self.is_dead:
                        return

    @contextlib.contextmanager
    def entered(self) -> Generator[None]:
        """Code in this block runs as if the loop ran it."""
        scheduler = self.scheduler
        before, scheduler.running = scheduler.running, self
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            scheduler.running = before
            asyncio._set_running_loop(before)

    def stop_running(self) -> None:
        """Give the loop no time until `go_on`."""
        self.is_stopped = True

    def go_on(self) -> None:
        """Run again; what became due meanwhile runs first."""
        if self.is_stopped and not self.is_dead:
            self.is_stopped = False
            self.ready.extend(self.missed)
            self.missed.clear()
            self.scheduler.wake(self)


class ProcessClock:
    """One machine's clock: the world's time, shifted and a little too fast or too slow."""

    def __init__(self, now_ns: int, offset_ns: int = 0, drift_ppm: int = 0) -> None:
        self._origin_ns, self._offset_ns, self._ppm = now_ns, offset_ns, drift_ppm
        self.native = Clock.virtual(self.local_ns(now_ns))

    def local_ns(self, world_ns: int) -> int:
        """What this clock shows at a time of the world."""
        since = world_ns - self._origin_ns
        return world_ns + self._offset_ns + since * self._ppm // 1_000_000

    def world_ns(self, local_ns: int) -> int:
        """The earliest time of the world at which this clock shows at least `local_ns`."""
        since = local_ns - self._offset_ns - self._origin_ns
        return self._origin_ns - (-since * 1_000_000 // (1_000_000 + self._ppm))


class Scheduler:
    """Runs the loops of all simulated processes, and the world's own events."""

    def __init__(self, seed: int, *, start_ns: int = 10**12) -> None:
        self.now_ns = self.start_ns = start_ns
        self.chance = Random(f"scheduler {seed}")
        self.problems: list[str] = []
        """What went wrong inside callbacks; a healthy run has none."""
        self.running: ProcessLoop | None = None
        self.rounds = 0
        self.after_round: Callable[[ProcessLoop], None] | None = None
        """Called after each round, with the loop that ran."""
        self._ready: list[ProcessLoop] = []
        self._timers: list[tuple[int, int, ProcessLoop | None, Any]] = []
        self._numbers = 0

    @property
    def elapsed_s(self) -> float:
        """Since the beginning."""
        return (self.now_ns - self.start_ns) / 1e9

    def clock(self) -> ProcessClock:
        """The clock of one more machine."""
        chance = self.chance
        return ProcessClock(self.now_ns, chance.randrange(10**12), chance.randint(-50, 50))

    # --- what loops and the world ask for -----------------------------------------------------

    def at(self, delay_s: float, action: Callable[[], object]) -> None:
        """Let the world do something after `delay_s`, outside of every process."""
        self.add_timer(self.now_ns + int(delay_s * 1e9), None, action)

    def add_timer(self, due_ns: int, loop: ProcessLoop | None, what: Any) -> None:
        """For loops: `what` becomes ready at a time of the world."""
        self._numbers += 1
        heapq.heappush(self._timers, (due_ns, self._numbers, loop, what))

    def wake(self, loop: ProcessLoop) -> None:
        """For loops: something is ready."""
        if not loop.is_queued:
            loop.is_queued = True
            self._ready.append(loop)

    # --- running --------------------------------------------------------------------------------

    def run_for(self, duration_s: float, until: Callable[[], bool] | None = None) -> bool:
        """Let `duration_s` pass, or less if `until` comes true (then True is returned)."""
        return self.run_until(self.now_ns + int(duration_s * 1e9), until)

    def run_until(self, end_ns: int, until: Callable[[], bool] | None = None) -> bool:
        """The same, up to a time of the world."""
        while True:
            if until is not None and until():
                return True
            if not self._step(end_ns):
                return until is not None and until()

    def run(self, coroutine: Coroutine[Any, Any, T], loop: ProcessLoop, limit_s: float = 60.0) -> T:
        """Run `coroutine` in one process until it ends."""
        with loop.entered():
            task = loop.create_task(coroutine)
        self.run_for(limit_s, task.done)
        if not task.done():
            raise StoppedClockError(f"{coroutine!r} did not end within {limit_s:g} s")
        result: T = task.result()
        return result

    def _step(self, end_ns: int) -> bool:
        """One round of one loop, or a jump to the next timer; False when the end is reached."""
        ready = self._ready
        while ready:
            at = self.chance.randrange(len(ready)) if len(ready) > 1 else 0
            loop = ready[at]
            if loop.is_dead or loop.is_stopped or not loop.ready:
                loop.is_queued = False
                ready[at] = ready[-1]
                ready.pop()
                continue
            loop.run_round()
            self.rounds += 1
            if self.after_round is not None:
                self.after_round(loop)
            self.now_ns += ROUND_NS
            self._fire()
            return self.now_ns < end_ns
        if not self._timers or self._timers[0][0] > end_ns:
            self.now_ns = max(self.now_ns, end_ns)
            return False
        self.now_ns = max(self.now_ns, self._timers[0][0])
        self._fire()
        return True

    def _fire(self) -> None:
        timers, now_ns = self._timers, self.now_ns
        while timers and timers[0][0] <= now_ns:
            _, _, loop, what = heapq.heappop(timers)
            if loop is None:
                what()
            elif loop.is_dead or what._cancelled:
                continue
            elif loop.is_stopped:
                loop.missed.append(what)
            else:
                loop.ready.append(what)
                self.wake(loop)


@contextlib.contextmanager
def only_own_garbage() -> Generator[None]:
    """For one simulation: no garbage is collected meanwhile, and its own at the end.

    Finalizers run when the last reference goes, and at no other moment. What dead processes were
    about to say when they were killed is not heard.
    """
    was_enabled = gc.isenabled()
    hear = sys.unraisablehook
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        sys.unraisablehook = lambda _: None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()
        sys.unraisablehook = hear
        gc.unfreeze()
        if was_enabled:
            gc.enable()
