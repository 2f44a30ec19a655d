"""Durable actors: what a turn did is kept before it is answered, or it was not done."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import msgspec
import pytest
from embedded import StillPulse, settled

from denoagents import Actor, Node, tell
from denoagents.actor.durable import durable
from denoagents.durability import Commit
from denoagents.errors import ConfigurationError, DeclarationError, StoreFullError, UsageError
from denoagents.store.memory_state_store import MemoryStateStore
from denoagents.testing.loop import run_virtually


@durable
class Account(Actor):
    cents: int = 0
    log: list[str] = []  # noqa: RUF012 - each actor gets a copy

    async def deposit(self, cents: int) -> int:
        self.cents += cents
        return self.cents

    async def balance(self) -> int:
        return self.cents

    async def fail_after(self, cents: int) -> int:
        self.cents += cents
        self.log.append("half done")
        await asyncio.sleep(0.01)
        raise ValueError("no")

    async def pay(self, to: Account, cents: int) -> None:
        self.cents -= cents
        tell(to.deposit, cents)
        tell(to.deposit, 0)
        if self.cents < 0:
            raise ValueError("not enough")

    async def slow(self) -> None:
        self.cents += 1
        await asyncio.sleep(100)

    async def entries(self):
        self.cents += 1
        yield 1
        await asyncio.sleep(1)
        yield 2
        self.cents += 1


class SlowStore(MemoryStateStore):
    """Takes a second for each commit, or refuses it."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[Commit] = []
        self.wait_s, self.error = 0.0, None

    def commit(self, commit: Commit, mode: str) -> Any:
        return asyncio.ensure_future(self._commit(commit, mode))

    async def _commit(self, commit: Commit, mode: str) -> None:
        await asyncio.sleep(self.wait_s)
        if self.error is not None:
            raise self.error
        self.commits.append(commit)
        await super().commit(commit, mode)


def with_store(body, store=None):
    """Run `body(make)`, whose nodes share one store, in virtual time."""

    async def main(clock) -> None:
        kept = SlowStore() if store is None else store

        def make(**more):
            return Node(clock=clock, pulse=StillPulse(), store=kept, **more)

        await kept.open()
        await body(make, kept)

    run_virtually(main)


def test_state_outlives_the_node():
    async def body(make, store):
        async with make() as node:
            assert await node.actor(Account, "a").deposit(5) == 5
        async with make() as node:
            assert await node.actor(Account, "a").balance() == 5
            assert await node.actor(Account, "b").balance() == 0

    with_store(body)


def test_the_reply_comes_after_the_commit():
    async def body(make, store):
        store.wait_s = 1.0
        async with make() as node:
            asked = asyncio.ensure_future(node.actor(Account, "a").deposit(5))
            await asyncio.sleep(0.9)
            assert not asked.done()
            assert await asked == 5
            assert [one.state for one in store.commits] != []

    with_store(body)


def test_a_turn_that_raises_keeps_nothing_and_sends_nothing():
    async def body(make, store):
        async with make() as node:
            a, b = node.actor(Account, "a"), node.actor(Account, "b")
            await a.deposit(5)
            for failing in (a.fail_after(1), a.pay(b, 6)):
                with pytest.raises(Exception, match=r"no|not enough"):
                    await failing
            assert await a.balance() == 5
            await a.pay(b, 2)
            await settled(node)
            await asyncio.sleep(0.2)
            assert (await a.balance(), await b.balance()) == (3, 2)
        async with make() as node:
            a, b = node.actor(Account, "a"), node.actor(Account, "b")
            assert (await a.balance(), await b.balance()) == (3, 2)

    with_store(body)


def test_a_cancelled_turn_keeps_nothing():
    async def body(make, store):
        async with make() as node:
            a = node.actor(Account, "a")
            await a.deposit(5)
            asked = asyncio.ensure_future(a.slow())
            await asyncio.sleep(0.1)
            asked.cancel()
            assert await a.balance() == 5

    with_store(body)


def test_what_reads_only_writes_nothing():
    async def body(make, store):
        async with make() as node:
            a = node.actor(Account, "a")
            await a.balance()
            assert store.commits == []

    with_store(body)


