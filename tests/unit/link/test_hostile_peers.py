"""Bytes that no denoagents would send: they reach nobody, and cost at most their own link."""

import asyncio

import pytest
from link_nodes import until, with_pair
from packet_oracle import packet

from denoagents.envelope import PacketKind
from denoagents.link.handshake import Hello, encode

STRANGE = {
    "noise": b"\0\1\2\3 no packet at all",
    "nothing": b"",
    "a batch": packet(PacketKind.DATA, b"x", seq=1, count=1),
    "a ping": packet(PacketKind.PING),
    "a goodbye": packet(PacketKind.GOODBYE),
    "a hello of noise": packet(PacketKind.HELLO, b"\xc1\xc1"),
    "a hello of another version": packet(PacketKind.HELLO, b"\xc1", version=9),
    "a welcome": packet(PacketKind.WELCOME, b"\x80"),
    "a huge claim": packet(PacketKind.DATA, b"x", flags=1, seq=1, count=1, raw_length=2**32 - 1),
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE.keys())
def test_a_stranger_s_packets_reach_nobody_and_disturb_nobody(strange):
    async def scenario(pair):
        link = await pair.stand()
        answers = []

        class Stranger:
            def connected(self): ...
            def lost(self): ...
            def received(self, packets):
                answers.extend(packets)

        wire = pair.network.transport("stranger").dial(pair.endpoint, Stranger())
        await asyncio.sleep(0.1)
        for _ in range(3):
            wire.send_datagram(None, strange)
        link.send(b"x", 1)
        await link.when_accepted()
        await asyncio.sleep(0.1)
        assert pair.owner.bodies == [b"x"] and pair.owner.overs == pair.caller.overs == []
        told = pair.owner.mesh.statistics()
        assert told.junk_packets + told.stray_packets + told.refused_hellos == 3
        assert {one.kind for one in answers} <= {PacketKind.WHO, PacketKind.REFUSED}
        wire.close()

    with_pair(scenario)


HOSTILE = {
    "an acknowledgement of what was never sent": packet(PacketKind.ACK, ack=99),
    "a false raw length": packet(PacketKind.DATA, b"abc", seq=1, count=1, raw_length=7),
    "more messages than bytes": packet(PacketKind.DATA, b"abc", seq=1, count=4),
    "a batch of no messages": packet(PacketKind.DATA, b"abc", seq=1),
    "a bomb": packet(PacketKind.DATA, b"abc", flags=1, seq=1, count=1, raw_length=2**31),
    "an unknown compression": packet(PacketKind.DATA, b"abc", flags=3, seq=1, count=1),
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("by", ["caller", "owner"])
def test_a_peer_that_breaks_the_protocol_loses_the_link_at_both_ends(by, hostile):
    async def scenario(pair):
        await pair.stand()
        (pipe,) = pair.network._pipes
        (pipe.to_listener if by == "caller" else pipe.to_dialer).push(hostile)
        await until(lambda: pair.caller.overs and pair.owner.overs)
        ends = [pair.caller.overs[0][1], pair.owner.overs[0][1]]
        victim = pair.owner if by == "caller" else pair.caller
        assert victim.overs[0][1].startswith("protocol: ") and all(ends)
        assert victim.bodies == []

    with_pair(scenario)


@pytest.mark.parametrize("to", ["to_listener", "to_dialer"])
def test_a_batch_that_comes_twice_is_handed_over_once(to):
    async def scenario(pair):
        await pair.stand()
        (pipe,) = pair.network._pipes
        for _ in range(2):
            getattr(pipe, to).push(packet(PacketKind.DATA, b"once", seq=1, count=1))
        node = pair.owner if to == "to_listener" else pair.caller
        await until(lambda: node.mesh.statistics().links[0].duplicates == 1)
        assert node.bodies == [b"once"]

    with_pair(scenario)


@pytest.mark.parametrize("seed", range(10))
def test_a_dialer_that_is_gone_before_its_welcome_leaves_nothing(seed):
    async def scenario(pair):
        await pair.stand()
        hello = Hello(1, "default", "brief", "worker", 5, 1, 0, 1 << 20)

        class Brief:
            def connected(self): ...
            def lost(self): ...
            def received(self, packets): ...

        wire = pair.network.transport("brief").dial(pair.endpoint, Brief())
        await asyncio.sleep(0.1)
        wire.send_datagram(None, packet(PacketKind.HELLO, encode(hello)))
        wire.send_datagram(None, packet(PacketKind.DATA, b"x", seq=1, count=1))
        wire.close(linger_ms=100)
        await asyncio.sleep(0.1)
        pair.owner.mesh.refuse(5, "gone")
        acceptance = pair.owner.mesh._acceptance
        assert [link.peer.name for link in acceptance._routes.values()] == ["caller"]
        assert [link.peer.name for link in acceptance.links] == ["caller"]

    with_pair(scenario, seed)
