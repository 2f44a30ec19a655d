"""Dead letters: a one-way message that nobody took is counted, logged and kept with its reason."""

from __future__ import annotations

import asyncio

from embedded import check_books, in_virtual_time, settled

from denoagents import Actor, Node, tell


class Box(Actor):
    async def take(self, n: int) -> None:
        del n

    async def stop_after(self, time_s: float) -> None:
        await asyncio.sleep(time_s)
        self.context.stop_self()

    async def spawn(self) -> Box:
        return self.context.spawn(Box, "child")


def reasons(node: Node) -> list[str]:
    return [letter["reason"] for letter in node.statistics()["last_dead_letters"]]


@in_virtual_time()
async def test_what_waits_for_an_actor_that_stops_becomes_dead_letters(node: Node) -> None:
    box = node.actor(Box, "a")
    stopping = asyncio.ensure_future(box.stop_after(1))
    await asyncio.sleep(0)
    for n in range(3):
        await tell(box.take, n)
    await stopping
    await settled(node)
    assert check_books(node)["dead_lettered"] == node.statistics()["dead_letters"] == 3
    [letter, *_] = node.statistics()["last_dead_letters"]
    assert (letter["address"], letter["method"]) == ("Box/a", "take")
    assert "stopped" in letter["reason"]


@in_virtual_time()
async def test_what_comes_while_an_actor_stops_is_a_dead_letter(node: Node) -> None:
    box = node.actor(Box, "a")
    await box.stop_after(0)
    await tell(box.take, 1)
    assert check_books(node)["dead_lettered"] == 1
    await asyncio.sleep(0.1)
    await tell(box.take, 1)
    await settled(node)
    assert check_books(node)["dead_lettered"] == 1, "a root comes back with its next message"


@in_virtual_time(dead_letters=10)
async def test_the_last_ones_are_kept_and_all_are_counted(node: Node) -> None:
    box = node.actor(Box, "a")
    await box.stop_after(0)
    for n in range(50):
        tell(box.take, n)
    guardian = node.runtime.guardian
    assert guardian.dead_letter_count == 50
    assert len(guardian.dead_letters) == 10


@in_virtual_time()
async def test_messages_for_a_child_that_is_gone_are_refused_at_the_sender(node: Node) -> None:
    """A child is nobody's to make but its parent's."""
    import pytest

    from denoagents.errors import ActorStoppedError

    box = node.actor(Box, "a")
    child = await box.spawn()
    await box.stop_after(0)
    await asyncio.sleep(0.1)
    with pytest.raises(ActorStoppedError, match="no child Box/a/child"):
        tell(child.take, 1)
    with pytest.raises(ActorStoppedError, match="no child Box/a/child"):
        await child.take(1)
    assert reasons(node) == []
