"""Deadlines: they travel with calls, never grow, and what has expired never starts."""

from __future__ import annotations

import asyncio

import pytest
from embedded import check_books, in_virtual_time, settled

from denoagents import Actor, Node, RequestTimeoutError, options, tell
from denoagents.errors import ExpiredError, RejectedError

ran: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    ran.clear()


class Sleeper(Actor):
    async def sleep(self, name: str, time_s: float) -> str:
        ran.append(name)
        await asyncio.sleep(time_s)
        return name

    async def left(self) -> float | None:
        return self.context.deadline_s

    async def left_downstream(self, others: list[Sleeper], wait_s: float) -> list[float]:
        await asyncio.sleep(wait_s)
        mine = self.context.deadline_s
        assert mine is not None
        if not others:
            return [mine]
        return [mine, *await others[0].left_downstream(others[1:], wait_s)]

    async def ask_longer(self, other: Sleeper, timeout_s: float) -> float | None:
        return await options(other, timeout_s=timeout_s).left()

    async def work_then_ask(self, other: Sleeper, time_s: float) -> str:
        try:
            await asyncio.sleep(time_s)
        except asyncio.CancelledError:
            ran.append("cancelled")
            try:
                await other.sleep("too late", 0)
            except ExpiredError:
                ran.append("expired")
            raise
        return await other.sleep("in time", 0)


@in_virtual_time()
async def test_an_ask_ends_at_its_deadline(node: Node) -> None:
    start_s = asyncio.get_running_loop().time()
    with pytest.raises(RequestTimeoutError, match=r"Sleeper/a\.sleep"):
        await options(node.actor(Sleeper, "a"), timeout_s=2).sleep("x", 10)
    assert 2 <= asyncio.get_running_loop().time() - start_s < 2.04
    await settled(node, 0.01)
    assert check_books(node)["cancelled"] == 1, "the turn was cancelled with its request"


@pytest.mark.parametrize(("priority", "expected_s"), [("high", 10), ("normal", 30), ("low", 60)])
def test_the_default_deadline_is_that_of_the_priority(priority: str, expected_s: float) -> None:
    @in_virtual_time()
    async def body(node: Node) -> None:
        ref = options(node.actor(Sleeper, "a"), priority=priority)  # type: ignore[arg-type]
        assert await ref.left() == pytest.approx(expected_s)

    body(codec=False)
    body(codec=True)


@in_virtual_time()
async def test_deadlines_shrink_downstream(node: Node) -> None:
    a, *others = [node.actor(Sleeper, str(n)) for n in range(4)]
    left = await options(a, timeout_s=5).left_downstream(others, 1)
    assert left == pytest.approx([4, 3, 2, 1], abs=0.01)
    with pytest.raises(RequestTimeoutError):
        await options(a, timeout_s=2.5).left_downstream(others, 1)
    await settled(node, 0.1)


@in_virtual_time()
async def test_a_deadline_does_not_grow_downstream(node: Node) -> None:
    a, b = node.actor(Sleeper, "a"), node.actor(Sleeper, "b")
    assert await options(a, timeout_s=5).ask_longer(b, 100) == pytest.approx(5)
    assert await options(a, timeout_s=5).ask_longer(b, 2) == pytest.approx(2)


@in_virtual_time()
async def test_a_message_that_expires_while_it_waits_is_never_run(node: Node) -> None:
    ref = node.actor(Sleeper, "a")
    first = asyncio.ensure_future(ref.sleep("first", 5))
    await asyncio.sleep(0)
    with pytest.raises(ExpiredError, match="not run") as caught:
        await options(ref, timeout_s=1).sleep("second", 0)
    assert isinstance(caught.value, RejectedError), "certainly not run"
    assert isinstance(caught.value, TimeoutError), "and too late, as Python says it"
    assert await first == "first"
    assert ran == ["first"]
    assert check_books(node)["expired"] == 1


@in_virtual_time()
async def test_tells_wait_as_long_as_it_takes(node: Node) -> None:
    ref = node.actor(Sleeper, "a")
    for n in range(5):
        tell(ref.sleep, str(n), 20)
    await settled(node, 101)
    assert ran == ["0", "1", "2", "3", "4"]


@in_virtual_time()
async def test_a_tell_with_a_deadline_expires_as_a_dead_letter(node: Node) -> None:
    ref = node.actor(Sleeper, "a")
    tell(ref.sleep, "first", 5)
    tell(options(ref, timeout_s=1).sleep, "second", 0)
    await settled(node)
    assert ran == ["first"]
    assert check_books(node)["expired"] == 1
    [letter] = node.statistics()["last_dead_letters"]
    assert (letter["address"], letter["method"]) == ("Sleeper/a", "sleep")
    assert "deadline" in letter["reason"]


@in_virtual_time()
async def test_a_request_whose_deadline_has_passed_asks_nothing_more(node: Node) -> None:
    with pytest.raises(RequestTimeoutError):
        await options(node.actor(Sleeper, "a"), timeout_s=1).work_then_ask(
            node.actor(Sleeper, "b"), 5
        )
    await settled(node, 0.1)
    assert ran == ["cancelled", "expired"]


@in_virtual_time()
async def test_many_deadlines_end_together_and_apart(node: Node) -> None:
    async def one(n: int) -> float:
        start_s = asyncio.get_running_loop().time()
        ref = options(node.actor(Sleeper, str(n)), timeout_s=0.01 * (n + 1))
        with pytest.raises(RequestTimeoutError):
            await ref.sleep("x", 100)
        return asyncio.get_running_loop().time() - start_s - 0.01 * (n + 1)

    late_s = await asyncio.gather(*map(one, range(300)))
    assert min(late_s) >= 0
    assert max(late_s) < 0.04
    await settled(node, 0.1)
    assert node.router.deadlines.count == 0
