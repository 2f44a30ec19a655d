"""Children: beside their parent, stopped with it, before it, and made anew with it."""

from __future__ import annotations

import asyncio

import pytest
from embedded import check_books, in_virtual_time, settled

from denoagents import Actor, Node, RemoteError, Supervision, tell
from denoagents.errors import ActorStoppedError, OutcomeUnknownError, UsageError

events: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    events.clear()


class Leaf(Actor):
    async def on_stop(self) -> None:
        await asyncio.sleep(0.1)
        events.append(f"{self.context.address} stops")

    async def hello(self) -> str:
        return self.context.address

    async def work(self, time_s: float) -> None:
        try:
            await asyncio.sleep(time_s)
        except asyncio.CancelledError:
            events.append(f"{self.context.address} is cancelled")
            raise

    async def ignore_cancels(self, time_s: float) -> None:
        end_s = asyncio.get_running_loop().time() + time_s
        while asyncio.get_running_loop().time() < end_s:
            try:
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                events.append("ignored")

    async def stop_yourself(self) -> str:
        self.context.stop_self()
        return "my last words"

    async def fail(self) -> None:
        raise ValueError("x")


class Branch(Leaf):
    async def spawn(self, name: str) -> Leaf:
        return self.context.spawn(Leaf, name)

    async def branch(self, name: str) -> Branch:
        return self.context.spawn(Branch, name)

    async def stop(self, child: Leaf) -> list[str]:
        await self.context.stop(child)
        return list(self.context.children)

    async def children(self) -> list[str]:
        return list(self.context.children)

    async def own_address(self) -> str:
        return self.context.address


@in_virtual_time()
async def test_a_childs_address_is_its_parents_and_a_name(node: Node) -> None:
    root = node.actor(Branch, "root")
    branch = await root.branch("left")
    leaf = await branch.spawn("leaf")
    assert await leaf.hello() == "Branch/root/left/leaf"
    assert await root.children() == ["Branch/root/left"]
    assert await node.ask("Branch/root/left/leaf", "hello") == "Branch/root/left/leaf"


@in_virtual_time()
async def test_names_of_children_are_taken_once_and_checked(node: Node) -> None:
    root = node.actor(Branch, "root")
    await root.spawn("one")
    with pytest.raises(UsageError, match="child 'one' already"):
        await root.spawn("one")
    with pytest.raises(Exception, match=r"empty|name|part"):
        await root.spawn("")
    assert await (await root.spawn("a/b c")).hello() == "Branch/root/a%2Fb c"


@in_virtual_time()
async def test_a_stopped_child_takes_nothing_and_its_name_is_free_again(node: Node) -> None:
    root = node.actor(Branch, "root")
    leaf = await root.spawn("one")
    await leaf.hello()
    assert await root.stop(leaf) == []
    assert events == ["Branch/root/one stops"]
    with pytest.raises(ActorStoppedError):
        await leaf.hello()
    await root.spawn("one")
    assert await leaf.hello() == "Branch/root/one", "the address is what a ref means"


@in_virtual_time()
async def test_stop_waits_for_the_running_turn_and_refuses_what_waits(node: Node) -> None:
    root = node.actor(Branch, "root")
    leaf = await root.spawn("one")
    running = asyncio.ensure_future(leaf.work(1))
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(leaf.hello())
    await tell(leaf.hello)
    start_s = asyncio.get_running_loop().time()
    assert await root.stop(leaf) == []
    assert asyncio.get_running_loop().time() - start_s == pytest.approx(1.1, abs=0.01)
    await running
    with pytest.raises(ActorStoppedError):
        await waiting
    books = check_books(node)
    assert (books["refused"], books["dead_lettered"]) == (1, 1)


@in_virtual_time()
async def test_only_children_can_be_stopped(node: Node) -> None:
    root, other = node.actor(Branch, "root"), node.actor(Branch, "other")
    leaf = await other.spawn("one")
    with pytest.raises(UsageError, match="no living child"):
        await root.stop(leaf)
    await other.stop(leaf)
    with pytest.raises(UsageError, match="no living child"):
        await other.stop(leaf)


@in_virtual_time()
async def test_an_actor_may_stop_itself_after_its_turn(node: Node) -> None:
    root = node.actor(Branch, "root")
    leaf = await root.spawn("one")
    first, second = await asyncio.gather(leaf.stop_yourself(), leaf.hello(), return_exceptions=True)
    assert first == "my last words"
    assert isinstance(second, ActorStoppedError)
    await asyncio.sleep(0.2)
    assert await root.children() == []


