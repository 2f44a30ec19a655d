"""Calls that come back to an actor that waits: an error that names the path, or reentrancy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar

import pytest
from embedded import check_books, in_virtual_time

from denoagents import Actor, Node, tell
from denoagents.errors import CallCycleError


class Ring(Actor):
    log: list[str] = []  # noqa: RUF012 - copied for each actor

    async def ask_yourself(self, waits: bool) -> None:
        if waits:
            await asyncio.sleep(0.001)
        await self.context.me(Ring).note("self")

    async def pass_on(self, path: list[Ring], waits: bool = False) -> int:
        if waits:
            await asyncio.sleep(0.001)
        return 0 if not path else 1 + await path[0].pass_on(path[1:], waits)

    async def gather_on(self, others: list[Ring], back: Ring) -> list[int]:
        return list(await asyncio.gather(*(one.pass_on([back]) for one in others)))

    async def in_task(self, other: Ring, back: Ring) -> int:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(other.pass_on([back]))
        return task.result()

    async def tell_back(self, other: Ring, back: Ring) -> None:
        await other.told(back)

    async def told(self, back: Ring) -> None:
        await tell(back.note, "told")

    async def read_from(self, other: Ring, back: Ring) -> list[int]:
        return [i async for i in other.stream_of(back)]

    async def stream_of(self, back: Ring) -> AsyncIterator[int]:
        yield 1
        yield await back.pass_on([])

    async def note(self, what: str) -> list[str]:
        self.log.append(what)
        return self.log


@pytest.mark.parametrize("waits", [False, True])
def test_an_actor_that_asks_itself_is_told(waits: bool) -> None:
    @in_virtual_time()
    async def body(node: Node) -> None:
        with pytest.raises(CallCycleError, match="Ring/a -> Ring/a waits for itself"):
            await node.actor(Ring, "a").ask_yourself(waits)
        assert check_books(node)["refused"] == 1
        assert await node.actor(Ring, "a").note("on") == ["on"]

    body(codec=False)
    body(codec=True)


@pytest.mark.parametrize("waits", [False, True])
def test_a_cycle_through_two_actors_names_the_path(waits: bool) -> None:
    @in_virtual_time()
    async def body(node: Node) -> None:
        a, b, c = (node.actor(Ring, name) for name in "abc")
        with pytest.raises(CallCycleError, match="Ring/a -> Ring/b -> Ring/a waits"):
            await a.pass_on([b, a], waits)
        with pytest.raises(CallCycleError, match="Ring/b -> Ring/c -> Ring/b waits"):
            await a.pass_on([b, c, b], waits)
        assert await a.pass_on([b, c], waits) == 2

    body(codec=False)
    body(codec=True)


@in_virtual_time()
async def test_cycles_through_gather_and_tasks_are_found(node: Node) -> None:
    a, b, c = (node.actor(Ring, name) for name in "abc")
    with pytest.raises(CallCycleError, match=r"Ring/a -> Ring/[bc] -> Ring/a waits"):
        await a.gather_on([b, c], a)
    with pytest.raises(Exception, match="TaskGroup") as caught:
        await a.in_task(b, a)
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert isinstance(caught.value.__cause__.exceptions[0], CallCycleError)


@in_virtual_time()
async def test_a_cycle_through_a_stream_is_found(node: Node) -> None:
    a, b = node.actor(Ring, "a"), node.actor(Ring, "b")
    with pytest.raises(CallCycleError, match="Ring/a -> Ring/b -> Ring/a"):
        await a.read_from(b, a)


@in_virtual_time()
async def test_a_tell_may_come_back(node: Node) -> None:
    a, b = node.actor(Ring, "a"), node.actor(Ring, "b")
    await a.tell_back(b, a)
    assert await a.note("on") == ["told", "on"]


@in_virtual_time()
async def test_two_requests_that_meet_are_no_cycle(node: Node) -> None:
    a, b = node.actor(Ring, "a"), node.actor(Ring, "b")
    assert await asyncio.gather(a.pass_on([b], True), b.pass_on([], True)) == [1, 0]


@in_virtual_time()
async def test_a_very_long_path_is_told_in_short(node: Node) -> None:
    rings = [node.actor(Ring, str(n)) for n in range(300)]
    with pytest.raises(
        CallCycleError, match=r"^Ring/0 -> .* -> … \d+ more … -> .* -> Ring/0 waits"
    ):
        await rings[0].pass_on([*rings[1:], rings[0]], True)
    assert await rings[0].pass_on(rings[1:]) == 299


class Shy(Actor):
    async def on_start(self) -> None:
        await self.context.actor(Caller, "a").hello()

    async def hello(self) -> str:
        return "hello"


class Caller(Actor):
    async def hello(self) -> str:
        return "hello"

    async def call(self) -> str:
        return await self.context.actor(Shy, "b").hello()


@in_virtual_time()
async def test_an_on_start_that_asks_the_actor_that_waits_for_it_is_told(node: Node) -> None:
    with pytest.raises(Exception, match=r"could not start: CallCycleError: Caller/a -> Shy/b"):
        await node.actor(Caller, "a").call()
    assert await node.actor(Shy, "b").hello() == "hello", "asked by somebody else it starts"


class Friendly(Actor):
    reentrant: ClassVar[bool] = True
    depth: int = 0
    deepest: int = 0

    async def visit(self, others: list[Friendly], waits: bool) -> int:
        self.depth += 1
        self.deepest = max(self.deepest, self.depth)
        if waits:
            await asyncio.sleep(0.001)
        if others:
            await others[0].visit(others[1:], waits)
        self.depth -= 1
        return self.deepest

    async def visit_all(self, others: list[Friendly]) -> int:
        self.depth += 1
        me = self.context.me(Friendly)
        await asyncio.gather(*(one.visit([me], True) for one in others))
        self.depth -= 1
        return self.deepest

    async def leave_early(self, other: Friendly) -> str:
        try:
            async with asyncio.timeout(0.5):
                await other.come_back_slowly(self.context.me(Friendly))
        except TimeoutError:
            return "left"
        return "stayed"

    async def come_back_slowly(self, back: Friendly) -> None:
        await back.nap(1)

    async def nap(self, time_s: float) -> None:
        self.depth += 1
        try:
            await asyncio.sleep(time_s)
        except asyncio.CancelledError:
            await asyncio.sleep(time_s)
        self.depth -= 1

    async def recurse(self, n: int) -> int:
        return 0 if n == 0 else 1 + await self.context.me(Friendly).recurse(n - 1)


@pytest.mark.parametrize("waits", [False, True])
def test_a_reentrant_actor_answers_the_call_that_comes_back(waits: bool) -> None:
    @in_virtual_time()
    async def body(node: Node) -> None:
        a, b = node.actor(Friendly, "a"), node.actor(Friendly, "b")
        assert await a.visit([b, a, b, a], waits) == 3
        assert await b.visit([], waits) == 2
        assert await a.visit_all([b]) == 3

    body(codec=False)
    body(codec=True)


@in_virtual_time()
async def test_a_reentrant_actor_still_handles_strangers_one_at_a_time(node: Node) -> None:
    a = node.actor(Friendly, "a")
    assert await asyncio.gather(a.visit([], True), a.visit([], True)) == [1, 1]


@in_virtual_time()
async def test_an_outer_turn_may_end_before_the_one_that_came_back(node: Node) -> None:
    a, b = node.actor(Friendly, "a"), node.actor(Friendly, "b")
    assert await a.leave_early(b) == "left"
    start_s = asyncio.get_running_loop().time()
    await a.visit([], False)
    assert asyncio.get_running_loop().time() - start_s == pytest.approx(1, abs=0.01)
    assert check_books(node)["cancelled"] == 1, "the nap went on to its end"


@in_virtual_time()
async def test_endless_reentrancy_is_an_error_and_no_crash(node: Node) -> None:
    a = node.actor(Friendly, "a")
    assert await a.recurse(50) == 50
    with pytest.raises(CallCycleError):
        await a.recurse(100_000)
    assert await a.recurse(3) == 3
