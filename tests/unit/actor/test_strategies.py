"""Who is restarted with a child that failed, and what becomes of a parent whose child escalates."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from embedded import in_virtual_time, settled

from denoagents import Actor, Node, OutcomeUnknownError, RemoteError, Supervision, options, tell
from denoagents.errors import ActorStoppedError

story: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    story.clear()


class Part(Actor):
    total: int = 0

    async def add(self, n: int) -> int:
        self.total += n
        return self.total

    async def fail(self, text: str = "x") -> None:
        raise ValueError(text)

    async def work(self, seconds: float, clean_s: float = 0) -> str:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            await asyncio.sleep(clean_s)
            story.append(f"{self.context.address} gave way")
            raise
        return "done"

    async def spawn(self, name: str) -> Part:
        return self.context.spawn(Part, name)

    async def ask_to_fail(self, other: Part) -> str:
        try:
            await other.fail()
        except RemoteError:
            await asyncio.sleep(60)
        return "went on"


class OneForAll(Part):
    supervision = Supervision(strategy="one_for_all")


class RestForOne(Part):
    supervision = Supervision(strategy="rest_for_one", backoff_first_s=1)


class Escalating(Part):
    supervision = Supervision(directive="escalate")


class Limited(Part):
    supervision = Supervision(intensity=1, strategy="one_for_all", beyond="stop")


class Grandparent(Part):
    supervision = Supervision(
        directive=lambda error: "resume" if "resume" in str(error) else "stop",
    )

    async def spawn_escalating(self) -> Escalating:
        return self.context.spawn(Escalating, "middle")


async def fail(part: Part, text: str = "x") -> None:
    with pytest.raises(RemoteError, match=text):
        await part.fail(text)


async def three(parent: Part) -> list[Part]:
    parts = [await parent.spawn(name) for name in "abc"]
    for part in parts:
        await part.add(1)
    return parts


async def totals(parts: list[Part]) -> list[int]:
    return [await part.add(1) for part in parts]


@in_virtual_time()
async def test_one_for_all_restarts_every_sibling(node: Node) -> None:
    parts = await three(node.actor(OneForAll, "a"))
    await fail(parts[1])
    assert await totals(parts) == [1, 1, 1]
    assert node.statistics()["restarts"] == 3


@in_virtual_time()
async def test_rest_for_one_restarts_the_siblings_made_after_it(node: Node) -> None:
    parts = await three(node.actor(RestForOne, "a"))
    await fail(parts[1])
    assert await totals(parts) == [2, 1, 1]
    await fail(parts[2])
    assert await options(parts[1], timeout_s=0.1).add(1) == 2, "it was made before"
    assert await totals(parts) == [3, 3, 1]


@in_virtual_time()
async def test_one_for_one_leaves_siblings_alone(node: Node) -> None:
    parts = await three(node.actor(Part, "a"))
    await fail(parts[1])
    assert await totals(parts) == [2, 1, 2]


@in_virtual_time()
async def test_siblings_keep_their_mailboxes_and_begin_when_all_turns_have_ended(
    node: Node,
) -> None:
    """Nobody meets a sibling that belongs to the life before."""
    parts = await three(node.actor(OneForAll, "a"))
    loop = asyncio.get_running_loop()
    working = asyncio.ensure_future(parts[2].work(100, clean_s=2))
    await asyncio.sleep(0.1)
    waiting = asyncio.ensure_future(parts[2].add(5))
    start_s = loop.time()
    await fail(parts[0])
    assert await parts[1].add(1) == 1
    assert loop.time() - start_s == pytest.approx(2, abs=0.05), "it waited for the last turn"
    assert story == ["OneForAll/a/c gave way"]
    with pytest.raises(OutcomeUnknownError):
        await working
    assert await waiting == 5, "fresh state, the mailbox is kept"


@in_virtual_time()
async def test_all_children_share_one_window_where_they_are_restarted_together(
    node: Node,
) -> None:
    parts = await three(node.actor(Limited, "a"))
    await fail(parts[0])
    assert await totals(parts) == [1, 1, 1]
    await fail(parts[1])
    for part in parts:
        with pytest.raises(ActorStoppedError):
            await part.add(1)


@in_virtual_time()
async def test_a_second_failure_while_siblings_give_way_is_no_second_restart(node: Node) -> None:
    parts = await three(node.actor(OneForAll, "a"))
    working = [asyncio.ensure_future(part.work(100, clean_s=1)) for part in parts[1:]]
    await asyncio.sleep(0.1)
    await fail(parts[0])
    await asyncio.gather(*working, return_exceptions=True)
    assert await totals(parts) == [1, 1, 1]
    assert node.statistics()["restarts"] == 3


@in_virtual_time()
async def test_an_escalated_failure_restarts_a_root_and_ends_its_children(node: Node) -> None:
    root = node.actor(Escalating, "a")
    child = await root.spawn("one")
    await root.add(4)
    await fail(child)
    assert await root.add(1) == 1, "a root escalates to its own restart"
    with pytest.raises(ActorStoppedError):
        await child.add(1)
    assert await (await root.spawn("one")).add(1) == 1


@in_virtual_time()
async def test_an_escalated_failure_cancels_the_parents_running_turn(node: Node) -> None:
    root = node.actor(Escalating, "a")
    child = await root.spawn("one")
    with pytest.raises(OutcomeUnknownError):
        await root.ask_to_fail(child)
    assert await root.add(1) == 1


@in_virtual_time()
async def test_the_parents_own_rules_decide_what_an_escalated_failure_means(node: Node) -> None:
    top = node.actor(Grandparent, "a")
    middle = await top.spawn_escalating()
    child = await middle.spawn("one")
    await middle.add(1)
    await child.add(1)
    await fail(child, "resume")
    assert await child.add(1) == 2, "its parent goes on, and so does it"
    assert await middle.add(1) == 2
    await fail(child, "end")
    with pytest.raises(ActorStoppedError):
        await middle.add(1)
    with pytest.raises(ActorStoppedError):
        await child.add(1)
    assert await top.add(1) == 1


@in_virtual_time()
async def test_one_restart_too_many_escalates(node: Node) -> None:
    root = node.actor(Part, "a")
    child = await root.spawn("one")
    await root.add(7)
    for _ in range(3):
        await fail(child)
        assert await child.add(1) == 1
    assert await root.add(1) == 8
    await fail(child)
    assert await root.add(1) == 1, "the fourth within five seconds is the parent's failure"


@in_virtual_time()
async def test_a_root_that_is_restarted_too_often_refuses_what_waits_and_comes_back(
    node: Node,
) -> None:
    root = node.actor(Escalating, "a")
    for _ in range(3):
        child = await root.spawn("one")
        await fail(child)
        assert await root.add(1) == 1
    child = await root.spawn("one")
    await fail(child)
    await settled(node)
    assert await root.add(1) == 1, "the next message makes it anew"


class Mourner(Part):
    supervision = Supervision(directive="escalate")

    async def on_failure(self, error: BaseException) -> None:
        story.append(f"on_failure {error}")


@in_virtual_time()
async def test_a_parent_that_fails_with_its_child_hears_of_it_first(node: Node) -> None:
    root = node.actor(Mourner, "a")
    await fail(await root.spawn("one"), "boom")
    assert await root.add(1) == 1
    assert story == ["on_failure boom"]


@in_virtual_time()
async def test_a_parent_that_stops_while_siblings_give_way_ends_them_all(node: Node) -> None:
    root: Any = node.actor(Stopper, "a")
    parts = await three(root)
    working = asyncio.ensure_future(parts[1].work(100, clean_s=1))
    await asyncio.sleep(0.1)
    await fail(parts[0])
    await tell(root.stop_me)
    with pytest.raises(OutcomeUnknownError):
        await working
    await settled(node)
    for part in parts:
        with pytest.raises(ActorStoppedError):
            await part.add(1)
    assert await root.add(1) == 1


class Stopper(OneForAll):
    async def stop_me(self) -> None:
        self.context.stop_self()


@pytest.mark.parametrize(
    "wrong",
    [
        {"strategy": "all"},
        {"directive": "die"},
        {"beyond": "x"},
        {"intensity": -1},
        {"within_s": 0},
    ],
)
def test_rules_that_cannot_be_are_refused_at_once(wrong: Any) -> None:
    with pytest.raises(ValueError, match="must"):
        Supervision(**wrong)