@in_virtual_time()
async def test_no_message_is_handled_after_the_turn_that_stopped_the_actor(node: Node) -> None:
    root = node.actor(Branch, "root")
    leaf = await root.spawn("one")
    tell(leaf.stop_yourself)
    for _ in range(5):
        tell(leaf.hello)
    await settled(node)
    books = check_books(node)
    assert (books["handled"], books["dead_lettered"]) == (2, 5)
    await asyncio.sleep(0.2)


@in_virtual_time()
async def test_a_root_that_stopped_itself_comes_back_new(node: Node) -> None:
    root = node.actor(Branch, "root")
    await root.spawn("one")
    await root.stop_yourself()
    await asyncio.sleep(0.5)
    assert await root.children() == []


@in_virtual_time()
async def test_children_stop_before_their_parent_and_their_turns_are_cancelled(node: Node) -> None:
    root = node.actor(Branch, "root")
    branch = await root.branch("left")
    leaf, idle = await branch.spawn("leaf"), await branch.spawn("idle")
    await idle.hello()
    running = asyncio.ensure_future(leaf.work(100))
    await asyncio.sleep(0.1)
    await root.stop_yourself()
    with pytest.raises(OutcomeUnknownError):
        await running
    await asyncio.sleep(1)
    assert events[0] == "Branch/root/left/leaf is cancelled"
    assert sorted(events[1:3]) == ["Branch/root/left/idle stops", "Branch/root/left/leaf stops"]
    assert events[3:] == ["Branch/root/left stops", "Branch/root stops"]
    assert set(node.runtime.cells) == set()


@in_virtual_time()
async def test_a_parent_waits_for_a_child_that_ignores_cancels(node: Node) -> None:
    root = node.actor(Branch, "root")
    leaf = await root.spawn("leaf")
    running = asyncio.ensure_future(leaf.ignore_cancels(5))
    await asyncio.sleep(0.05)
    await root.stop_yourself()
    await asyncio.sleep(4)
    assert set(node.runtime.cells) == {"Branch/root", "Branch/root/leaf"}
    await running
    await asyncio.sleep(1)
    assert events == ["ignored", "Branch/root/leaf stops", "Branch/root stops"]
    assert set(node.runtime.cells) == set()


class Nest(Branch):
    supervision = Supervision(backoff_first_s=0.01)

    async def on_start(self) -> None:
        events.append(f"{self.context.address} starts")
        self.context.spawn(Leaf, "egg")

    async def egg(self) -> str:
        return self.context.children[0]


class Tree(Actor):
    async def nest(self) -> Nest:
        return self.context.spawn(Nest, "nest")


@in_virtual_time()
async def test_a_restarted_parent_gets_new_children_when_the_old_ones_are_gone(node: Node) -> None:
    nest = await node.actor(Tree, "t").nest()
    egg = await nest.egg()
    await node.ask(egg, "hello")
    running = asyncio.ensure_future(node.ask(egg, "work", 100.0))
    await asyncio.sleep(0)
    with pytest.raises(RemoteError):
        await nest.fail()
    assert await nest.egg() == egg
    assert events == [
        "Tree/t/nest starts",
        "Tree/t/nest/egg is cancelled",
        "Tree/t/nest/egg stops",
        "Tree/t/nest starts",
    ]
    with pytest.raises(OutcomeUnknownError):
        await running
    assert await node.ask(egg, "hello") == egg


class Hopeless(Actor):
    async def on_start(self) -> None:
        self.context.spawn(Leaf, "orphan")
        self.context.schedule(self.hello, every_s=1)
        if len(events) < 2:
            events.append("fails")
            raise ValueError("not today")

    async def hello(self) -> list[str]:
        return list(self.context.children)


@in_virtual_time()
async def test_what_a_failed_start_made_is_gone(node: Node) -> None:
    ref = node.actor(Hopeless, "a")
    for _ in range(2):
        with pytest.raises(ActorStoppedError, match="not today"):
            await ref.hello()
    await asyncio.sleep(5)
    assert check_books(node)["accepted"] == 2, "no timer goes on"
    assert await ref.hello() == ["Hopeless/a/orphan"]


class Late(Actor):
    async def on_stop(self) -> None:
        try:
            self.context.spawn(Leaf, "too late")
        except ActorStoppedError:
            events.append("no children any more")
        try:
            self.context.schedule(self.go, after_s=1)
        except ActorStoppedError:
            events.append("no timers any more")

    async def go(self) -> None:
        self.context.stop_self()


@in_virtual_time()
async def test_a_stopping_actor_takes_no_children_and_sets_no_timers(node: Node) -> None:
    await node.actor(Late, "a").go()
    await asyncio.sleep(1)
    assert events == ["no children any more", "no timers any more"]
    assert set(node.runtime.cells) == set()
