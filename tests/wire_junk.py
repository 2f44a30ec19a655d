"""Bytes that no node would send: noise, cut and damaged packets, lengths that are not there."""

import struct
from random import Random

from packet_oracle import packet

from denoagents.envelope import PacketKind

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)
READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"[:2] + (
    b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
)


def zmtp(frame):
    """`frame` as a last part of a ZMTP message."""
    return b"\x02" + struct.pack(">Q", len(frame)) + frame


def junk():
    chance = Random(7)
    good = packet(PacketKind.DATA, bytes(500), seq=1, count=1)
    hello = packet(PacketKind.HELLO, b"\x80")
    yield b""
    yield chance.randbytes(10_000)
    yield b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    yield GREETING[:20]
    yield GREETING + chance.randbytes(5000)
    yield GREETING + READY
    for claim in (1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1):
        yield GREETING + READY + b"\x02" + struct.pack(">Q", claim) + bytes(100)
        yield GREETING + READY + b"\x03" + struct.pack(">Q", claim) + bytes(100)
    for size in range(0, len(good), 50):
        yield GREETING + READY + zmtp(good[:size])
    for _ in range(30):
        damaged = bytearray(chance.choice([good, hello]))
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        yield GREETING + READY + zmtp(bytes(damaged)) * 3
    for kind in range(20):
        yield GREETING + READY + zmtp(packet(kind, b"\xc1", seq=2**64 - 1, ack=2**64 - 1))
    yield GREETING + READY + (b"\x01\x01x" * 1000 + b"\x00\x01x") + zmtp(good)
    yield GREETING + READY + zmtp(packet(PacketKind.DATA, b"x", flags=1, raw_length=2**32 - 1))
