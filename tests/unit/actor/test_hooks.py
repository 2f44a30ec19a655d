"""Hooks: what an actor hears of its own life, and what their faults do."""

from __future__ import annotations

import asyncio

import pytest
from embedded import check_books, embedded, in_virtual_time, settled

from denoagents import Actor, Node, tell
from denoagents._native.clock import Clock
from denoagents.errors import ActorStoppedError, NodeStoppedError
from denoagents.testing.loop import run_virtually

events: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    events.clear()


class Waking(Actor):
    waits_s = 0.0
    ready: bool = False

    def __init__(self) -> None:
        events.append("init")
        self.context.address  # noqa: B018 - it has its place already

    async def on_start(self) -> None:
        events.append("start")
        await asyncio.sleep(1)
        self.ready = True
        events.append("started")

    async def on_stop(self) -> None:
        events.append("stop")
        await asyncio.sleep(1)
        events.append("stopped")

    async def is_ready(self) -> bool:
        return self.ready

    async def stop(self) -> None:
        self.context.stop_self()

    async def work(self, time_s: float) -> None:
        try:
            await asyncio.sleep(time_s)
        except asyncio.CancelledError:
            events.append("cancelled")
            raise


@in_virtual_time()
async def test_messages_wait_until_on_start_is_done(node: Node) -> None:
    ref = node.actor(Waking, "a")
    assert await asyncio.gather(ref.is_ready(), ref.is_ready()) == [True, True]
    assert events == ["init", "start", "started"]
    assert await ref.is_ready()


@in_virtual_time()
async def test_an_asker_that_leaves_does_not_disturb_the_start(node: Node) -> None:
    ref = node.actor(Waking, "a")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await ref.is_ready()
    assert await ref.is_ready()
    assert events == ["init", "start", "started"]
    assert check_books(node)["cancelled"] == 1


@in_virtual_time()
async def test_on_stop_runs_after_the_last_turn(node: Node) -> None:
    ref = node.actor(Waking, "a")
    await ref.stop()
    await asyncio.sleep(0)
    with pytest.raises(ActorStoppedError):
        await ref.is_ready()
    await asyncio.sleep(2)
    assert events == ["init", "start", "started", "stop", "stopped"]
    assert await ref.is_ready(), "and its next message wakes a new one"


class Failing(Actor):
    async def on_start(self) -> None:
        events.append("start")
        if "pause" in events:
            await asyncio.sleep(0.1)
        if "fail" in events:
            raise ValueError("no start")

    async def on_stop(self) -> None:
        events.append("stop")
        raise ValueError("no stop")

    async def hello(self) -> str:
        return "hello"

    async def stop(self) -> None:
        self.context.stop_self()


@pytest.mark.parametrize("pause", ["", "pause"])
def test_a_start_that_fails_is_tried_once_for_what_waits(pause: str) -> None:
    @in_virtual_time()
    async def body(node: Node) -> None:
        events[:] = ["fail", pause]
        ref = node.actor(Failing, "a")
        with pytest.raises(ActorStoppedError, match="could not start: ValueError: no start"):
            await ref.hello()
        assert events[2:] == ["start"]
        await tell(ref.hello)
        await settled(node)
        assert events[2:] == ["start", "start"]
        assert check_books(node)["dead_lettered"] == 1
        events.remove("fail")
        assert await ref.hello() == "hello"

    body(codec=False)
    body(codec=True)


@in_virtual_time()
async def test_an_on_stop_that_raises_ends_the_actor_all_the_same(node: Node) -> None:
    ref = node.actor(Failing, "a")
    await ref.stop()
    await asyncio.sleep(0.1)
    assert events == ["start", "stop"]
    assert not node.runtime.cells


class NoInit(Actor):
    def __init__(self) -> None:
        raise RuntimeError("not made")

    async def hello(self) -> str:
        return "hello"


@in_virtual_time()
async def test_a_constructor_that_raises_is_told_to_the_asker(node: Node) -> None:
    for _ in range(3):
        with pytest.raises(ActorStoppedError, match="could not start: RuntimeError: not made"):
            await node.actor(NoInit, "a").hello()
    await asyncio.sleep(0)
    assert not node.runtime.cells


class Owner(Actor):
    async def spawn(self) -> Waking:
        return self.context.spawn(Waking, "one")

    async def stop(self, child: Waking) -> None:
        await self.context.stop(child)


@in_virtual_time()
async def test_a_child_may_be_stopped_while_it_starts(node: Node) -> None:
    owner = node.actor(Owner, "a")
    child = await owner.spawn()
    waiting = asyncio.ensure_future(child.is_ready())
    await asyncio.sleep(0.5)
    await owner.stop(child)
    with pytest.raises(ActorStoppedError):
        await waiting
    assert events == ["init", "start", "started", "stop", "stopped"]


def test_the_end_of_a_node_stops_its_actors() -> None:
    """Running turns are cancelled, then every on_stop is called, within the time there is."""

    async def main(clock: Clock) -> None:
        async with embedded(clock) as node:
            busy, idle = node.actor(Waking, "busy"), node.actor(Waking, "idle")
            await asyncio.gather(busy.is_ready(), idle.is_ready())
            working = asyncio.ensure_future(busy.work(100))
            await asyncio.sleep(0)
            waiting = asyncio.ensure_future(busy.is_ready())
            await asyncio.sleep(0)
            events.clear()
            assert await node.runtime.guardian.end_all(5, calls_on_stop=True)
            assert sorted(events) == ["cancelled", "stop", "stop", "stopped", "stopped"]
            assert not node.runtime.cells
            with pytest.raises(NodeStoppedError):
                await waiting
            with pytest.raises(Exception, match="cancelled"):
                await working
            check_books(node)

    run_virtually(main)


def test_a_node_may_end_its_actors_without_their_hooks() -> None:
    """As one must that was declared over."""

    async def main(clock: Clock) -> None:
        async with embedded(clock) as node:
            ref = node.actor(Waking, "a")
            await ref.is_ready()
            working = asyncio.ensure_future(ref.work(100))
            await asyncio.sleep(0)
            events.clear()
            assert await node.runtime.guardian.end_all(1, calls_on_stop=False)
            assert events == ["cancelled"]
            await asyncio.wait([working])

    run_virtually(main)


def test_the_end_of_a_node_does_not_wait_for_ever() -> None:
    async def main(clock: Clock) -> None:
        async with embedded(clock) as node:
            await node.actor(Waking, "a").is_ready()
            start_s = asyncio.get_running_loop().time()
            assert not await node.runtime.guardian.end_all(0.3, calls_on_stop=True)
            assert asyncio.get_running_loop().time() - start_s == pytest.approx(0.3, abs=0.01)

    run_virtually(main)


class Clingy(Waking):
    async def on_stop(self) -> None:
        if len(events) < 10:
            await tell(self.context.actor(Clingy, f"{self.context.address[-1]}x").is_ready)
            events.append("woke another")


def test_actors_that_others_wake_at_the_end_are_stopped_too() -> None:
    async def main(clock: Clock) -> None:
        async with embedded(clock) as node:
            await node.actor(Clingy, "a").is_ready()
            events.clear()
            assert await node.runtime.guardian.end_all(60, calls_on_stop=True)
            assert "woke another" in events
            assert not node.runtime.cells
            check_books(node)

    run_virtually(main)


class ByHand(Actor):
    async def where(self) -> str:
        return self.context.address


def test_an_actor_made_by_hand_has_no_context() -> None:
    with pytest.raises(RuntimeError, match="made by hand"):
        ByHand().context  # noqa: B018
