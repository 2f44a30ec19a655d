"""What a user writes, as mypy must see it; type-checked, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, assert_type

from denoagents import (
    Actor,
    DenoagentsError,
    Node,
    Overloaded,
    RequestTimeoutError,
    idempotent,
    options,
    tell,
    uninterruptible,
)


@dataclass
class Note:
    text: str
    lines: int = 1


class Counter(Actor):
    total: int = 0

    async def add(self, amount: int, *, twice: bool = False) -> int:
        self.total += amount * (2 if twice else 1)
        return self.total

    @idempotent
    async def read(self) -> int:
        return self.total

    @uninterruptible
    async def keep(self, note: Note) -> None: ...

    async def count_to(self, last: int) -> AsyncIterator[int]:
        for number in range(last):
            yield number


class Clerk(Actor):
    counter: Counter | None = None

    async def ask_on(self, counter: Counter) -> int:
        return await counter.add(1)


async def calls(node: Node) -> None:
    counter = node.actor(Counter, "a")
    assert_type(counter, Counter)
    assert_type(await counter.add(2), int)
    assert_type(await counter.add(2, twice=True), int)
    assert_type(await counter.read(), int)
    assert_type(await node.actor(Clerk, "b").ask_on(counter), int)
    async for number in counter.count_to(3):
        assert_type(number, int)
    await tell(counter.add, 2)
    await tell(counter.keep, Note("x"))
    quick = options(counter, timeout_s=0.5, priority="high")
    assert_type(quick, Counter)
    assert_type(node.pool(Counter), Counter)
    assert_type(await node.ask("Counter/a", "add", 2), Any)


async def mistakes(node: Node) -> None:
    counter = node.actor(Counter, "a")
    await counter.add("2")  # type: ignore[arg-type]
    await counter.ad(2)  # type: ignore[attr-defined]
    await tell(counter.add, "2")  # type: ignore[arg-type]
    options(counter, priority="urgent")  # type: ignore[arg-type]
    counter.add(2)  # type: ignore[unused-coroutine]
    node.actor(Note, "a")  # type: ignore[type-var]


async def life() -> None:
    async with Node() as node:
        assert_type(node, Node)
    async with Node(broker="tcp://127.0.0.1:7400", serve=[Counter]) as worker:
        assert_type(worker.statistics(), dict[str, Any])


def outcome(error: Exception) -> float:
    if isinstance(error, Overloaded):
        assert_type(error.retry_after_s, float)
        return error.retry_after_s
    if isinstance(error, RequestTimeoutError):
        caught: TimeoutError = error
        raise caught
    if isinstance(error, DenoagentsError):
        assert_type(error.code, str)
    return 0.0
