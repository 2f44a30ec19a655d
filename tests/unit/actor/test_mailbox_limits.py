"""Full mailboxes: senders wait, then hear `Overloaded`; memory is bounded, and given back."""

from __future__ import annotations

import asyncio

import pytest
from embedded import check_books, in_virtual_time, settled

from denoagents import Actor, Node, Overloaded, options, tell
from denoagents._native.envelope import Envelope
from denoagents._native.mailbox import Mailbox


class Sink(Actor):
    count: int = 0

    async def take(self, n: int = 0) -> int:
        del n
        self.count += 1
        return self.count

    async def hold(self, time_s: float) -> None:
        await asyncio.sleep(time_s)


async def held(node: Node, time_s: float = 10) -> tuple[Sink, asyncio.Future[None]]:
    sink = node.actor(Sink, "a")
    holding = asyncio.ensure_future(sink.hold(time_s))
    await asyncio.sleep(0)
    return sink, holding


@in_virtual_time(mailbox_limit=10, mailbox_reserve=20)
async def test_a_sender_to_a_full_mailbox_waits_until_it_is_half_empty(node: Node) -> None:
    sink, holding = await held(node)
    for _ in range(10):
        await tell(sink.take)
    waiting = asyncio.ensure_future(tell(sink.take))
    await asyncio.sleep(9)
    assert not waiting.done()
    await holding
    await asyncio.sleep(0.01)
    assert waiting.done()
    assert await sink.take() == 12


@in_virtual_time(mailbox_limit=10, mailbox_reserve=20)
async def test_beyond_the_reserve_a_tell_raises_overloaded(node: Node) -> None:
    sink, holding = await held(node)
    for _ in range(20):
        tell(sink.take)
    with pytest.raises(Overloaded) as caught:
        tell(sink.take)
    assert caught.value.retry_after_s > 0
    assert node.runtime.books.sender()["refused"] == 1
    check_books(node, is_quiet=False)
    await holding
    await settled(node)
    assert await sink.take() == 21


@in_virtual_time(mailbox_limit=10, mailbox_reserve=20)
async def test_beyond_the_reserve_an_ask_is_refused(node: Node) -> None:
    sink, holding = await held(node)
    asks = [asyncio.ensure_future(sink.take()) for _ in range(25)]
    found = await asyncio.gather(*asks, return_exceptions=True)
    await holding
    refused = [one for one in found if isinstance(one, Overloaded)]
    assert len(refused) == check_books(node)["refused"] == 5
    assert sorted(one for one in found if isinstance(one, int)) == list(range(1, 21))


@in_virtual_time(mailbox_limit=10, mailbox_reserve=20)
async def test_cancelled_messages_make_room_at_once(node: Node) -> None:
    sink, holding = await held(node)
    asks = [asyncio.ensure_future(sink.take()) for _ in range(20)]
    await asyncio.sleep(0)
    for ask in asks:
        ask.cancel()
    await asyncio.wait(asks)
    async with asyncio.timeout(1):
        await tell(sink.take)
    await holding
    await settled(node)
    assert check_books(node)["cancelled"] == 20


@in_virtual_time(mailbox_limit=10, mailbox_reserve=20)
async def test_a_sender_that_waits_goes_on_when_the_messages_before_it_are_cancelled(
    node: Node,
) -> None:
    sink, holding = await held(node)
    asks = [asyncio.ensure_future(sink.take()) for _ in range(15)]
    await asyncio.sleep(0)
    sender = asyncio.ensure_future(tell(sink.take))
    await asyncio.sleep(0.1)
    assert not sender.done()
    for ask in asks:
        ask.cancel()
    await asyncio.sleep(0.1)
    assert sender.done()
    await holding


@in_virtual_time(mailbox_limit=10, mailbox_reserve=20)
async def test_a_sender_that_waits_goes_on_when_the_actor_stops(node: Node) -> None:
    sink, holding = await held(node, 1)
    for _ in range(11):
        tell(sink.take)
    sender = asyncio.ensure_future(tell(sink.take))
    await asyncio.sleep(0)
    node.runtime.guardian.stop_after_turn(node.runtime.cells["Sink/a"])
    await holding
    await asyncio.sleep(0.1)
    assert sender.done()
    assert check_books(node)["dead_lettered"] == 12


@in_virtual_time(codec=(False,))
async def test_expired_messages_are_not_run_and_give_their_room_back(node: Node) -> None:
    sink, holding = await held(node)
    asks = [asyncio.ensure_future(options(sink, timeout_s=1).take()) for _ in range(200)]
    found = await asyncio.gather(*asks, return_exceptions=True)
    assert {type(one).__name__ for one in found} == {"ExpiredError"}
    mailbox = node.runtime.cells["Sink/a"].mailbox
    assert mailbox is not None
    assert (mailbox.waiting, mailbox.held <= 64) == (0, True)
    assert check_books(node, is_quiet=False)["expired"] == 200
    await holding


@in_virtual_time(passivate_after_s=1000)
async def test_the_memory_of_an_empty_mailbox_is_given_back(node: Node) -> None:
    sink, holding = await held(node, 1)
    tell(sink.take)
    await holding
    await settled(node)
    await asyncio.sleep(3)
    assert node.runtime.cells["Sink/a"].mailbox is None


def test_a_mailbox_of_a_million_messages_can_be_dropped() -> None:
    """Nothing in it hangs on another, so that no chain of a million is freed on the C stack."""
    mailbox = Mailbox()
    for n in range(1_000_000):
        mailbox.put(Envelope(None, (n,), None, 0, n % 3))
    assert len(mailbox) == 1_000_000
    del mailbox
    mailbox = Mailbox()
    for _ in range(1_000_000):
        mailbox.put(Envelope(None, (), None))
    assert len(mailbox.drain()) == 1_000_000


@in_virtual_time(codec=(False,), mailbox_limit=10**7, mailbox_reserve=10**7)
async def test_a_node_closes_with_many_messages_waiting(node: Node) -> None:
    sink, holding = await held(node, 1)
    for _ in range(200_000):
        tell(sink.take)
    node.runtime.guardian.stop_after_turn(node.runtime.cells["Sink/a"])
    await holding
    await settled(node)
    assert check_books(node)["dead_lettered"] == 200_000
