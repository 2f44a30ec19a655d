"""Pools: interchangeable actors, chosen in turn, by open requests, or by weight."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from embedded import in_virtual_time, settled

from denoagents import Actor, Node, options, tell
from denoagents.errors import ArgumentsError, NoWorkerError, RequestTimeoutError, UsageError
from denoagents.node.pools import Pool


class Worker(Actor):
    count: int = 0

    async def who(self, time_s: float = 0) -> str:
        self.count += 1
        if time_s:
            await asyncio.sleep(time_s)
        return self.context.address.rpartition("#")[2]

    async def stream(self, n: int) -> AsyncIterator[str]:
        for _ in range(n):
            await asyncio.sleep(1)
            yield self.context.address.rpartition("#")[2]

    async def use_pool(self) -> str:
        return await self.context.pool(Worker, "inner", size=2).who()


def open_requests(node: Node) -> int:
    return sum(pool["open"] for pool in node.statistics()["pools"])


@in_virtual_time()
async def test_round_robin_takes_turns(node: Node) -> None:
    pool = node.pool(Worker, "p", size=3)
    found = [await pool.who() for _ in range(9)]
    assert sorted(found[:3]) == ["0", "1", "2"]
    assert found == found[:3] * 3


@in_virtual_time()
async def test_tells_and_streams_take_turns_too(node: Node) -> None:
    pool = node.pool(Worker, "p", size=2)
    for _ in range(4):
        await tell(pool.who)
    await settled(node)
    assert {await pool.who(), await pool.who()} == {"0", "1"}
    first = [x async for x in pool.stream(2)]
    second = [x async for x in pool.stream(2)]
    assert {*first, *second} == {"0", "1"}
    assert first == first[:1] * 2
    assert open_requests(node) == 0


@in_virtual_time()
async def test_least_connections_avoids_the_busy(node: Node) -> None:
    pool = node.pool(Worker, "p", strategy="least_connections", size=3)
    slow = [asyncio.ensure_future(pool.who(10)) for _ in range(2)]
    await asyncio.sleep(0)
    assert open_requests(node) == 2
    busy = {await pool.who() for _ in range(10)}
    assert len(busy) == 1
    assert {*await asyncio.gather(*slow), *busy} == {"0", "1", "2"}
    assert open_requests(node) == 0


@in_virtual_time()
async def test_every_end_of_a_request_is_counted(node: Node) -> None:
    pool: Any = node.pool(Worker, "p", strategy="least_connections", size=2)
    with pytest.raises(RequestTimeoutError):
        await options(pool, timeout_s=1).who(5)
    with pytest.raises(ArgumentsError):
        await pool.who(1, 2, 3)
    task = asyncio.ensure_future(pool.who(5))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait([task])
    async for _ in pool.stream(5):
        break
    await settled(node)
    assert open_requests(node) == 0


@in_virtual_time()
async def test_options_of_the_pool_apply_to_its_members(node: Node) -> None:
    pool = options(node.pool(Worker, "p", size=2), timeout_s=1)
    with pytest.raises(RequestTimeoutError):
        await pool.who(5)
    assert await pool.who(0.5) in {"0", "1"}


@in_virtual_time()
async def test_an_actor_may_use_a_pool(node: Node) -> None:
    assert await node.actor(Worker, "a").use_pool() in {"0", "1"}


@in_virtual_time()
async def test_a_pool_is_asked_for_with_one_shape(node: Node) -> None:
    node.pool(Worker, "p", size=2)
    with pytest.raises(UsageError, match="exists"):
        node.pool(Worker, "p", size=3)
    with pytest.raises(UsageError):
        node.pool(Worker, "q", size=0)
    with pytest.raises(UsageError, match="strategy"):
        node.pool(Worker, "r", strategy="fastest")  # type: ignore[arg-type]


class Request:
    def __init__(self) -> None:
        self.member: Any = None

    def count_for(self, member: Any) -> None:
        self.member = member


def pool_of(
    node: Node, weights: dict[str, float], strategy: Any = "weighted", size: int = 1
) -> Pool:
    refs = node._refs

    def make_ref(worker: str, number: int) -> Any:
        return refs.ref(Worker, f"Worker/~p@{worker}#{number}")

    return Pool(
        "p",
        size,
        strategy,
        workers=lambda: dict(weights),
        make_ref=make_ref,
        chance=random.Random(1),
    )


def shares(pool: Pool, ref: Any, count: int) -> dict[str, int]:
    found: Counter[str] = Counter()
    for _ in range(count):
        chosen: Any = pool.choose(ref, None)
        found[chosen.address.partition("@")[2][0]] += 1
    return dict(found)


@in_virtual_time(codec=(False,))
async def test_weights_are_kept_exactly_and_smoothly(node: Node) -> None:
    ref, weights = node.actor(Worker, "any"), {"a": 5.0, "b": 1.0, "c": 1.0}
    pool = pool_of(node, weights)
    assert shares(pool, ref, 700) == {"a": 500, "b": 100, "c": 100}
    chosen: Any = [pool.choose(ref, None) for _ in range(7)]
    order = "".join(one.address[-3] for one in chosen)
    assert sorted(order) == sorted("aaaaabc")
    assert "aaaa" not in order, "smooth: the heavy one does not come in one run"
    weights = {"a": 0.0, "b": 1.0}
    pool = pool_of(node, weights)
    assert shares(pool, ref, 10) == {"b": 10}
    with pytest.raises(NoWorkerError, match="weights"):
        pool_of(node, {"a": 0.0}).choose(ref, None)


@in_virtual_time(codec=(False,))
async def test_workers_come_and_go(node: Node) -> None:
    ref, weights = node.actor(Worker, "any"), {"a": 1.0}
    pool = pool_of(node, weights, "round_robin", 2)
    assert shares(pool, ref, 4) == {"a": 4}
    weights["b"] = 1.0
    assert shares(pool, ref, 8) == {"a": 4, "b": 4}
    del weights["a"]
    assert shares(pool, ref, 4) == {"b": 4}
    weights.clear()
    with pytest.raises(NoWorkerError):
        pool.choose(ref, None)


@in_virtual_time(codec=(False,))
async def test_least_connections_counts_this_nodes_open_requests(node: Node) -> None:
    ref = node.actor(Worker, "any")
    pool = pool_of(node, {"a": 1.0, "b": 1.0}, "least_connections")
    requests = [Request() for _ in range(10)]
    for request in requests:
        pool.choose(ref, request)
    assert [member.open_requests for member in pool.members] == [5, 5]
    for request in requests:
        if request.member.worker == "a":
            request.member.finished()
    assert shares(pool, ref, 3) == {"a": 3}
