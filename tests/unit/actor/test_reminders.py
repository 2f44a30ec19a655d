"""Reminders: kept with the turn that set them, handled once, also after a restart."""

from __future__ import annotations

import asyncio

import pytest
from embedded import StillPulse
from unit.actor.test_durable import with_store

from denoagents import Actor, Node, durable
from denoagents.errors import RemoteError, UsageError
from denoagents.testing.loop import run_virtually


@durable
class Clock(Actor):
    seen: list[str] = []  # noqa: RUF012 - each actor gets a copy
    failures: int = 0

    async def remind(self, name: str, after_s: float, every_s: float | None = None) -> None:
        self.context.remind(name, self.tick, name, after_s=after_s, every_s=every_s)

    async def forget(self, name: str) -> bool:
        return self.context.forget(name)

    async def set_and_fail(self) -> None:
        self.context.remind("never", self.tick, "never", after_s=1)
        raise ValueError

    async def tick(self, name: str) -> None:
        self.seen.append(name)
        if name == "bad":
            raise ValueError

    async def all(self) -> list[str]:
        return self.seen


def test_a_reminder_comes_once_at_its_time():
    async def body(make, store):
        async with make() as node:
            clock = node.actor(Clock, "a")
            await clock.remind("one", 10)
            await asyncio.sleep(9)
            assert await clock.all() == []
            await asyncio.sleep(100)
            assert await clock.all() == ["one"]
            assert not store._entries["Clock/a"].reminders

    with_store(body)


def test_one_that_repeats_goes_on_until_it_is_forgotten():
    async def body(make, store):
        async with make() as node:
            clock = node.actor(Clock, "a")
            await clock.remind("each", 10, 5)
            await asyncio.sleep(21)
            assert await clock.all() == ["each"] * 3
            assert await clock.forget("each")
            assert not await clock.forget("each")
            await asyncio.sleep(50)
            assert await clock.all() == ["each"] * 3

    with_store(body)


def test_reminders_outlive_the_node_and_come_late_rather_than_never():
    async def body(make, store):
        async with make() as node:
            await node.actor(Clock, "a").remind("one", 10)
            await node.actor(Clock, "a").remind("each", 10, 7)
            await node.actor(Clock, "b").remind("far", 1000)
        await asyncio.sleep(60)
        async with make() as node:
            node.actor(Clock, "unasked")
            await asyncio.sleep(1)
            assert sorted(store._entries) == ["Clock/a", "Clock/b"]
            assert sorted(await node.actor(Clock, "a").all()) == ["each", "one"]
            await asyncio.sleep(2000)
            assert await node.actor(Clock, "b").all() == ["far"]

    with_store(body)


def test_a_turn_that_raises_sets_none_and_a_reminder_that_fails_is_given_up_in_the_end():
    async def body(make, store):
        async with make() as node:
            clock = node.actor(Clock, "a")
            with pytest.raises(RemoteError):
                await clock.set_and_fail()
            await clock.remind("bad", 1)
            await asyncio.sleep(100)
            assert await clock.all() == []
            assert not store._entries["Clock/a"].reminders
            assert [one.method for one in node._guardian.dead_letters] == ["tick"]

    with_store(body)


def test_reminders_are_of_durable_actors():
    class Plain(Actor):
        async def try_it(self) -> None:
            self.context.remind("x", self.try_it, after_s=1)

        async def fence(self) -> int:
            return self.context.fence

    async def main(clock):
        async with Node(clock=clock, pulse=StillPulse()) as node:
            with pytest.raises(UsageError, match="durable"):
                await node.actor(Plain, "a").try_it()
            assert await node.actor(Plain, "a").fence() >= 0, "a fence is given to every turn"

    run_virtually(main)
