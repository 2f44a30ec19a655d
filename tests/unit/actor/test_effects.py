"""Effects: the intent is kept before they run; a repeat gets the result, or reconciles."""

from __future__ import annotations

import asyncio

import pytest
from unit.actor.test_durable import with_store

from denoagents import RUN_AGAIN, Actor, durable, effect, effect_token
from denoagents.errors import OutcomeUnknownError

done: list[tuple[str, int]] = []
found: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    done.clear()
    found.clear()


async def look(cents: int) -> str:
    found.append(effect_token().key)
    return f"found {cents}" if cents < 100 else RUN_AGAIN


@effect(reconcile=look)
async def charge(cents: int) -> str:
    done.append((effect_token().key, effect_token().fence))
    await asyncio.sleep(1)
    return f"charged {cents}"


@effect
async def blind(cents: int) -> str:
    await asyncio.sleep(1)
    return f"blind {cents}"


@durable
class Shop(Actor):
    sold: list[str] = []  # noqa: RUF012 - each actor gets a copy

    async def sell(self, cents: int, pause_s: float = 0.0) -> str:
        self.sold.append(await charge(cents))
        await asyncio.sleep(pause_s)
        self.sold.append(await charge(cents + 1))
        return self.sold[-1]

    async def sell_blindly(self) -> str:
        return await blind(1)

    async def all(self) -> list[str]:
        return self.sold


def test_an_effect_runs_with_a_token_and_its_row_goes_with_the_turn():
    async def body(make, store):
        async with make() as node:
            assert await node.actor(Shop, "a").sell(5) == "charged 6"
            assert len({key for key, _ in done}) == 2
            assert {fence for _, fence in done} == {1}
            assert not store._entries["Shop/a"].effects

    with_store(body)


def test_a_repeat_returns_what_is_recorded_and_reconciles_what_was_interrupted():
    async def body(make, store):
        async with make() as node:
            asking = asyncio.ensure_future(node.actor(Shop, "a").sell(5))
            await asyncio.sleep(1.5)  # the first has ended, the second runs
            rows = dict(store._entries["Shop/a"].effects)
            asking.cancel()
            await asyncio.sleep(0)
            assert [row.result is None for row in rows.values()] == [False, True]
        # the same message comes again, to a new owner
        async with make() as node:
            ref = node.actor(Shop, "a")
            stream, number, _ = next(iter(rows))
            node.router.stream = type(node.router.stream)(node.router, stream, number - 1)
            assert await ref.sell(5) == "found 6"
            assert (len(done), len(found)) == (2, 1)
            assert found[0] == done[1][0]
            assert await ref.all() == ["charged 5", "found 6"]
            assert not store._entries["Shop/a"].effects

    with_store(body)


def test_a_hook_may_say_that_it_did_not_happen():
    async def body(make, store):
        async with make() as node:
            asking = asyncio.ensure_future(node.actor(Shop, "a").sell(500))
            await asyncio.sleep(0.5)
            rows = dict(store._entries["Shop/a"].effects)
            asking.cancel()
        async with make() as node:
            stream, number, _ = next(iter(rows))
            node.router.stream = type(node.router.stream)(node.router, stream, number - 1)
            assert await node.actor(Shop, "a").sell(500) == "charged 501"
            assert [key for key, _ in done].count(done[0][0]) == 2

    with_store(body)


def test_without_a_hook_the_turn_hears_that_nobody_knows():
    async def body(make, store):
        async with make() as node:
            asking = asyncio.ensure_future(node.actor(Shop, "a").sell_blindly())
            await asyncio.sleep(0.5)
            rows = dict(store._entries["Shop/a"].effects)
            asking.cancel()
        async with make() as node:
            stream, number, _ = next(iter(rows))
            node.router.stream = type(node.router.stream)(node.router, stream, number - 1)
            with pytest.raises(OutcomeUnknownError, match="reconcile"):
                await node.actor(Shop, "a").sell_blindly()

    with_store(body)


def test_outside_of_durable_turns_it_is_the_function():
    async def body(make, store):
        assert await blind(3) == "blind 3"

    with_store(body)
