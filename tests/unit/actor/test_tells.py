"""Tells: sent at the call, in order, and never lost silently."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from embedded import check_books, in_virtual_time, settled

from denoagents import Actor, Node, options, tell
from denoagents.errors import ArgumentsError, UnknownMethodError


class Log(Actor):
    lines: list[str] = []  # noqa: RUF012 - copied for each actor

    async def write(self, line: str, *, loud: bool = False) -> None:
        self.lines.append(line.upper() if loud else line)

    async def read(self) -> list[str]:
        return self.lines

    async def fail(self) -> None:
        raise ValueError("nobody hears me")

    async def stream(self) -> Any:
        yield 1

    async def tell_yourself(self, n: int) -> None:
        me = self.context.me(Log)
        if n:
            await tell(me.tell_yourself, n - 1)
            await tell(me.write, str(n))


@in_virtual_time()
async def test_a_tell_is_sent_at_the_call(node: Node) -> None:
    log = node.actor(Log, "a")
    tell(log.write, "one")
    await tell(log.write, "two", loud=True)
    assert check_books(node, is_quiet=False)["accepted"] == 2
    assert await log.read() == ["one", "TWO"]


@in_virtual_time()
async def test_tells_and_asks_of_one_sender_arrive_in_order(node: Node) -> None:
    log, names = node.actor(Log, "a"), [str(n) for n in range(50)]
    asks = []
    for n, name in enumerate(names):
        if n % 3:
            tell(log.write, name)
        else:
            asks.append(asyncio.ensure_future(log.write(name)))
            await asyncio.sleep(0)
    await asyncio.gather(*asks)
    assert await log.read() == names


@in_virtual_time()
async def test_priorities_overtake(node: Node) -> None:
    log = node.actor(Log, "a")
    for name, priority in (("c", "low"), ("b", "normal"), ("a", "high"), ("aa", "high")):
        tell(options(log, priority=priority).write, name)
    await settled(node)
    assert await log.read() == ["a", "aa", "b", "c"]


@in_virtual_time()
async def test_an_actor_may_tell_itself(node: Node) -> None:
    log = node.actor(Log, "a")
    await log.tell_yourself(3)
    await settled(node)
    assert await log.read() == ["3", "2", "1"]


@in_virtual_time()
async def test_a_tell_that_fails_disturbs_nobody(node: Node) -> None:
    log = node.actor(Log, "a")
    await tell(log.fail)
    await tell(log.write, "on")
    assert await log.read() == ["on"]
    assert check_books(node)["failed"] == 1


@in_virtual_time()
async def test_what_cannot_be_told_is_said_at_the_call(node: Node) -> None:
    log: Any = node.actor(Log, "a")
    for wrong in ((log.write,), (log.write, 1, 2), (log.stream,), (5,), (log,)):
        with pytest.raises(ArgumentsError):
            tell(*wrong)
    with pytest.raises(UnknownMethodError):
        tell(log.wite, "x")
    assert check_books(node)["accepted"] == 0


@in_virtual_time(codec=(False,))
async def test_what_tell_returns_can_be_awaited_in_any_way(node: Node) -> None:
    log = node.actor(Log, "a")
    waiting = tell(log.write, "a")
    await waiting
    await waiting
    await asyncio.gather(tell(log.write, "b"), tell(log.write, "c"))
    assert await log.read() == ["a", "b", "c"]


@in_virtual_time()
async def test_tells_by_address_need_no_class(node: Node) -> None:
    await node.actor(Log, "a").write("x")
    await node.tell("Log/a", "write", "y", priority="high", loud=True)
    assert await node.ask("Log/a", "read") == ["x", "Y"]


@in_virtual_time(codec=(False,))
async def test_arguments_are_shared_by_reference(node: Node) -> None:
    """As long as both actors are in one process; the codec mode shows who relies on it."""
    log, line = node.actor(Keeper, "a"), ["mutable"]
    await tell(log.keep, line)
    await settled(node)
    line.append("changed")
    assert await log.kept() == ["mutable", "changed"]


@in_virtual_time(codec=(True,))
async def test_arguments_are_copied_by_the_codec(node: Node) -> None:
    log, line = node.actor(Keeper, "a"), ["mutable"]
    await tell(log.keep, line)
    await settled(node)
    line.append("changed")
    assert await log.kept() == ["mutable"]


class Keeper(Actor):
    lines: list[str] = []  # noqa: RUF012

    async def keep(self, lines: list[str]) -> None:
        self.lines = lines

    async def kept(self) -> list[str]:
        return self.lines
