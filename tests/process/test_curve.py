"""CURVE and the allow-list at one listening socket: who is not on the list delivers nothing."""

import asyncio
import contextlib

import pytest
import zmq
import zmq.asyncio
from packet_oracle import packet

from denoagents.envelope import PacketKind
from denoagents.errors import ConfigurationError, LinkError
from denoagents.link.connection import ZeroMQTransport, check_loopback
from denoagents.security.allow_list import AllowList, Entry
from denoagents.security.key import Key
from denoagents.security.keyring import Keyring

SERVER, LISTED, STRANGER = (
    Key.make("broker", "broker"),
    Key.make("w", "worker"),
    Key.make("x", "worker"),
)


def entry(key):
    return Entry(key.public, key.name, key.role)


class Inbox:
    """Everything that comes out of a listening socket."""

    def __init__(self):
        self.packets = []

    def received(self, packets):
        self.packets += packets

    def came(self, descriptor): ...

    def went(self, descriptor): ...

    def connected(self): ...

    def lost(self): ...


@contextlib.asynccontextmanager
async def listening(*keys, credentials=True):
    ring = Keyring(SERVER, AllowList([entry(one) for one in keys]))
    transport, inbox = ZeroMQTransport(credentials=ring if credentials else None), Inbox()
    wire, endpoint = transport.listen("tcp://127.0.0.1:0", inbox)
    try:
        yield ring, inbox, endpoint
    finally:
        wire.close()
        await transport.close()


@contextlib.contextmanager
def dialing(endpoint, key=None, server=SERVER, kind=zmq.DEALER):
    """A bare pyzmq socket: what somebody else would write."""
    with zmq.Context() as context, context.socket(kind) as socket:
        socket.linger = 0
        if key is not None:
            socket.setsockopt(zmq.CURVE_PUBLICKEY, bytes.fromhex(key.public))
            socket.setsockopt(zmq.CURVE_SECRETKEY, bytes.fromhex(key.secret))
            socket.setsockopt(zmq.CURVE_SERVERKEY, bytes.fromhex(server.public))
        socket.connect(endpoint)
        yield socket


async def attack(endpoint, inbox, key=None, server=SERVER, seconds=0.5):
    """Send 100 packets; how many came out at the other side."""
    before = len(inbox.packets)
    with dialing(endpoint, key, server) as socket:
        for number in range(100):
            with contextlib.suppress(zmq.Again):
                socket.send(packet(PacketKind.DATA, b"x", seq=number, count=1), zmq.DONTWAIT)
            await asyncio.sleep(seconds / 100)
    return len(inbox.packets) - before


@pytest.mark.asyncio
async def test_a_listed_key_delivers_and_every_packet_names_it():
    async with listening(LISTED) as (_, inbox, endpoint):
        assert await attack(endpoint, inbox, LISTED) == 100
        assert {one.user for one in inbox.packets} == {LISTED.public}
        assert all(one.fd > 0 for one in inbox.packets)


@pytest.mark.asyncio
async def test_unlisted_keys_no_keys_and_a_wrong_server_key_deliver_nothing():
    async with listening(LISTED) as (_, inbox, endpoint):
        assert await attack(endpoint, inbox, STRANGER) == 0
        assert await attack(endpoint, inbox) == 0
        assert await attack(endpoint, inbox, LISTED, server=STRANGER) == 0
        assert await attack(endpoint, inbox, LISTED) == 100  # the others disturbed nobody


@pytest.mark.asyncio
async def test_a_revoked_key_is_not_let_in_again():
    async with listening(LISTED) as (ring, inbox, endpoint):
        assert await attack(endpoint, inbox, LISTED) == 100
        ring.allowed = ring.allowed.without("w")
        assert await attack(endpoint, inbox, LISTED) == 0


@pytest.mark.asyncio
async def test_nothing_listens_when_keys_of_callers_cannot_be_checked():
    transport = ZeroMQTransport(credentials=Keyring(SERVER, AllowList([entry(LISTED)])))
    transport._socket(listens=False).close()  # makes the context
    other = zmq.Context.shadow(transport._context.address).socket(zmq.REP)
    other.bind("inproc://zeromq.zap.01")  # somebody else has the place of the answers
    try:
        with pytest.raises(ConfigurationError, match="cannot be checked"):
            transport.listen("tcp://127.0.0.1:0", Inbox())
    finally:
        other.close(0)
        await transport.close()


@pytest.mark.asyncio
async def test_when_the_answers_stop_nobody_comes_in_any_more():
    ring = Keyring(SERVER, AllowList([entry(LISTED)]))
    transport, inbox = ZeroMQTransport(credentials=ring), Inbox()
    wire, endpoint = transport.listen("tcp://127.0.0.1:0", inbox)
    transport._authentication.close()
    assert await attack(endpoint, inbox, LISTED) == 0
    wire.close()
    await transport.close()


@pytest.mark.asyncio
async def test_a_dialer_without_the_peers_key_does_not_dial_in_the_open():
    ring = Keyring(LISTED, AllowList())
    transport = ZeroMQTransport(credentials=ring)
    with pytest.raises(LinkError, match="no key is known"):
        transport.dial("tcp://127.0.0.1:1", Inbox())
    await transport.close()


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://0.0.0.0:1", "tcp://*:1", "tcp://192.0.2.7:1", "tcp://[::]:1", "tcp://eth0:1"],
)
def test_without_keys_only_the_loopback_is_served_and_the_error_says_how_to_make_them(endpoint):
    with pytest.raises(ConfigurationError, match="denoagents keys new broker --role broker"):
        check_loopback(endpoint)
    for inner in ("tcp://127.0.0.1:1", "tcp://127.0.0.2:1", "tcp://[::1]:1", "tcp://localhost:1"):
        check_loopback(inner)
