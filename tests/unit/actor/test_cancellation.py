"""Cancellation: what waits leaves, what runs hears of it at its next await."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from embedded import check_books, in_virtual_time, settled

from denoagents import Actor, Node, Supervision, options, tell, uninterruptible

events: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    events.clear()


class Worker(Actor):
    total: int = 0

    async def work(self, name: str, time_s: float) -> str:
        events.append(f"{name} begins")
        try:
            await asyncio.sleep(time_s)
        except asyncio.CancelledError:
            events.append(f"{name} is cancelled")
            raise
        events.append(f"{name} ends")
        return name

    async def stubborn(self, time_s: float) -> str:
        for _ in range(2):
            try:
                await asyncio.sleep(time_s)
            except asyncio.CancelledError:
                events.append("not now")
        events.append("stubborn ends")
        return "done"

    async def cleans_up(self, time_s: float) -> None:
        try:
            await asyncio.sleep(time_s)
        finally:
            await asyncio.sleep(0.5)
            events.append("clean")

    async def raises_another(self, time_s: float) -> None:
        try:
            await asyncio.sleep(time_s)
        except asyncio.CancelledError:
            raise ValueError("instead") from None

    @uninterruptible
    async def pay(self, time_s: float) -> None:
        await asyncio.sleep(time_s)
        events.append("paid")

    async def ask_on(self, other: Worker, time_s: float) -> str:
        try:
            return await other.work("other", time_s)
        except asyncio.CancelledError:
            events.append("asker is cancelled")
            raise

    async def ask_all(self, others: list[Worker], time_s: float) -> list[str]:
        return list(await asyncio.gather(*(one.work("each", time_s) for one in others)))

    async def ask_in_time(self, other: Worker, time_s: float, limit_s: float) -> str:
        try:
            async with asyncio.timeout(limit_s):
                return await other.work("other", time_s)
        except TimeoutError:
            return "too late"


async def cancelled_after(time_s: float, call: Any) -> None:
    task = asyncio.ensure_future(call)
    await asyncio.sleep(time_s)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@in_virtual_time()
async def test_a_cancelled_asker_reaches_the_running_turn(node: Node) -> None:
    ref = node.actor(Worker, "a")
    await cancelled_after(0.1, ref.work("a", 10))
    await settled(node, 0.01)
    assert events == ["a begins", "a is cancelled"]
    assert check_books(node)["cancelled"] == 1
    assert await ref.work("b", 0.1) == "b", "the actor goes on"


@in_virtual_time()
async def test_a_cancelled_message_that_waits_is_never_run(node: Node) -> None:
    ref = node.actor(Worker, "a")
    first = asyncio.ensure_future(ref.work("first", 1))
    await cancelled_after(0.1, ref.work("second", 1))
    assert check_books(node, is_quiet=False)["waiting"] == 0
    assert await ref.work("third", 0) == "third"
    assert await first == "first"
    assert [event for event in events if "second" in event] == []


@in_virtual_time()
async def test_a_cancel_travels_through_every_ask(node: Node) -> None:
    await cancelled_after(0.1, node.actor(Worker, "a").ask_on(node.actor(Worker, "b"), 10))
    await settled(node, 0.01)
    assert sorted(events) == ["asker is cancelled", "other begins", "other is cancelled"]
    assert check_books(node)["cancelled"] == 2


@in_virtual_time()
async def test_a_cancel_travels_through_gather(node: Node) -> None:
    others = [node.actor(Worker, f"b{n}") for n in range(5)]
    await cancelled_after(0.1, node.actor(Worker, "a").ask_all(others, 10))
    await settled(node, 0.01)
    assert events.count("each is cancelled") == 5


@in_virtual_time()
async def test_a_timeout_around_an_ask_cancels_the_turn_that_it_asked_for(node: Node) -> None:
    ref, other = node.actor(Worker, "a"), node.actor(Worker, "b")
    assert await ref.ask_in_time(other, 10, 0.2) == "too late"
    await settled(node, 0.01)
    assert events == ["other begins", "other is cancelled"]
    assert await ref.ask_in_time(other, 0.1, 0.2) == "other"


@in_virtual_time()
async def test_a_handler_may_finish_in_spite_of_a_cancel(node: Node) -> None:
    ref = node.actor(Worker, "a")
    await cancelled_after(0.1, ref.stubborn(1))
    assert await ref.work("next", 0) == "next"
    assert events == ["not now", "stubborn ends", "next begins", "next ends"]
    assert check_books(node)["handled"] == 2


@in_virtual_time()
async def test_the_next_message_waits_until_a_cancelled_turn_has_cleaned_up(node: Node) -> None:
    ref = node.actor(Worker, "a")
    await cancelled_after(0.1, ref.cleans_up(10))
    start_s = asyncio.get_running_loop().time()
    await ref.work("next", 0)
    assert asyncio.get_running_loop().time() - start_s == pytest.approx(0.5, abs=0.01)
    assert events == ["clean", "next begins", "next ends"]


@in_virtual_time()
async def test_an_uninterruptible_turn_is_shielded(node: Node) -> None:
    ref = node.actor(Worker, "a")
    await cancelled_after(0.1, ref.pay(1))
    await ref.work("next", 0)
    assert events == ["paid", "next begins", "next ends"]
    assert check_books(node)["handled"] == 2


@in_virtual_time()
async def test_an_uninterruptible_message_that_waits_is_cancelled(node: Node) -> None:
    ref = node.actor(Worker, "a")
    first = asyncio.ensure_future(ref.work("first", 1))
    await asyncio.sleep(0)
    await cancelled_after(0.1, ref.pay(1))
    await first
    await settled(node)
    assert "paid" not in events


class Strict(Actor):
    supervision = Supervision(directive="stop")

    async def run(self, time_s: float, method: str) -> str:
        child = (
            self.context.spawn(Worker, "one")
            if not self.context.children
            else self.context.me(Strict)
        )
        try:
            async with asyncio.timeout(time_s):
                await getattr(child, method)(10.0)
        except TimeoutError:
            await asyncio.sleep(1)
        return ",".join(self.context.children)


@pytest.mark.parametrize("method", ["cleans_up", "raises_another"])
def test_a_cancel_never_restarts_or_stops_the_actor(method: str) -> None:
    @in_virtual_time()
    async def body(node: Node) -> None:
        assert await node.actor(Strict, "a").run(0.1, method) == "Strict/a/one"
        assert check_books(node)["cancelled"] == 1

    body(codec=False)
    body(codec=True)


@in_virtual_time()
async def test_a_cancel_and_the_answer_may_cross(node: Node) -> None:
    """In the round in which the answer comes the cancel wins; nothing is counted twice."""
    ref = node.actor(Worker, "a")
    for pause_s in (0.0999, 0.1, 0.1001):
        task = asyncio.ensure_future(ref.work("x", 0.1))
        await asyncio.sleep(pause_s)
        task.cancel()
        await asyncio.wait([task])
        await settled(node)
    books = check_books(node)
    assert books["handled"] + books["cancelled"] == books["accepted"] == 3


@in_virtual_time()
async def test_a_cancel_before_the_runners_first_step_is_heard(node: Node) -> None:
    """The turn has made its first step on its asker's stack; its task has not begun."""
    ref = node.actor(Worker, "a")
    task = asyncio.ensure_future(ref.work("x", 10))
    await asyncio.sleep(0)
    assert events == ["x begins"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await settled(node, 0.01)
    assert events == ["x begins", "x is cancelled"]


@in_virtual_time()
async def test_a_turn_can_be_cancelled_twice(node: Node) -> None:
    ref = node.actor(Worker, "a")
    await cancelled_after(0.1, ref.stubborn(1))
    cell = node.runtime.cells["Worker/a"]
    assert cell.turn is not None
    await asyncio.sleep(0.1)
    node.runtime.cancel_turn(cell.turn)
    await settled(node)
    assert events == ["not now", "not now", "stubborn ends"]


@in_virtual_time()
async def test_cancelled_messages_do_not_pile_up_behind_a_turn_that_hangs(node: Node) -> None:
    ref = node.actor(Worker, "a")
    hanging = asyncio.ensure_future(options(ref, timeout_s=1000).work("long", 500))
    await asyncio.sleep(0)
    for _ in range(40):
        tasks = [asyncio.ensure_future(ref.work("x", 0)) for _ in range(50)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    mailbox = node.runtime.cells["Worker/a"].mailbox
    assert mailbox is not None
    assert mailbox.waiting == 0
    assert mailbox.held <= 64
    assert check_books(node, is_quiet=False)["cancelled"] == 2000
    tell(ref.work, "told", 0)
    await hanging
    await settled(node)
    assert events[-1] == "told ends"
