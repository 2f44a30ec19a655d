"""Durable sends from outside of turns: kept before the send returns, handled once."""

from __future__ import annotations

import asyncio

import pytest
from embedded import StillPulse
from unit.actor.test_durable import Account, with_store

from denoagents import Actor, Node, options, tell
from denoagents.errors import ConfigurationError, StoreFullError, UsageError
from denoagents.testing.loop import run_virtually

heard: list[int] = []


class Plain(Actor):
    async def hear(self, number: int) -> None:
        heard.append(number)


def test_a_send_is_kept_before_it_returns_and_dropped_when_it_was_handled():
    async def body(make, store):
        heard.clear()
        store.wait_s = 1.0
        async with make(name="shop") as node:
            ref = options(node.actor(Plain, "a"), durability="os")
            for number in range(3):
                sent = tell(ref.hear, number)
            await asyncio.sleep(0.9)
            assert heard == []
            await sent
            assert len(store._entries["~journal/shop"].outgoing) == 3
            await asyncio.sleep(1)
            assert heard == [0, 1, 2]
            assert not store._entries["~journal/shop"].outgoing

    with_store(body)


def test_the_next_node_of_the_name_sends_what_was_not_handled():
    async def body(make, store):
        async with make(name="shop") as node:
            await tell(options(node.actor(Account, "a"), durability="disk").deposit, 5)
            rows = dict(store._entries["~journal/shop"].outgoing)
            await asyncio.sleep(1)
            assert await node.actor(Account, "a").balance() == 5
        store._entries["~journal/shop"].outgoing = rows  # as if it had been killed before
        async with make(name="other") as node:
            node.actor(Account, "a")
            await asyncio.sleep(1)
            assert store._entries["~journal/shop"].outgoing == rows
        async with make(name="shop") as node:
            await asyncio.sleep(1)  # nobody hosts the type yet
            assert await node.actor(Account, "a").balance() == 5  # it is a repeat
            await asyncio.sleep(1)
            assert not store._entries["~journal/shop"].outgoing

    with_store(body)


def test_a_store_that_keeps_nothing_lets_nothing_leave():
    async def body(make, store):
        heard.clear()
        async with make(name="shop") as node:
            store.error = StoreFullError("full")
            with pytest.raises(StoreFullError):
                await tell(options(node.actor(Plain, "a"), durability="os").hear, 1)
            await asyncio.sleep(1)
            assert heard == []

    with_store(body)


def test_it_needs_a_store_and_a_name():
    async def main(clock):
        async with Node(clock=clock, pulse=StillPulse()) as node:
            ref = node.actor(Plain, "a")
            with pytest.raises(ConfigurationError, match="store="):
                await tell(options(ref, durability="os").hear, 1)
            with pytest.raises(UsageError, match="os or disk"):
                options(ref, durability="paper")

    run_virtually(main)
