"""What a peer makes of the batches of another process: every byte is hostile."""

import asyncio
import random

import pytest

from denoagents import Actor, Node, tell
from denoagents._native.peer import Peer
from denoagents._native.router import SlotTable
from denoagents.errors import DenoagentsError, ProtocolError

END, ITEM, REPLY = 10, 9, 6


class Counter(Actor):
    total: int = 0

    async def add(self, n: int) -> int:
        self.total += n
        return self.total

    async def wait(self, n: int) -> int:
        await asyncio.sleep(0)
        return n

    async def count_to(self, n: int):
        for i in range(n):
            yield i


class Link:
    """Where batches end."""

    credit_bytes = 1 << 20

    def __init__(self):
        self.batches = []

    def send(self, body, records):
        self.batches.append(bytes(body))


def peer_of(node):
    """A peer of `node` that owns all counters, and its link."""
    link = Link()
    peer = Peer(node.router, link, "other", 7)
    peer.open()
    node.actor(Counter, "1")
    node.router.tables["Counter"] = SlotTable("default", peer, True)
    return peer, link


async def batches_of_every_kind():
    async with Node() as node:
        peer, link = peer_of(node)
        for key in "abc" * 5:
            counter = node.actor(Counter, key)
            await tell(counter.add, 1)
            calls = [counter.add(2), counter.wait(3), anext(counter.count_to(4))]
            tasks = [asyncio.ensure_future(call) for call in calls]
            await asyncio.sleep(0)
            tasks.pop().cancel()
            await asyncio.sleep(0)
            for number in range(3):
                peer.answer(REPLY, number, b"\x05")
                peer.answer(ITEM, number, b"\x05")
                peer.signal(END, number)
                peer.grant(number, 1000)
            peer.pause("Counter/a")
            peer.resume("Counter/a")
            peer.flush()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        peer.end("enough")
        return link.batches


def damaged(chance, batch):
    data = bytearray(batch)
    for _ in range(chance.choice([1, 1, 2, 5])):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                data[at : at + 1] = bytes([chance.randrange(1, 20)])
            case 2:
                del data[at : at + chance.randrange(1, 9)]
            case 3:
                data[at:at] = chance.randbytes(chance.randrange(1, 6))
            case 4:
                data[at:at] = b"\xff" * chance.randrange(1, 11)
    return bytes(data)


@pytest.mark.asyncio
@pytest.mark.parametrize("seed", range(4))
async def test_a_damaged_batch_is_a_protocol_error_or_counted(seed):
    chance = random.Random(seed)
    batches = await batches_of_every_kind()
    async with Node() as node:
        here, node.router.directory.control = node.router.here, lambda *_: None
        for round_ in range(500):
            peer, _ = peer_of(node)
            call = asyncio.ensure_future(node.actor(Counter, "1").add(1))
            await asyncio.sleep(0)
            node.router.tables["Counter"] = SlotTable("default", here, True)
            for _ in range(4):
                written = chance.choice(batches)
                batch = damaged(chance, written) if round_ % 4 else chance.randbytes(99)
                try:
                    peer.deliver(batch, chance.choice([0, 1, -1, 1 << 62, -(1 << 63)]))
                except ProtocolError:
                    break
            await asyncio.sleep(0)
            for request in peer.end("fuzzed"):
                request.reject(ProtocolError("fuzzed"))
            answer = (await asyncio.gather(call, return_exceptions=True))[0]
            assert isinstance(answer, DenoagentsError | int)
        await asyncio.sleep(0.01)
        books = node.runtime.books
        assert (books.sender()["off"], books.receiver()["off"]) == (0, 0)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [ITEM, END, REPLY])
async def test_an_answer_of_the_wrong_kind_ends_the_link_and_the_request(kind):
    async with Node() as node:
        peer, _ = peer_of(node)
        counter = node.actor(Counter, "1")
        ask = anext(counter.count_to(3)) if kind == REPLY else counter.add(1)
        task = asyncio.ensure_future(ask)
        await asyncio.sleep(0)
        number = node.runtime.books.sender()["sent"]
        with pytest.raises(ProtocolError, match="the answer is"):
            peer.deliver(bytes([kind, number, 1, 5][: 2 if kind == END else 4]), 0)
        with pytest.raises(ProtocolError):
            await task
        peer.end("over")
