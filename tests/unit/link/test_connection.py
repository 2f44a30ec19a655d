"""A socket on the loop: its edge-triggered descriptor may stay silent, and nothing is missed."""

import asyncio
import os

import pytest
import pytest_asyncio

from denoagents._native.socket import CONNECTED, READABLE
from denoagents.link.connection import Connection


class ScriptedSocket:
    """A native socket whose descriptor never becomes readable; `script` says what happens."""

    def __init__(self, fd, *script):
        self.fd, self.script = fd, list(script)
        self.has_more, self.on_input, self.is_closed = False, None, False
        self.seen = CONNECTED

    def send(self, *packet):
        return True

    send_datagram = send

    def receive(self, limit):
        step = self.script.pop(0) if self.script else {}
        self.has_more = step.get("more", False)
        self.seen = step.get("seen", self.seen)
        return step.get("packets", [])

    def look(self):
        return self.seen

    def close(self, linger_ms=0):
        self.is_closed = True


class Told:
    """A receiver that keeps what it is told."""

    def __init__(self):
        self.all = []

    def connected(self):
        self.all.append("connected")

    def lost(self):
        self.all.append("lost")

    def received(self, packets):
        self.all.extend(packets)


@pytest_asyncio.fixture
async def silent_fd():
    reading, writing = os.pipe()
    yield reading
    os.close(reading)
    os.close(writing)


async def told_by(socket, *, dials=True):
    told = Told()
    connection = Connection(socket, told, dials=dials, burst=64)
    for _ in range(10):
        await asyncio.sleep(0)
    connection.close()
    return told.all


LATE = {"packets": ["late"], "seen": CONNECTED}


@pytest.mark.asyncio
async def test_a_packet_that_came_while_looking_is_received(silent_fd):
    socket = ScriptedSocket(silent_fd, {"seen": READABLE | CONNECTED}, LATE)
    assert await told_by(socket) == ["late", "connected"]


@pytest.mark.asyncio
async def test_the_last_packets_of_a_lost_connection_come_before_its_end(silent_fd):
    socket = ScriptedSocket(
        silent_fd, {"seen": CONNECTED}, {"seen": READABLE}, {"packets": ["last"], "seen": 0}
    )
    connection = Connection(socket, told := Told(), dials=True, burst=64)
    for _ in range(5):
        connection.watch()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    connection.close()
    assert told.all == ["connected", "last", "lost"]


@pytest.mark.asyncio
@pytest.mark.parametrize("dials", [True, False])
async def test_a_burst_that_was_not_everything_goes_on_in_the_next_round(silent_fd, dials):
    socket = ScriptedSocket(
        silent_fd,
        {"packets": [1], "more": True},
        {"packets": [2], "more": True},
        {"packets": [3]},
    )
    assert [one for one in await told_by(socket, dials=dials) if one != "connected"] == [1, 2, 3]


@pytest.mark.asyncio
async def test_a_send_that_finds_input_has_it_received(silent_fd):
    socket = ScriptedSocket(silent_fd, {}, {"packets": ["reply"]})
    connection = Connection(socket, told := Told(), dials=True, burst=64)
    await asyncio.sleep(0)
    assert told.all == ["connected"]
    socket.on_input()
    socket.on_input()
    await asyncio.sleep(0)
    connection.close()
    assert told.all == ["connected", "reply"]


@pytest.mark.asyncio
async def test_a_closed_connection_tells_nothing_more(silent_fd):
    socket = ScriptedSocket(silent_fd, {"packets": ["late"]})
    connection = Connection(socket, told := Told(), dials=True, burst=64)
    connection.close()
    connection.close()
    await asyncio.sleep(0)
    assert told.all == [] and socket.is_closed
