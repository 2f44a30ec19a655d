"""Passivation: idle actors give up their instances, and come back with their declared state."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from embedded import check_books, in_virtual_time, settled

from denoagents import Actor, Node, tell
from denoagents.errors import ActorStoppedError, EncodingError

events: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    events.clear()


class Counter(Actor):
    total: int = 0
    names: list[str] = []  # noqa: RUF012 - copied for each actor
    cache = 0

    async def add(self, n: int) -> int:
        self.total += n
        self.names.append(str(n))
        self.cache += 1
        return self.total

    async def look(self) -> tuple[int, list[str], int]:
        return self.total, self.names, self.cache

    async def nap(self, time_s: float) -> None:
        await asyncio.sleep(time_s)


def has_instance(node: Node, address: str) -> bool:
    cell = node.runtime.cells.get(address)
    return cell is not None and cell.instance is not None


@in_virtual_time(passivate_after_s=10)
async def test_an_idle_actor_is_passivated_and_keeps_its_declared_state(node: Node) -> None:
    ref = node.actor(Counter, "a")
    await ref.add(2)
    await ref.add(3)
    await asyncio.sleep(9)
    assert has_instance(node, "Counter/a")
    await asyncio.sleep(3)
    assert not has_instance(node, "Counter/a")
    assert node.statistics()["passivated"] == 1
    assert await ref.look() == (5, ["2", "3"], 0), "what is not declared is a cache"
    assert node.statistics()["passivated"] == 0
    assert await ref.add(1) == 6


@in_virtual_time(passivate_after_s=10)
async def test_an_actor_in_use_stays(node: Node) -> None:
    ref = node.actor(Counter, "a")
    for _ in range(30):
        await ref.add(1)
        await asyncio.sleep(3)
    nap = asyncio.ensure_future(ref.nap(25))
    await asyncio.sleep(24)
    assert node.statistics()["passivations"] == 0
    await nap


@in_virtual_time(passivate_after_s=1)
async def test_many_actors_are_passivated_in_slices(node: Node) -> None:
    await asyncio.gather(*(node.actor(Counter, str(n)).add(n) for n in range(3000)))
    await asyncio.sleep(20)
    assert node.statistics()["passivated"] == 3000
    assert not node.runtime.cells
    assert await node.actor(Counter, "1234").look() == (1234, ["1234"], 0)


@in_virtual_time(passivate_after_s=1, passivated_bytes=100)
async def test_the_states_that_are_kept_are_bounded(node: Node) -> None:
    for n in range(50):
        await node.actor(Counter, str(n)).add(n)
    await asyncio.sleep(10)
    kept = node.statistics()["passivated"]
    assert 1 <= kept < 10
    assert len(node.runtime.cells) == 50 - kept
    for n in range(50):
        assert (await node.actor(Counter, str(n)).look())[:2] == (n, [str(n)])


class Plain(Actor):
    async def hello(self) -> str:
        return "hello"


@in_virtual_time(passivate_after_s=1)
async def test_an_actor_without_state_leaves_nothing_behind(node: Node) -> None:
    assert await node.actor(Plain, "a").hello() == "hello"
    await asyncio.sleep(5)
    assert node.statistics()["passivated"] == 0
    assert not node.runtime.cells
    assert await node.actor(Plain, "a").hello() == "hello"


class Tidy(Actor):
    total: int = 0
    pause_s: float = 0.0

    async def on_start(self) -> None:
        events.append(f"start {self.total}")

    async def on_passivate(self) -> None:
        events.append("passivate")
        await asyncio.sleep(self.pause_s)
        self.total += 100
        if self.total > 1000:
            raise ValueError("in the hook")

    async def add(self, n: int, pause_s: float = 0.0) -> int:
        self.total += n
        self.pause_s = pause_s
        return self.total


@in_virtual_time(passivate_after_s=5)
async def test_on_passivate_runs_before_the_state_is_taken(node: Node) -> None:
    ref = node.actor(Tidy, "a")
    await ref.add(1)
    await asyncio.sleep(8)
    assert await ref.add(1) == 102
    assert events == ["start 0", "passivate", "start 101"]


@in_virtual_time(passivate_after_s=5)
async def test_a_message_that_comes_while_on_passivate_runs_keeps_the_actor(node: Node) -> None:
    ref = node.actor(Tidy, "a")
    await ref.add(1, 3.0)
    await asyncio.sleep(7)
    assert events == ["start 0", "passivate"]
    assert await ref.add(1) == 102
    assert events == ["start 0", "passivate"]
    await asyncio.sleep(10)
    assert events == ["start 0", "passivate", "passivate"]


@in_virtual_time(passivate_after_s=5)
async def test_an_on_passivate_that_raises_loses_no_state(node: Node) -> None:
    ref = node.actor(Tidy, "a")
    await ref.add(2000)
    await asyncio.sleep(8)
    assert await ref.add(0) == 2100


class Unkeepable(Actor):
    thing: Any = None

    async def keep(self, what: str) -> None:
        self.thing = object() if what == "object" else what

    async def look(self) -> str:
        return type(self.thing).__name__


@in_virtual_time(passivate_after_s=5)
async def test_an_actor_whose_state_cannot_be_kept_stays(node: Node) -> None:
    ref = node.actor(Unkeepable, "a")
    await ref.keep("object")
    await asyncio.sleep(30)
    assert await ref.look() == "object"
    await ref.keep("text")
    await asyncio.sleep(10)
    assert node.statistics()["passivated"] == 1
    assert await ref.look() == "str"


class Picky(Actor):
    total: int = 0

    async def on_start(self) -> None:
        if events and events[-1] == "refuse":
            raise OSError("not today")

    async def add(self, n: int) -> int:
        self.total += n
        return self.total


@in_virtual_time(passivate_after_s=5)
async def test_a_start_that_fails_loses_no_state(node: Node) -> None:
    ref = node.actor(Picky, "a")
    await ref.add(7)
    await asyncio.sleep(10)
    events.append("refuse")
    for _ in range(2):
        with pytest.raises(ActorStoppedError, match="not today"):
            await ref.add(1)
    events.append("welcome")
    assert await ref.add(1) == 8


@in_virtual_time(passivate_after_s=5)
async def test_a_state_that_cannot_be_read_is_kept_and_told(node: Node) -> None:
    ref = node.actor(Picky, "a")
    await ref.add(7)
    await asyncio.sleep(10)
    passivated = node.runtime.guardian.passivation
    good = passivated.states["Picky/a"]
    passivated.keep("Picky/a", b"\x81\xa5total\xa3bad")
    with pytest.raises(ActorStoppedError, match=r"could not start: EncodingError.*total") as caught:
        await ref.add(1)
    assert isinstance(caught.value.__cause__, EncodingError)
    passivated.keep("Picky/a", good)
    assert await ref.add(1) == 8


class Family(Actor):
    async def spawn(self) -> None:
        self.context.spawn(Counter, "one")


@in_virtual_time(passivate_after_s=5)
async def test_an_actor_with_children_stays_and_so_do_they(node: Node) -> None:
    await node.actor(Family, "a").spawn()
    assert await node.ask("Family/a/one", "add", 2) == 2
    await asyncio.sleep(60)
    assert await node.ask("Family/a/one", "add", 1) == 3


@in_virtual_time(passivate_after_s=5)
async def test_keys_that_never_started_leave_no_cells_behind(node: Node) -> None:
    await node.actor(Picky, "x").add(1)
    events.append("refuse")
    for n in range(20):
        with pytest.raises(ActorStoppedError):
            await node.actor(Picky, str(n)).add(1)
        await tell(node.actor(Picky, f"told {n}").add, 1)
    await settled(node)
    await asyncio.sleep(1)
    assert set(node.runtime.cells) == {"Picky/x"}
    books = check_books(node)
    assert (books["refused"], books["dead_lettered"]) == (20, 20)
