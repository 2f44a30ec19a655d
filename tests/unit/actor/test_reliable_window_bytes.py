"""The bytes of answers that are kept for repeats: counted, let go, and senders wait for them."""

import asyncio

import pytest

from denoagents import Actor, Node, reliable, tell
from denoagents._native.envelope import RELIABLE, WANTS_REPLY, Envelope, ReplyTo
from denoagents._native.window import Windows
from denoagents.actor.settings import ActorSettings
from denoagents.node.settings import NodeSettings


def message(number, floor=1, stream=7):
    reply = ReplyTo()
    reply.stream, reply.sequence, reply.floor = stream, number, floor
    return Envelope(None, None, b"", 0, 1, WANTS_REPLY | RELIABLE, reply, None, None, None)


def answer(windows, number, payload, floor=1, address="A/x"):
    envelope = message(number, floor)
    assert windows.arrive(address, envelope) is envelope
    windows.answered(address, envelope, payload)


def test_bytes_of_answers_are_counted_until_the_floor_has_passed_them():
    windows = Windows()
    answer(windows, 1, bytes(100))
    answer(windows, 2, (bytes(50),))
    answer(windows, 3, None)
    assert windows.bytes == 150
    windows.arrive("A/x", message(4, floor=2))
    windows.sweep(0)
    assert windows.bytes == 50
    windows.drop("A/x")
    assert windows.bytes == 0


def test_bytes_travel_with_hand_over_and_count_once():
    windows, other = Windows(), Windows()
    answer(windows, 1, bytes(100))
    for _ in range(2):
        other.restore("A/x", windows.export("A/x"))
        assert other.bytes == 100


def test_large_answers_below_the_floor_go_long_before_there_are_many():
    windows = Windows()
    for number in range(1, 200):
        answer(windows, number, bytes(1 << 20), floor=number)
    assert windows.bytes <= 5 << 20


class Taker(Actor):
    @reliable
    async def take(self, data: bytes) -> None:
        pass


@pytest.mark.asyncio
async def test_kept_answers_make_senders_wait_earlier_but_never_for_good():
    actor = ActorSettings(reliable_bytes=100_000)
    async with Node(settings=NodeSettings(actor=actor)) as node:
        ref = node.actor(Taker, "one")
        answer(node.runtime.windows, 1, bytes(70_000), address="Taker/other")
        assert node.statistics()["kept"]["answer_bytes"] == 70_000
        await tell(ref.take, bytes(1000))
        waiting = tell(ref.take, bytes(60_000))
        assert hasattr(waiting, "add_done_callback"), "a future to wait for"
        await asyncio.wait_for(waiting, 5)
        assert node.statistics()["kept"]["bytes"] < 50_000
