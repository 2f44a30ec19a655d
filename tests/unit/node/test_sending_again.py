"""Reliable messages are sent again in their order: each place that keeps it, alone."""

import asyncio
from itertools import chain

import pytest

from denoagents import Actor, Node, options, reliable, tell
from denoagents._native.peer import Peer
from denoagents._native.router import SlotTable
from denoagents.node.handover import Handover

SLOTS = range(4096)
WAITING = []
"""Those who tell, and may have to wait for a way."""


@reliable
class Ledger(Actor):
    """Remembers what it handled."""

    seen: list[int]

    async def on_start(self) -> None:
        self.seen = []

    async def note(self, number: int) -> None:
        self.seen.append(number)

    async def read(self) -> list[int]:
        return self.seen


class Link:
    """Where batches end."""

    credit_bytes = 1 << 20

    def __init__(self):
        self.batches = []

    def send(self, body, records):
        self.batches.append(bytes(body))

    def take(self):
        taken, self.batches = self.batches, []
        return taken


def peer_of(node, name, incarnation):
    """A peer with a link; each message is a batch of its own."""
    node.router.batch_messages = 1
    link = Link()
    peer = Peer(node.router, link, name, incarnation)
    peer.open()
    return peer, link


async def sender_of(node):
    """The refs by priority, the table, the first owner of all slots, and its link."""
    node.router.directory.dial = lambda _: None
    ledger = node.actor(Ledger, "1")
    owner, link = peer_of(node, "first", 7)
    table = node.router.tables["Ledger"] = SlotTable("default", owner, True)
    refs = [options(ledger, priority=one) for one in ("high", "normal", "low")]
    return refs, table, owner, link


async def told(refs, numbers):
    """Send; where that must wait for a way, do not wait."""

    async def one(number):
        await tell(refs[number % len(refs)].note, number)

    for number in numbers:
        WAITING.append(asyncio.ensure_future(one(number)))
        await asyncio.sleep(0)


async def handled(batches):
    """What an actor elsewhere makes of these batches, one after the other."""
    async with Node() as node:
        node.actor(Ledger, "1")
        peer, _ = peer_of(node, "sender", 9)
        for batch in batches:
            peer.deliver(batch, 0)
            node.runtime.run()
        found = await node.actor(Ledger, "1").read()
        peer.end("enough")
        return found


@pytest.mark.asyncio
async def test_what_an_ended_owner_had_goes_in_order_before_what_waited():
    async with Node() as node:
        refs, table, first, link = await sender_of(node)
        await told(refs, range(20))
        first.hold("the link is down")
        await told(refs, range(20, 40))
        assert first.end("it ended") == []
        await told(refs, range(40, 50))
        second, other = peer_of(node, "second", 8)
        table.assign(SLOTS, second)
        node.router.unplaced.replay()
        await told(refs, range(50, 60))
        node.router.flush()
        assert await handled(link.take()) == list(range(20))
        assert await handled(other.take()) == list(range(60))
        node.router.stream.withdraw()
        second.end("enough")


@pytest.mark.asyncio
async def test_what_is_sent_again_passes_what_was_parked_while_slots_changed_hands():
    async with Node() as node:
        refs, table, first, _ = await sender_of(node)
        await told(refs, range(20))
        parking = node.router.parking("the slots change hands")
        table.assign(SLOTS, parking)
        await told(refs, range(20, 40))
        assert first.end("it ended") == []
        second, other = peer_of(node, "second", 8)
        table.assign(SLOTS, second)
        parking.replay()
        node.router.flush()
        assert await handled(other.take()) == list(range(40))
        node.router.stream.withdraw()
        second.end("enough")


@pytest.mark.asyncio
async def test_what_is_sent_again_to_an_owner_that_runs_is_in_order_when_it_leaves():
    async with Node() as node:
        refs, table, first, _ = await sender_of(node)
        await told(refs, range(20))
        second, other = peer_of(node, "second", 8)
        table.assign(SLOTS, second)
        assert first.end("it ended") == []
        node.router.flush()
        assert await handled(other.take()) == list(range(20))
        node.router.stream.withdraw()
        second.end("enough")


@pytest.mark.asyncio
async def test_what_comes_late_waits_before_what_was_sent_after_it():
    """Newer messages have reached the new owner, which waits, when the former one ends."""
    async with Node() as node, Node() as elsewhere:
        refs, table, first, _ = await sender_of(node)
        await told(refs, range(20))
        second, other = peer_of(node, "second", 8)
        table.assign(SLOTS, second)
        await told(refs, range(20, 40))
        assert first.end("it ended") == []
        node.router.flush()
        there, _ = peer_of(elsewhere, "sender", 9)
        elsewhere.actor(Ledger, "1")
        cell = elsewhere.router.local_cell("Ledger/1")
        cell.held = True
        for batch in other.take():
            there.deliver(batch, 0)
        elsewhere.runtime.unhold(cell)
        elsewhere.runtime.run()
        seen = await elsewhere.actor(Ledger, "1").read()
        by_priority = [[one for one in seen if one % 3 == rest] for rest in range(3)]
        assert sorted(chain(*by_priority)) == list(range(40))
        assert all(one == sorted(one) for one in by_priority)
        node.router.stream.withdraw()
        second.end("enough")
        there.end("enough")


@pytest.mark.asyncio
async def test_what_was_handled_before_a_move_is_answered_from_the_window():
    """The former owner handles and ships, and ends before the sender hears that it handled."""
    async with Node() as node, Node() as former, Node() as new:
        refs, table, first, link = await sender_of(node)
        await told(refs, range(6))
        node.router.flush()
        former.actor(Ledger, "1")
        new.actor(Ledger, "1")
        at_former, _ = peer_of(former, "sender", 9)
        for batch in link.take():
            at_former.deliver(batch, 0)
            former.runtime.run()
        to_new, _ = peer_of(former, "new", 8)
        from_former, _ = peer_of(new, "former", 7)
        ship = Handover(former._guardian, former.router).pack("Ledger/1", "default", 1, to_new)
        Handover(new._guardian, new.router).unpack(ship, from_former)
        second, other = peer_of(node, "second", 8)
        table.assign(SLOTS, second)
        first.end("it ended before its acknowledgements passed")
        node.router.unplaced.replay()
        node.router.flush()
        at_new, answers = peer_of(new, "sender", 9)
        for batch in other.take():
            at_new.deliver(batch, 0)
            new.runtime.run()
        at_new.flush()
        for batch in answers.take():
            second.deliver(batch, 0)
        assert new.runtime.books.receiver()["duplicates"] == 6
        assert new.runtime.books.receiver()["handled"] == 0
        assert node.runtime.books.reliable()["handled"] == 6
        for peer in (second, at_former, to_new, from_former, at_new):
            peer.end("enough")
