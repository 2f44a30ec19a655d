"""Timers: messages that an actor sends itself later; volatile, and never a heap of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from embedded import check_books, in_virtual_time, settled

from denoagents import Actor, Node, RemoteError, Supervision
from denoagents.errors import ArgumentsError, UnknownMethodError, UsageError

beats: list[tuple[str, float]] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    beats.clear()


def now_s() -> float:
    return asyncio.get_running_loop().time()


class Clockwork(Actor):
    _timer: Any

    async def tick(self, name: str = "tick") -> None:
        beats.append((name, now_s()))

    async def slow_tick(self, time_s: float) -> None:
        beats.append(("slow", now_s()))
        await asyncio.sleep(time_s)

    async def once(self, after_s: float) -> None:
        self._timer = self.context.schedule(self.tick, "once", after_s=after_s)

    async def every(self, every_s: float, after_s: float = 0) -> None:
        self._timer = self.context.schedule(self.tick, after_s=after_s, every_s=every_s)

    async def slowly_every(self, every_s: float, time_s: float) -> None:
        self._timer = self.context.schedule(self.slow_tick, time_s, every_s=every_s)

    async def cancel(self) -> bool:
        was_set = bool(self._timer.is_set)
        self._timer.cancel()
        self._timer.cancel()
        return was_set

    async def stop(self) -> None:
        self.context.stop_self()

    async def fail(self) -> None:
        raise ValueError("x")

    async def stream(self) -> AsyncIterator[int]:
        yield 1

    async def wrong(self, how: str) -> None:
        other: Any = self.context.actor(Clockwork, "other")
        unbound: Any = Clockwork.tick
        attempts: dict[str, Any] = {
            "stream": lambda: self.context.schedule(self.stream, every_s=1),  # type: ignore[arg-type]
            "arguments": lambda: self.context.schedule(self.tick, 1, 2, 3),
            "private": lambda: self.context.schedule(self._private),
            "other": lambda: self.context.schedule(other.tick),
            "function": lambda: self.context.schedule(unbound),
            "never": lambda: self.context.schedule(self.tick, every_s=0),
        }
        attempts[how]()

    async def _private(self) -> None: ...


class Keeper(Actor):
    supervision = Supervision(backoff_first_s=0.01)

    async def spawn(self) -> Clockwork:
        return self.context.spawn(Clockwork, "clock")


@in_virtual_time()
async def test_a_timer_sends_once(node: Node) -> None:
    start_s = now_s()
    clock = node.actor(Clockwork, "a")
    await clock.once(5)
    await asyncio.sleep(20)
    assert [(name, round(at_s - start_s, 2)) for name, at_s in beats] == [("once", 5)]
    assert await clock.cancel() is False
    assert check_books(node)["handled"] == 3


@in_virtual_time()
async def test_a_repeating_timer_does_not_drift(node: Node) -> None:
    start_s = now_s()
    await node.actor(Clockwork, "a").every(0.1)
    await asyncio.sleep(100.05)
    times = [round(at_s - start_s, 3) for _, at_s in beats]
    assert len(times) == 1000
    assert times[-1] == pytest.approx(100, abs=0.01)
    await node.actor(Clockwork, "a").cancel()


@in_virtual_time()
async def test_the_first_message_may_come_at_another_time(node: Node) -> None:
    start_s = now_s()
    await node.actor(Clockwork, "a").every(10, 1)
    await asyncio.sleep(32)
    assert [round(at_s - start_s) for _, at_s in beats] == [1, 11, 21, 31]
    await node.actor(Clockwork, "a").stop()


@in_virtual_time()
async def test_a_cancelled_timer_sends_nothing_more(node: Node) -> None:
    clock = node.actor(Clockwork, "a")
    await clock.every(1)
    await asyncio.sleep(3.5)
    assert await clock.cancel() is True
    await asyncio.sleep(10)
    assert len(beats) == 3


@in_virtual_time()
async def test_messages_of_a_timer_do_not_pile_up(node: Node) -> None:
    """A handler slower than its timer runs on end, and not for ever after."""
    clock = node.actor(Clockwork, "a")
    await clock.slowly_every(0.1, 5)
    await asyncio.sleep(50)
    assert node.runtime.cells["Clockwork/a"].waiting <= 1
    await clock.cancel()
    await settled(node)
    assert len(beats) <= 12


@in_virtual_time()
async def test_timers_end_with_the_actor(node: Node) -> None:
    clock = node.actor(Clockwork, "a")
    await clock.every(1)
    await asyncio.sleep(2.5)
    await clock.stop()
    await asyncio.sleep(10)
    assert len(beats) == 2
    assert "Clockwork/a" not in node.runtime.cells


@in_virtual_time()
async def test_timers_end_with_a_restart(node: Node) -> None:
    clock = await node.actor(Keeper, "a").spawn()
    await clock.every(1)
    await asyncio.sleep(2.5)
    with pytest.raises(RemoteError):
        await clock.fail()
    await asyncio.sleep(10)
    assert len(beats) == 2


@in_virtual_time(passivate_after_s=5)
async def test_an_actor_with_a_timer_is_not_passivated(node: Node) -> None:
    await node.actor(Clockwork, "a").every(20)
    await asyncio.sleep(45)
    assert len(beats) == 2
    await node.actor(Clockwork, "a").cancel()
    await asyncio.sleep(10)
    assert "Clockwork/a" not in node.runtime.cells


@in_virtual_time()
async def test_timers_end_with_the_node(node: Node) -> None:
    await node.actor(Clockwork, "a").every(0.001)


MISTAKES = {
    "stream": (UsageError, "streams its reply"),
    "arguments": (ArgumentsError, "Clockwork.tick"),
    "private": (UnknownMethodError, "private"),
    "other": (UsageError, "of the actor itself"),
    "function": (UsageError, "of the actor itself"),
    "never": (UsageError, "every_s"),
}


@pytest.mark.parametrize("how", MISTAKES)
def test_a_timer_that_cannot_work_is_refused_where_it_is_set(how: str) -> None:
    error, text = MISTAKES[how]

    @in_virtual_time()
    async def body(node: Node) -> None:
        with pytest.raises(error, match=text):
            await node.actor(Clockwork, "a").wrong(how)

    body(codec=False)
    body(codec=True)
