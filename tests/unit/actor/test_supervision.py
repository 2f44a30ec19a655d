"""Supervision: what becomes of a child that failed, how often, and after which wait."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from embedded import check_books, in_virtual_time, settled

from denoagents import Actor, Node, RemoteError, Supervision, options, tell
from denoagents.errors import ActorStoppedError, RequestTimeoutError

lives: list[str] = []
deciding: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    lives.clear()
    deciding.clear()


class Child(Actor):
    total: int = 0

    async def on_start(self) -> None:
        lives.append("start")

    async def on_stop(self) -> None:
        lives.append("stop")

    async def add(self, n: int) -> int:
        self.total += n
        return self.total

    async def fail(self, text: str = "x", after_s: float = 0) -> None:
        await asyncio.sleep(after_s)
        raise ValueError(text)

    async def refuse(self) -> None:
        raise RequestTimeoutError("a typed answer")


class Parent(Actor):
    async def spawn(self) -> Child:
        return self.context.spawn(Child, "one")

    async def children(self) -> list[str]:
        return list(self.context.children)


class Resuming(Parent):
    supervision = Supervision(directive="resume")


class Stopping(Parent):
    supervision = Supervision(directive="stop")


class Patient(Parent):
    supervision = Supervision(intensity=4, within_s=60, backoff_first_s=1, backoff_longest_s=3)


def judge(error: BaseException) -> Any:
    deciding.append(str(error))
    if str(error) == "crash":
        raise RuntimeError("in the decider")
    return {"resume": "resume", "stop": "stop", "restart": "restart"}.get(str(error), "whatever")


class Judging(Parent):
    supervision = Supervision(directive=judge)


async def fail(child: Child, text: str = "x") -> None:
    with pytest.raises(RemoteError, match=text):
        await child.fail(text)


@in_virtual_time()
async def test_a_root_actor_goes_on_with_its_state(node: Node) -> None:
    root = node.actor(Child, "root")
    await root.add(2)
    await fail(root)
    assert await root.add(1) == 3
    assert lives == ["start"]


@in_virtual_time()
async def test_resume_keeps_the_state(node: Node) -> None:
    child = await node.actor(Resuming, "a").spawn()
    await child.add(2)
    await fail(child)
    assert await child.add(1) == 3


@in_virtual_time()
async def test_restart_makes_a_new_instance_and_keeps_what_waits(node: Node) -> None:
    child = await node.actor(Parent, "a").spawn()
    await child.add(2)
    failing = asyncio.ensure_future(child.fail("x", 1))
    await asyncio.sleep(0)
    waiting = [asyncio.ensure_future(child.add(n)) for n in (1, 2)]
    with pytest.raises(RemoteError):
        await failing
    assert await asyncio.gather(*waiting) == [1, 3]
    assert lives == ["start", "start"]
    assert node.statistics()["restarts"] == 1


@in_virtual_time()
async def test_stop_ends_the_child_and_refuses_what_waits(node: Node) -> None:
    parent = node.actor(Stopping, "a")
    child = await parent.spawn()
    failing = asyncio.ensure_future(child.fail("x", 1))
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(child.add(1))
    await tell(child.add, 5)
    with pytest.raises(RemoteError):
        await failing
    with pytest.raises(ActorStoppedError, match="stopped after ValueError: x"):
        await waiting
    with pytest.raises(ActorStoppedError):
        await child.add(1)
    assert lives == ["start", "stop"]
    assert await parent.children() == []
    assert check_books(node)["dead_lettered"] == 1


@in_virtual_time()
async def test_restarts_back_off_and_then_stop(node: Node) -> None:
    """At once, after 1 s, 2 s, 3 s (the longest); the fifth failure within 60 s is one too many."""
    loop = asyncio.get_running_loop()
    parent = node.actor(Patient, "a")
    child, waits = await parent.spawn(), []
    for _ in range(4):
        await fail(child)
        start_s = loop.time()
        assert await child.add(1) == 1
        waits.append(loop.time() - start_s)
    assert waits == pytest.approx([0, 1, 2, 3], abs=0.01)
    await fail(child)
    with pytest.raises(ActorStoppedError):
        await child.add(1)
    assert await parent.children() == []


@in_virtual_time()
async def test_restarts_outside_the_window_are_forgotten(node: Node) -> None:
    child = await node.actor(Patient, "a").spawn()
    for _ in range(12):
        await fail(child)
        await asyncio.sleep(15.1)
        assert await child.add(1) == 1


@in_virtual_time()
async def test_the_window_slides_exactly(node: Node) -> None:
    child = await node.actor(Patient, "a").spawn()
    start_s = asyncio.get_running_loop().time()
    for at_s in (0, 10, 20, 30):
        await asyncio.sleep(start_s + at_s - asyncio.get_running_loop().time())
        await fail(child)
    await asyncio.sleep(start_s + 60 - asyncio.get_running_loop().time())
    await fail(child)
    assert await options(child, timeout_s=5).add(1) == 1, "the first one is out of the window"
    await fail(child)
    with pytest.raises(ActorStoppedError):
        await child.add(1)


@in_virtual_time()
async def test_a_decider_chooses_for_each_error(node: Node) -> None:
    parent = node.actor(Judging, "a")
    child = await parent.spawn()
    await child.add(1)
    await fail(child, "resume")
    assert await child.add(1) == 2
    await fail(child, "restart")
    assert await child.add(1) == 1
    await fail(child, "stop")
    with pytest.raises(ActorStoppedError):
        await child.add(1)
    assert deciding == ["resume", "restart", "stop"]


@pytest.mark.parametrize("text", ["crash", "nonsense"])
def test_a_decider_that_raises_or_says_nonsense_means_restart(text: str) -> None:
    @in_virtual_time()
    async def body(node: Node) -> None:
        child = await node.actor(Judging, "a").spawn()
        await child.add(1)
        await fail(child, text)
        assert await child.add(1) == 1

    body(codec=False)
    body(codec=True)


@in_virtual_time()
async def test_a_typed_error_is_an_answer_and_no_failure(node: Node) -> None:
    child = await node.actor(Stopping, "a").spawn()
    await child.add(1)
    with pytest.raises(RequestTimeoutError, match="a typed answer"):
        await child.refuse()
    assert await child.add(1) == 2


class Mourner(Actor):
    log: list[str] = []  # noqa: RUF012
    cleaning_s: float = 0.0

    async def on_failure(self, error: BaseException) -> None:
        lives.append(f"failure {error}")
        await asyncio.sleep(self.cleaning_s)
        if str(error) == "twice":
            raise RuntimeError("in the hook")

    async def on_stop(self) -> None:
        lives.append("stop")

    async def clean_for(self, time_s: float) -> None:
        self.cleaning_s = time_s

    async def fail(self, text: str) -> None:
        raise ValueError(text)

    async def hello(self) -> str:
        return "hello"


class Mourned(Actor):
    supervision = Supervision(directive=judge, backoff_first_s=0.01)

    async def spawn(self) -> Mourner:
        return self.context.spawn(Mourner, "one")

    async def stop_it(self, ref: Mourner) -> None:
        await self.context.stop(ref)


@pytest.mark.parametrize("cleaning_s", [0, 1])
def test_on_failure_runs_once_before_a_restart_or_a_stop(cleaning_s: float) -> None:
    @in_virtual_time()
    async def body(node: Node) -> None:
        lives.clear()
        deciding.clear()
        child: Any = await node.actor(Mourned, "a").spawn()
        for text in ("resume", "restart", "twice", "stop"):
            await child.clean_for(cleaning_s)
            await fail(child, text)
            waiting = asyncio.ensure_future(child.hello())
            if text == "stop":
                with pytest.raises(ActorStoppedError):
                    await waiting
            else:
                assert await waiting == "hello"
        assert lives == ["failure restart", "failure twice", "failure stop", "stop"]
        assert deciding == ["resume", "restart", "twice", "stop"], "asked once for each"

    body(codec=False)
    body(codec=True)


@in_virtual_time()
async def test_a_child_stopped_while_on_failure_runs_ends(node: Node) -> None:
    parent = node.actor(Mourned, "a")
    child: Any = await parent.spawn()
    await child.clean_for(1)
    await fail(child, "restart")
    await parent.stop_it(child)
    with pytest.raises(ActorStoppedError):
        await child.hello()
    assert lives == ["failure restart", "stop"]
    await settled(node)


class Fragile(Actor):
    async def on_start(self) -> None:
        lives.append("try")
        if len(lives) < 3:
            raise OSError("not yet")

    async def hello(self) -> str:
        return "hello"


class Insisting(Actor):
    supervision = Supervision(intensity=1, backoff_first_s=0.1, beyond="stop")

    async def spawn(self) -> Fragile:
        return self.context.spawn(Fragile, "one")


class Trusting(Insisting):
    supervision = Supervision(intensity=5, backoff_first_s=0.1)


@in_virtual_time()
async def test_a_child_that_cannot_start_is_restarted_by_the_same_rules(node: Node) -> None:
    child = await node.actor(Trusting, "a").spawn()
    assert await child.hello() == "hello"
    assert lives == ["try"] * 3
    lives.clear()
    child = await node.actor(Insisting, "b").spawn()
    with pytest.raises(ActorStoppedError, match=r"more than 1 times.*not yet"):
        await child.hello()
    assert lives == ["try"] * 2
