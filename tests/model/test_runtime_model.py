"""The runtime under random use: the books are exact after each step, each request has one outcome.

What an outcome promises is checked, too: a result means it ran once, a rejection that it never ran.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from embedded import check_books, embedded
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from denoagents import Actor, Overloaded, RemoteError, RequestTimeoutError, Supervision, options
from denoagents import tell as send_one_way
from denoagents._native.clock import Clock
from denoagents.errors import OutcomeUnknownError, RejectedError
from denoagents.testing.loop import VirtualLoop

LIMITS = {"mailbox_limit": 6, "mailbox_reserve": 12, "stream_items": 3, "credit_timeout_s": 5.0}
FOR_EVER = 2**62

began: Counter[int] = Counter()
ended: Counter[int] = Counter()


class Worker(Actor):
    supervision = Supervision(intensity=3, within_s=5, backoff_first_s=0.1)
    total: int = 0

    async def on_start(self) -> None:
        if self.context.address.endswith(("1", "w")):
            await asyncio.sleep(0.05)

    async def on_stop(self) -> None:
        if self.context.address.endswith("2"):
            await asyncio.sleep(0.05)

    async def quick(self, number: int) -> int:
        began[number] += 1
        self.total += 1
        ended[number] += 1
        return number

    async def slow(self, number: int, time_s: float) -> int:
        began[number] += 1
        await asyncio.sleep(time_s)
        ended[number] += 1
        return number

    async def stubborn(self, number: int, time_s: float) -> int:
        began[number] += 1
        for _ in range(3):
            try:
                await asyncio.sleep(time_s)
            except asyncio.CancelledError:
                continue
        ended[number] += 1
        return number

    async def fail(self, number: int, time_s: float) -> int:
        began[number] += 1
        if time_s:
            await asyncio.sleep(time_s)
        raise ValueError(str(number))

    async def ask_on(self, number: int, others: list[Worker], inner: int, time_s: float) -> int:
        began[number] += 1
        calls = [one.slow(inner + n, time_s) for n, one in enumerate(others)]
        await asyncio.gather(*calls, return_exceptions=True)
        ended[number] += 1
        return number

    async def stream(self, number: int, items: int, time_s: float) -> AsyncIterator[int]:
        began[number] += 1
        for n in range(items):
            if time_s:
                await asyncio.sleep(time_s)
            yield n
        ended[number] += 1

    async def spawn(self, number: int, name: str) -> int:
        began[number] += 1
        if f"{self.context.address}/{name}" not in self.context.children:
            self.context.spawn(Worker, name)
        ended[number] += 1
        return number

    async def stop_yourself(self, number: int) -> int:
        began[number] += 1
        self.context.stop_self()
        ended[number] += 1
        return number


keys = st.sampled_from(["a0", "a1", "b2", "slow"])
children = st.sampled_from(["", "/x", "/y2"])
times_s = st.sampled_from([0.0, 0.01, 0.3, 2.0])
timeouts_s = st.sampled_from([0.05, 0.5, 3.0, 30.0])
priorities = st.sampled_from(["high", "normal", "low"])


class RuntimeModel(RuleBasedStateMachine):
    """One embedded node, a handful of actors and their children, and everything that can happen."""

    def __init__(self) -> None:
        super().__init__()
        began.clear()
        ended.clear()
        self.clock = Clock.virtual(10**9)
        self.loop = VirtualLoop(self.clock)
        self.node = embedded(self.clock, **LIMITS)
        self.lease = ctypes.c_int64(FOR_EVER)
        self.number = 0
        self.asks: dict[int, asyncio.Task[Any]] = {}
        self.tells: set[int] = set()
        self.run(self.node.start())
        self.node.runtime.lend_word(self.lease, ctypes.addressof(self.lease))
        self.guardian = self.node.runtime.guardian
        self.node.actor(Worker, "a0")

    def run(self, what: Any) -> Any:
        return self.loop.run_until_complete(what)

    def next_numbers(self, count: int = 1) -> int:
        self.number += count
        return self.number - count + 1

    def ref(self, key: str, child: str) -> Any:
        refs: Any = self.guardian.refs
        return refs.ref(Worker, f"Worker/{key}{child}")

    def begin(self, number: int, what: Any) -> None:
        async def outcome() -> Any:
            return await what

        self.asks[number] = self.loop.create_task(outcome())
        self.run(asyncio.sleep(0))

    # --- what can happen ------------------------------------------------------------------------

    @rule(
        key=keys,
        child=children,
        priority=priorities,
        timeout_s=timeouts_s,
        time_s=times_s,
        method=st.sampled_from(["quick", "slow", "stubborn", "fail", "stop_yourself"]),
    )
    def ask(
        self, key: str, child: str, priority: Any, timeout_s: float, time_s: float, method: str
    ) -> None:
        number = self.next_numbers()
        ref = options(self.ref(key, child), timeout_s=timeout_s, priority=priority)
        args = (number, time_s) if method in {"slow", "stubborn", "fail"} else (number,)
        self.begin(number, getattr(ref, method)(*args))

    @rule(key=keys, child=children, priority=priorities, count=st.integers(1, 8), time_s=times_s)
    def tell(self, key: str, child: str, priority: Any, count: int, time_s: float) -> None:
        async def send() -> None:
            ref = options(self.ref(key, child), priority=priority)
            for n in range(count):
                number = self.next_numbers()
                try:
                    if n % 3 == 2:
                        send_one_way(ref.fail, number, time_s)
                    else:
                        send_one_way(ref.slow, number, time_s)
                except (Overloaded, RejectedError):
                    assert not began[number]
                else:
                    self.tells.add(number)

        self.run(send())

    @rule(
        key=keys,
        others=st.lists(st.tuples(keys, children), max_size=3),
        time_s=times_s,
        timeout_s=timeouts_s,
    )
    def ask_through(
        self, key: str, others: list[tuple[str, str]], time_s: float, timeout_s: float
    ) -> None:
        number = self.next_numbers()
        inner = self.next_numbers(3)
        ref = options(self.ref(key, ""), timeout_s=timeout_s)
        refs = [self.ref(*one) for one in others]
        self.begin(number, ref.ask_on(number, refs, inner, time_s))

    @rule(key=keys, items=st.integers(0, 10), reads=st.integers(1, 12), time_s=times_s)
    def read(self, key: str, items: int, reads: int, time_s: float) -> None:
        number = self.next_numbers()

        async def some() -> int:
            left = reads
            async for _ in self.ref(key, "").stream(number, items, time_s):
                left -= 1
                if not left:
                    break
            return number

        self.begin(number, some())

    @rule(key=keys, child=st.sampled_from(["x", "y2"]))
    def spawn(self, key: str, child: str) -> None:
        number = self.next_numbers()
        self.begin(number, self.ref(key, "").spawn(number, child))

    @precondition(lambda self: any(not task.done() for task in self.asks.values()))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        running = [number for number, task in self.asks.items() if not task.done()]
        self.asks[data.draw(st.sampled_from(running))].cancel()
        if data.draw(st.booleans()):
            self.run(asyncio.sleep(0))

    @rule(time_s=st.sampled_from([0.0, 0.001, 0.02, 0.2, 1.0, 7.0]))
    def let_time_pass(self, time_s: float) -> None:
        self.run(asyncio.sleep(time_s))

    @rule(key=keys, child=children, is_now=st.booleans())
    def stop(self, key: str, child: str, is_now: bool) -> None:
        cell = self.node.runtime.cells.get(f"Worker/{key}{child}")
        if cell is None:
            return

        async def end() -> None:
            if is_now and cell.turn is not None:
                self.node.runtime.cancel_turn(cell.turn)
            self.guardian.stop_after_turn(cell)

        self.run(end())

    @rule(key=keys)
    def passivate(self, key: str) -> None:
        async def end() -> None:
            cell = self.node.runtime.cells.get(f"Worker/{key}")
            if cell is not None:
                self.guardian.passivation.passivate(cell)

        self.run(end())

    @rule(has_it=st.booleans())
    def lose_or_regain_the_lease(self, has_it: bool) -> None:
        self.lease.value = FOR_EVER if has_it else 0

    # --- what must hold -------------------------------------------------------------------------

    @invariant()
    def the_books_are_exact(self) -> None:
        check_books(self.node, is_quiet=False)

    def teardown(self) -> None:
        self.lease.value = FOR_EVER
        try:
            self.run(self.come_to_rest())
            check_books(self.node)
            for number, task in self.asks.items():
                self.check_outcome(number, task)
            self.check_tells()
            assert self.node.router.deadlines.count == 0
        finally:
            self.run(self.node.close(drain=False))
            self.run(asyncio.sleep(0))
            left = asyncio.all_tasks(self.loop)
            self.run(self.loop.shutdown_asyncgens())
            self.loop.close()
        assert not left, left

    async def come_to_rest(self) -> None:
        tasks = list(self.asks.values())
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=500)
            assert not pending, pending
        books = self.node.runtime.books
        for _ in range(10_000):
            if not books.waiting and not books.running:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{books.waiting} wait, {books.running} run")

    def check_outcome(self, number: int, task: asyncio.Task[Any]) -> None:
        runs, ends = began[number], ended[number]
        assert runs <= 1, "at most once"
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            assert task.result() == number
            assert runs == 1
        elif isinstance(error, RejectedError):
            assert runs == 0, f"{error!r} promises that it was not run"
        elif isinstance(error, RemoteError):
            assert (runs, ends) == (1, 0)
        else:
            assert isinstance(error, RequestTimeoutError | OutcomeUnknownError), repr(error)

    def check_tells(self) -> None:
        ran = sum(began[number] for number in self.tells)
        assert all(began[number] <= 1 for number in self.tells)
        assert ran + self.guardian.dead_letter_count == len(self.tells)


TestRuntime = RuntimeModel.TestCase
TestRuntime.settings = settings(stateful_step_count=40)