def test_what_was_told_leaves_after_the_commit_and_is_dropped_when_it_was_handled():
    async def body(make, store):
        async with make() as node:
            a, b = node.actor(Account, "a"), node.actor(Account, "b")
            await a.deposit(5)
            store.wait_s = 1.0
            paying = asyncio.ensure_future(a.pay(b, 2))
            await asyncio.sleep(0.9)
            assert await b.balance() == 0
            await paying
            assert len(store._entries["Account/a"].outgoing) == 2
            await asyncio.sleep(5)
            assert await b.balance() == 2
            assert not store._entries["Account/a"].outgoing

    with_store(body)


def test_unsent_messages_leave_after_a_restart_and_have_one_effect():
    async def body(make, store):
        async with make() as node:
            a, b = node.actor(Account, "a"), node.actor(Account, "b")
            await a.deposit(5)
            await a.pay(b, 2)
            kept = dict(store._entries["Account/a"].outgoing)
            assert len(kept) == 2
            first = kept[1]
            await asyncio.sleep(1)
        store._entries["Account/a"].outgoing = kept  # as if the last write had been lost
        async with make() as node:
            node.actor(Account, "a")
            await asyncio.sleep(1)
            assert not store._entries["Account/a"].outgoing
            assert await node.actor(Account, "b").balance() == 2
        store._entries["Account/a"].outgoing = {9: msgspec.structs.replace(first, number=9)}
        store._entries["Account/a"].sent = 9
        async with make() as node:
            node.actor(Account, "a")
            await asyncio.sleep(1)
            assert await node.actor(Account, "b").balance() == 4

    with_store(body)


def test_a_full_disk_is_told_and_nothing_is_lost():
    async def body(make, store):
        async with make() as node:
            a = node.actor(Account, "a")
            await a.deposit(5)
            store.error = StoreFullError("the disk is full")
            with pytest.raises(StoreFullError):
                await a.deposit(1)
            tell(a.deposit, 10)
            await asyncio.sleep(2)
            store.error = None
            await asyncio.sleep(10)
            assert await a.balance() == 15

    with_store(body)


def test_a_stream_commits_when_it_has_ended():
    async def body(make, store):
        async with make() as node:
            a = node.actor(Account, "a")
            assert [one async for one in a.entries()] == [1, 2]
            assert await a.balance() == 2
            async for _ in a.entries():
                break
            await asyncio.sleep(0.1)
            assert await a.balance() == 2

    with_store(body)


def test_another_node_takes_the_actor_over_and_the_former_writes_nothing():
    async def body(make, store):
        async with make() as old:
            a = old.actor(Account, "a")
            await a.deposit(5)
            async with make() as new:
                assert await new.actor(Account, "a").deposit(1) == 6
                with pytest.raises(Exception, match="fence"):
                    await a.deposit(100)
                assert await new.actor(Account, "a").balance() == 6

    with_store(body)


def test_the_mode_disk_needs_a_store():
    async def main(clock):
        async with Node(clock=clock, pulse=StillPulse()) as node:
            with pytest.raises(ConfigurationError, match=r"store='state\.db'"):
                node.actor(Account, "a")

    run_virtually(main)


def test_the_mode_memory_needs_none():
    @durable(mode="memory")
    class Note(Actor):
        text: str = ""

        async def write(self, text: str) -> str:
            self.text += text
            return self.text

    async def main(clock):
        async with Node(clock=clock, pulse=StillPulse()) as node:
            note = node.actor(Note, "a")
            assert await note.write("a") == "a"
            assert await note.write("b") == "ab"

    run_virtually(main)


def test_what_cannot_be_durable_is_refused():
    with pytest.raises(DeclarationError, match="reentrant"):

        @durable
        class Both(Actor):
            reentrant: ClassVar[bool] = True

    with pytest.raises(DeclarationError, match="migrate"):

        @durable
        class Newer(Actor):
            schema: ClassVar[int] = 2

    with pytest.raises(DeclarationError, match="mode"):

        @durable(mode="paper")
        class Paper(Actor): ...

    with pytest.raises(DeclarationError, match="Actor"):
        durable(int)

    async def body(make, store):
        async with make() as node:
            with pytest.raises(UsageError, match="pool"):
                node.pool(Account)

    with_store(body)
