"""Refs: typed, comparable, sendable; they know nothing but an address."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest
from embedded import garbage, in_virtual_time

from denoagents import Actor, Node, options
from denoagents.errors import UsageError


class Target(Actor):
    async def hello(self) -> str:
        return self.context.address


class Special(Target):
    async def more(self) -> str:
        return "more"


class Holder(Actor):
    target: Target | None = None

    async def keep(self, target: Target) -> Target:
        self.target = target
        return target

    async def call(self) -> str:
        assert self.target is not None
        return await self.target.hello()

    async def calls(self, targets: dict[str, list[Target]]) -> list[str]:
        return [await one.hello() for many in targets.values() for one in many]


@in_virtual_time()
async def test_refs_to_one_actor_are_equal(node: Node) -> None:
    a, b = node.actor(Target, "x"), node.actor(Target, "x")
    assert a == b
    assert hash(a) == hash(b)
    assert a != node.actor(Target, "y")
    assert options(a, timeout_s=1) == a
    assert {a, b, node.actor(Target, "y")} == {b, node.actor(Target, "y")}
    assert repr(a) == "<Ref Target/x>"


@in_virtual_time()
async def test_a_ref_is_an_instance_of_its_class_to_those_who_ask(node: Node) -> None:
    ref: Any = node.actor(Special, "x")
    assert isinstance(ref, Target)
    assert isinstance(ref, Special)
    assert not isinstance(ref, Holder)


@in_virtual_time()
async def test_refs_travel_in_arguments_results_and_state(node: Node) -> None:
    holder, target = node.actor(Holder, "h"), node.actor(Target, "t")
    assert await holder.keep(target) == target
    assert await holder.call() == "Target/t"
    many = {"a": [target, node.actor(Target, "u")], "b": []}
    assert await holder.calls(many) == ["Target/t", "Target/u"]


@in_virtual_time(passivate_after_s=1)
async def test_refs_in_state_survive_passivation(node: Node) -> None:
    holder = node.actor(Holder, "h")
    await holder.keep(node.actor(Target, "t"))
    await asyncio.sleep(5)
    assert not node.runtime.cells
    assert await holder.call() == "Target/t"


@in_virtual_time()
async def test_a_ref_to_a_subclass_keeps_its_methods(node: Node) -> None:
    special = node.actor(Special, "s")
    kept: Any = await node.actor(Holder, "h").keep(special)
    assert await kept.more() == "more"


@in_virtual_time()
async def test_a_ref_can_not_be_pickled(node: Node) -> None:
    with pytest.raises(TypeError, match="send its address"):
        pickle.dumps(node.actor(Target, "x"))


@in_virtual_time()
async def test_keys_are_texts_and_any_text_will_do(node: Node) -> None:
    for key in ("a/b", "ü€😀", "%2F", " ", "x" * 1000):
        address = await node.actor(Target, key).hello()
        assert await node.ask(address, "hello") == address
    for wrong in ("", "~x", 5, None):
        with pytest.raises(UsageError, match="key"):
            node.actor(Target, wrong)  # type: ignore[arg-type]


@in_virtual_time()
async def test_only_actor_classes_have_refs(node: Node) -> None:
    for wrong in (int, Actor, "Target", None):
        with pytest.raises(UsageError):
            node.actor(wrong, "x")  # type: ignore[type-var, arg-type]


@in_virtual_time()
async def test_two_classes_of_one_name_are_refused(node: Node) -> None:
    node.actor(Target, "x")
    other = type("Target", (Actor,), {})
    with pytest.raises(UsageError, match="two actor classes are called Target"):
        node.actor(other, "x")


class Introducing(Actor):
    async def introduce(self) -> str:
        return await self.context.actor(Unheard, "x").hello()


class Unheard(Actor):
    async def hello(self) -> str:
        return "first time"


@in_virtual_time()
async def test_an_embedded_node_hosts_types_that_only_an_actor_names(node: Node) -> None:
    assert await node.actor(Introducing, "a").introduce() == "first time"


class Worker(Actor):
    async def now(self, n: int) -> int:
        return n

    async def later(self, n: int) -> int:
        await asyncio.sleep(0)
        return n

    async def fail(self, waits: bool) -> None:
        if waits:
            await asyncio.sleep(0)
        raise ValueError("x")

    async def ask(self, other: Worker) -> int:
        return await other.later(1)

    async def count_to(self, n: int) -> Any:
        for i in range(n):
            yield i


@pytest.mark.parametrize("what", ["ask", "suspended", "nested", "error", "late error", "stream"])
def test_nothing_is_left_for_the_cycle_collector(what: str) -> None:
    import gc

    @in_virtual_time()
    async def body(node: Node) -> None:
        ref, other = node.actor(Worker, "a"), node.actor(Worker, "b")

        async def one() -> None:
            if what == "ask":
                await ref.now(1)
            elif what == "suspended":
                await asyncio.create_task(ref.later(1))
            elif what == "nested":
                await ref.ask(other)
            elif what == "stream":
                async for _ in ref.count_to(100):
                    pass
            else:
                try:
                    await ref.fail(what == "late error")
                except Exception:
                    return

        await one()
        await asyncio.sleep(0.1)
        gc.collect()
        gc.disable()
        try:
            for _ in range(10):
                await one()
            await asyncio.sleep(0.1)
            assert garbage() == 0
        finally:
            gc.enable()

    body(codec=False)
    body(codec=True)
