"""Turns: one message at a time, each in a task and a context of its own."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import types
from collections.abc import Generator
from typing import Any

import pytest
from embedded import check_books, embedded, in_virtual_time

from denoagents import Actor, Node, RemoteError, options, tell
from denoagents._native.call import in_turn

mood: contextvars.ContextVar[str] = contextvars.ContextVar("mood", default="calm")


class Clerk(Actor):
    seen: list[str] = []  # noqa: RUF012 - copied for each actor

    async def work(self, name: str, steps: int = 0) -> list[str]:
        self.seen.append(f"{name} begins")
        for _ in range(steps):
            await asyncio.sleep(0.01)
        self.seen.append(f"{name} ends")
        return list(self.seen)

    async def history(self) -> list[str]:
        return self.seen


@in_virtual_time()
async def test_an_actor_handles_one_message_at_a_time_in_order(node: Node) -> None:
    clerk = node.actor(Clerk, "a")
    names = ["a", "b", "c", "d"]
    await asyncio.gather(*(clerk.work(name, 3) for name in names))
    assert await clerk.history() == [f"{n} {what}" for n in names for what in ("begins", "ends")]


@in_virtual_time()
async def test_actors_run_beside_each_other(node: Node) -> None:
    start_s = asyncio.get_running_loop().time()
    await asyncio.gather(*(node.actor(Clerk, str(n)).work("x", 10) for n in range(50)))
    assert asyncio.get_running_loop().time() - start_s < 0.2


class Tasks(Actor):
    async def same(self, waits: bool) -> bool:
        first = asyncio.current_task()
        if waits:
            await asyncio.sleep(0.01)
        return first is not None and asyncio.current_task() is first

    async def identity(self, waits: bool) -> int:
        if waits:
            await asyncio.sleep(0.01)
        return id(asyncio.current_task())

    async def in_time(self, needs_s: float, limit_s: float) -> str:
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.sleep(needs_s)
        except TimeoutError:
            return "too late"
        return "in time"

    async def in_time_at_once(self, needs_s: float, limit_s: float) -> str:
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.sleep(needs_s)
        except TimeoutError:
            return "too late"
        return "in time"

    async def gathered(self, n: int) -> int:
        async def one(k: int) -> int:
            await asyncio.sleep(0.001 * k)
            return k

        return sum(await asyncio.gather(*map(one, range(n))))

    async def grouped(self, fails: bool) -> int:
        async def one(k: int) -> int:
            await asyncio.sleep(0.001)
            if fails and k == 3:
                raise ValueError("three")
            return k

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(k)) for k in range(5)]
        return sum(task.result() for task in tasks)

    async def coroutine_state(self) -> list[str]:
        task = asyncio.current_task()
        assert task is not None
        await asyncio.sleep(0)
        inside = inspect.getcoroutinestate(task.get_coro())  # type: ignore[arg-type]
        states = [inside]

        async def look() -> None:
            states.append(inspect.getcoroutinestate(task.get_coro()))  # type: ignore[arg-type]
            states.extend(frame.f_code.co_name for frame in task.get_stack())

        await asyncio.create_task(look())
        return states


@pytest.mark.parametrize("waits", [False, True])
def test_a_handler_runs_in_one_task_that_is_not_its_askers(waits: bool) -> None:
    @in_virtual_time()
    async def body(node: Node) -> None:
        ref = node.actor(Tasks, "a")
        before = asyncio.current_task()
        assert await ref.same(waits)
        assert await ref.identity(waits) != id(before)
        assert asyncio.current_task() is before

    body(codec=False)
    body(codec=True)


@in_virtual_time()
async def test_turns_that_wait_at_once_have_tasks_of_their_own(node: Node) -> None:
    found = await asyncio.gather(*(node.actor(Tasks, str(n)).identity(True) for n in range(5)))
    assert len(set(found)) == 5


@in_virtual_time()
async def test_timeouts_work_inside_handlers(node: Node) -> None:
    ref = node.actor(Tasks, "a")
    for method in (ref.in_time, ref.in_time_at_once):
        assert await method(0.5, 0.1) == "too late"
        assert await method(0.1, 0.5) == "in time"
    assert check_books(node)["failed"] == 0


@in_virtual_time()
async def test_gather_and_task_groups_work_inside_handlers(node: Node) -> None:
    ref = node.actor(Tasks, "a")
    assert await ref.gathered(10) == 45
    assert await ref.grouped(False) == 10
    with pytest.raises(RemoteError) as caught:
        await ref.grouped(True)
    assert caught.value.type_name == "ExceptionGroup"
    assert await ref.grouped(False) == 10


@in_virtual_time()
async def test_libraries_can_see_the_state_and_the_stack_of_a_turns_task(node: Node) -> None:
    """As anyio does, to cancel a scope whose time is over."""
    inside, outside, *stack = await node.actor(Tasks, "a").coroutine_state()
    assert inside == inspect.CORO_RUNNING
    assert outside == inspect.CORO_SUSPENDED
    assert stack == ["coroutine_state"]


class Moody(Actor):
    async def change(self, to: str, waits: bool) -> str:
        before = mood.get()
        mood.set(to)
        if waits:
            await asyncio.sleep(0.001)
        assert mood.get() == to
        return before


@in_virtual_time()
async def test_each_turn_has_a_context_of_its_own(node: Node) -> None:
    mood.set("curious")
    ref = node.actor(Moody, "a")
    for waits in (False, True):
        assert await ref.change("angry", waits) == "calm", "neither the asker's nor the last turn's"
        assert mood.get() == "curious"


class SelfCancelling(Actor):
    async def cancel_yourself(self) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "done all the same"

    async def cancel_and_wait(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)


@in_virtual_time()
async def test_a_handler_that_cancels_its_own_task_hurts_nobody_else(node: Node) -> None:
    ref, other = node.actor(SelfCancelling, "a"), node.actor(Clerk, "b")
    for _ in range(3):
        assert await ref.cancel_yourself() == "done all the same"
        assert len(await other.work("x", 1)) % 2 == 0
    with pytest.raises(Exception, match="cancelled"):
        await ref.cancel_and_wait()
    assert len(await other.work("x", 1)) % 2 == 0


@types.coroutine
def bare(what: Any) -> Generator[Any, Any, Any]:
    return (yield what)


class Strange(Actor):
    async def yield_nothing(self, times: int) -> int:
        for _ in range(times):
            await bare(None)
        return times

    async def yield_garbage(self) -> None:
        await bare(5)

    async def stop_iteration(self) -> None:
        raise StopIteration("mine")

    async def waits_for_what_is_done(self) -> int:
        future = asyncio.get_running_loop().create_future()
        future.set_result(3)
        return int(await future)


@in_virtual_time()
async def test_handlers_may_yield_what_coroutines_may_yield(node: Node) -> None:
    ref = node.actor(Strange, "a")
    assert await ref.yield_nothing(3) == 3
    assert await ref.waits_for_what_is_done() == 3
    with pytest.raises(RemoteError, match="yield"):
        await ref.yield_garbage()
    with pytest.raises(RemoteError) as caught:
        await ref.stop_iteration()
    assert caught.value.type_name == "RuntimeError"
    assert await ref.yield_nothing(1) == 1


class Looper(Actor):
    async def loop_until(self, other: Clerk) -> int:
        rounds = 0
        while not stopped:
            await other.history()
            rounds += 1
        return rounds


stopped: list[bool] = []


@pytest.mark.asyncio
async def test_a_handler_that_only_awaits_local_actors_does_not_starve_the_loop() -> None:
    stopped.clear()
    async with embedded() as node:
        running = asyncio.create_task(
            node.actor(Looper, "a").loop_until(node.actor(Clerk, "b"))  # type: ignore[arg-type]
        )
        for _ in range(20):
            await asyncio.sleep(0.001)
        stopped.append(True)
        assert await running > 20


class Slow(Actor):
    async def burn(self) -> None:
        end_s = asyncio.get_running_loop().time() + 0.003
        while asyncio.get_running_loop().time() < end_s:
            pass


@pytest.mark.asyncio
async def test_a_caller_that_asks_slow_actors_in_a_loop_does_not_starve_the_loop() -> None:
    async with embedded() as node:
        ref, seen = node.actor(Slow, "a"), 0

        async def ask_on() -> None:
            for _ in range(20):
                await ref.burn()

        asking = asyncio.create_task(ask_on())
        while not asking.done():
            await asyncio.sleep(0)
            seen += 1
        assert seen >= 10, "the loop came round while one turn after the other ran"


class Link(Actor):
    async def down(self, n: int, waits: bool = False) -> int:
        if waits:
            await asyncio.sleep(0)
        if n == 0:
            return 0
        following = self.context.actor(Link, f"{self.context.address}{n}"[-8:])
        return 1 + await following.down(n - 1, waits)


@in_virtual_time()
async def test_asks_can_be_nested_deeper_than_the_stack_may_be(node: Node) -> None:
    for waits in (False, True):
        assert await node.actor(Link, "first").down(300, waits) == 300


class Parent(Actor):
    async def start_background(self, other: Clerk) -> None:
        async def later() -> None:
            assert in_turn()
            await asyncio.sleep(60)
            assert not in_turn()
            outcome.append(await other.work("late"))

        background.append(asyncio.create_task(later()))
        await asyncio.sleep(0)


outcome: list[list[str]] = []
background: list[asyncio.Task[None]] = []


@in_virtual_time()
async def test_a_task_that_outlives_its_turn_acts_on_nobodys_behalf(node: Node) -> None:
    """Its asks have deadlines of their own, and no chain."""
    outcome.clear()
    quick = options(node.actor(Parent, "a"), timeout_s=1)
    await quick.start_background(node.actor(Clerk, "b"))
    await asyncio.sleep(61)
    await background.pop()
    assert outcome == [["late begins", "late ends"]]


class Interrupting(Actor):
    async def interrupt(self, waits: bool) -> None:
        if waits:
            await asyncio.sleep(0)
        raise KeyboardInterrupt


@pytest.mark.parametrize("waits", [False, True])
def test_a_keyboard_interrupt_in_a_handler_ends_the_program(waits: bool) -> None:
    async def main() -> None:
        async with embedded() as node:
            try:
                await node.actor(Interrupting, "a").interrupt(waits)
            finally:
                check_books(node)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())


@pytest.mark.parametrize("waits", [False, True])
def test_turns_work_in_asyncios_debug_mode(waits: bool) -> None:
    async def main() -> None:
        async with embedded() as node:
            ref = node.actor(Clerk, "a")
            await asyncio.gather(ref.work("x", int(waits)), asyncio.create_task(ref.work("y")))
            await tell(ref.work, "z")
            assert len(await ref.history()) == 6
            check_books(node)

    asyncio.run(main(), debug=True)
