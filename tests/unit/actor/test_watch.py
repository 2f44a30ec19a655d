"""Watching: one notice for each watched actor whose life has ended, and none for what goes on."""

from __future__ import annotations

import asyncio

import pytest
from embedded import in_virtual_time, settled

from denoagents import Actor, Node, RemoteError, Supervision, UsageError


async def over(node: Node) -> None:
    """What was to end has ended, and whoever watched it has been told."""
    await asyncio.sleep(0.01)
    await settled(node)


class Leaf(Actor):
    async def hello(self) -> str:
        return "hello"

    async def fail(self) -> None:
        raise ValueError("x")

    async def stop(self) -> None:
        self.context.stop_self()


class Guard(Actor):
    supervision = Supervision(intensity=1, beyond="stop")
    notices: list[tuple[str, str]] = []  # noqa: RUF012

    async def on_terminated(self, address: str, reason: str) -> None:
        self.notices.append((address, reason))

    async def watch(self, leaf: Leaf) -> None:
        await self.context.watch(leaf)

    async def watch_guard(self, guard: Guard) -> None:
        await self.context.watch(guard)

    async def unwatch(self, leaf: Leaf) -> None:
        self.context.unwatch(leaf)

    async def spawn(self, name: str = "one") -> Leaf:
        return self.context.spawn(Leaf, name)

    async def end(self, leaf: Leaf) -> None:
        await self.context.stop(leaf)

    async def told(self) -> list[tuple[str, str]]:
        return self.notices

    async def watch_myself(self) -> None:
        await self.context.watch(self.context.me(Guard))

    async def fail(self) -> None:
        raise ValueError("x")

    async def stop_me(self) -> None:
        self.context.stop_self()


class Deaf(Actor):
    async def watch(self, leaf: Leaf) -> None:
        await self.context.watch(leaf)


class Top(Actor):
    async def spawn(self) -> Guard:
        return self.context.spawn(Guard, "guard")


@in_virtual_time()
async def test_a_watcher_is_told_once_when_a_child_or_another_actor_was_stopped(
    node: Node,
) -> None:
    guard, leaf = node.actor(Guard, "g"), node.actor(Leaf, "l")
    child = await guard.spawn()
    for _ in range(2):  # twice is once
        await guard.watch(child)
        await guard.watch(leaf)
    await leaf.hello()
    await guard.end(child)
    await leaf.stop()
    await over(node)
    assert await guard.told() == [
        ("Guard/g/one", "Guard/g/one has stopped"), ("Leaf/l", "Leaf/l has stopped"),
    ]  # fmt: skip
    await leaf.hello()
    await leaf.stop()
    await over(node)
    assert len(await guard.told()) == 2, "another life, which nobody watches"
    await guard.watch(leaf)
    await leaf.stop()
    await over(node)
    assert len(await guard.told()) == 3


@in_virtual_time()
async def test_a_restart_is_no_end_but_one_too_many_is(node: Node) -> None:
    guard = node.actor(Guard, "g")
    child = await guard.spawn()
    await guard.watch(child)
    with pytest.raises(RemoteError):
        await child.fail()
    assert await child.hello() == "hello"
    assert await guard.told() == []
    with pytest.raises(RemoteError):
        await child.fail()
    await over(node)
    ((address, reason),) = await guard.told()
    assert address == "Guard/g/one"
    assert "restarted more than 1 times in 5 s; the last error was ValueError: x" in reason


@in_virtual_time(passivate_after_s=1.0, sweep_every_s=0.1)
async def test_passivation_of_either_side_is_no_end(node: Node) -> None:
    guard, leaf = node.actor(Guard, "g"), node.actor(Leaf, "l")
    await guard.watch(leaf)
    await leaf.hello()
    await asyncio.sleep(30)
    assert node.statistics()["passivations"] == 2
    assert await guard.told() == []
    await leaf.stop()
    await over(node)
    assert await guard.told() == [("Leaf/l", "Leaf/l has stopped")]


@in_virtual_time()
async def test_unwatch_ends_it_and_so_does_the_watchers_own_end(node: Node) -> None:
    guard, leaf = node.actor(Guard, "g"), node.actor(Leaf, "l")
    await guard.watch(leaf)
    await guard.unwatch(leaf)
    await guard.unwatch(leaf)
    await leaf.hello()
    await leaf.stop()
    await over(node)
    assert await guard.told() == []
    await guard.watch(leaf)
    await guard.stop_me()
    await over(node)
    await leaf.hello()
    await leaf.stop()
    await over(node)
    assert await guard.told() == [], "a watch belongs to one life of its watcher"
    assert not node._guardian.watches


@in_virtual_time()
async def test_a_watch_is_over_when_the_watcher_is_restarted(node: Node) -> None:
    guard = await node.actor(Top, "t").spawn()
    leaf = node.actor(Leaf, "l")
    await guard.watch(leaf)
    with pytest.raises(RemoteError):
        await guard.fail()
    await leaf.hello()
    await leaf.stop()
    await over(node)
    assert await guard.told() == []
    assert not node._guardian.watches


@in_virtual_time()
async def test_a_child_that_does_not_live_has_ended_already(node: Node) -> None:
    guard = node.actor(Guard, "g")
    child = await guard.spawn()
    await guard.end(child)
    await guard.watch(child)
    await over(node)
    assert await guard.told() == [("Guard/g/one", "Guard/g/one does not live")]


@in_virtual_time()
async def test_a_watched_parent_takes_its_watched_children_along(node: Node) -> None:
    guard, other = node.actor(Guard, "g"), node.actor(Guard, "h")
    child = await guard.spawn()
    await other.watch(child)
    await other.watch_guard(guard)
    await guard.stop_me()
    await over(node)
    assert [address for address, _ in await other.told()] == ["Guard/g/one", "Guard/g"]


@in_virtual_time()
async def test_who_has_no_hook_or_names_itself_cannot_watch(node: Node) -> None:
    leaf = node.actor(Leaf, "l")
    with pytest.raises(UsageError, match="Deaf watches Leaf/l, but has no `async def on_term"):
        await node.actor(Deaf, "d").watch(leaf)
    with pytest.raises(UsageError, match="one other actor"):
        await node.actor(Guard, "g").watch_myself()
    with pytest.raises(AttributeError):
        node.actor(Guard, "g").on_terminated("a", "b")
    await over(node)
