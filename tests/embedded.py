"""An embedded node in virtual time; each test ends with exact books, and leaves no task."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from denoagents import Node
from denoagents._native.clock import Clock
from denoagents._native.pulse import Watch
from denoagents.actor.settings import ActorSettings
from denoagents.node.settings import NodeSettings
from denoagents.testing.loop import run_virtually


class StillPulse:
    """The heartbeat of a node without a broker, and without a thread."""

    lag_ns = lease_address = 0
    is_leaving = False

    def __init__(self) -> None:
        self.watch = Watch()

    def start(self, endpoint: str | None, incarnation: int) -> None: ...

    def tick(self) -> int:
        return 0

    def stop(self) -> None: ...


def embedded(clock: Clock | None = None, **actor: Any) -> Node:
    """A node that is not started yet; `actor` are fields of `ActorSettings`."""
    settings = NodeSettings(actor=ActorSettings(**actor))
    return Node(settings=settings, clock=clock, pulse=StillPulse())


def check_books(node: Node, *, is_quiet: bool = True) -> dict[str, int]:
    """The identities of the accounting hold; what was counted at the receiver."""
    sender, receiver = node.runtime.books.sender(), node.runtime.books.receiver()
    assert sender["off"] == 0, sender
    assert receiver["off"] == 0, receiver
    assert min(*sender.values(), *receiver.values()) >= 0, (sender, receiver)
    if is_quiet:
        assert receiver["waiting"] == receiver["running"] == sender["retained"] == 0, receiver
        assert sender["sent"] == receiver["accepted"] + sender["refused"]
    return receiver


def virtually(body: Callable[[Node], Awaitable[None]], **actor: Any) -> None:
    """Run `body(node)` in virtual time; afterwards nothing waits, runs or is left."""

    async def main(clock: Clock) -> None:
        before = asyncio.all_tasks()
        async with embedded(clock, **actor) as node:
            await body(node)
            await settled(node)
            check_books(node)
        check_books(node)
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - before
        assert not left, left

    run_virtually(main)


async def settled(node: Node, within_s: float = 100.0) -> None:
    """Returns when no message waits or runs."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + within_s
    books = node.runtime.books
    while books.waiting or books.running:
        assert loop.time() < end_s, f"{books.waiting} wait, {books.running} run"
        await asyncio.sleep(0.001)


def in_virtual_time(
    *, codec: tuple[bool, ...] = (False, True), **actor: Any
) -> Callable[[Callable[[Node], Awaitable[None]]], Callable[..., None]]:
    """Make a test of `async def test(node)`; it runs by reference, and through the codec."""

    def decorate(body: Callable[[Node], Awaitable[None]]) -> Callable[..., None]:
        def test(codec: bool) -> None:
            virtually(body, check_local_calls=codec, **actor)

        test.__name__, test.__doc__, test.__module__ = body.__name__, body.__doc__, body.__module__
        ids = ["through the codec" if one else "by reference" for one in codec]
        marked: Callable[..., None] = pytest.mark.parametrize("codec", codec, ids=ids)(test)
        return marked

    return decorate


def garbage() -> int:
    """How many objects only the cycle collector can free now."""
    return gc.collect()
