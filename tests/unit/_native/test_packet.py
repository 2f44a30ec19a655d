"""The packet header: what is written is read, and what is damaged is junk."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packet_oracle import packet

from denoagents._native.packet import decode, encode
from denoagents.envelope import MAGIC, WIRE_VERSION, PacketKind
from denoagents.errors import ProtocolError

U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)
HEADER = 48


@given(
    kind=st.sampled_from([kind for kind in PacketKind if kind < PacketKind.BEAT]),
    flags=st.integers(0, 255),
    seq=U64,
    ack=U64,
    now_ns=st.integers(-(2**63), 2**63 - 1),
    placement_version=U32,
    count=U32,
    raw_length=U32,
    body=st.binary(max_size=200),
)
def test_what_is_written_is_read(**fields):
    packet = decode(encode(**fields), b"route")
    assert {name: getattr(packet, name) for name in fields} == fields
    assert packet.route == b"route" and packet.version == WIRE_VERSION


def test_the_layout_is_the_documented_one():
    frame = encode(4, 1, 2, 3, 4, 5, 6, 7, b"body")
    assert frame[:8] == MAGIC.to_bytes(2, "little") + bytes([WIRE_VERSION, 4, 1, 0, 0, 0])
    numbers = [(8, 8, 2), (16, 8, 3), (24, 8, 4), (32, 4, 5), (36, 4, 6), (40, 4, 7)]
    for at, size, value in numbers:
        assert int.from_bytes(frame[at : at + size], "little") == value
    assert frame[HEADER:] == b"body" and len(frame) == HEADER + 4


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 100])
def test_each_flipped_bit_makes_junk(size):
    frame = encode(PacketKind.DATA, 0, 7, 8, 9, 10, 1, size, bytes(range(size)))
    for bit in range(len(frame) * 8):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        packet = decode(bytes(damaged), strict=False)
        is_heartbeat = packet.kind in {PacketKind.BEAT, PacketKind.BEAT_ANSWER}
        assert packet.kind == 0 or is_heartbeat, bit


def test_each_truncation_is_junk():
    frame = encode(PacketKind.DATA, 0, 7, 8, 9, 10, 1, 64, bytes(64))
    for size in range(len(frame)):
        with pytest.raises(ProtocolError):
            decode(frame[:size])


@given(st.binary(max_size=300))
def test_random_bytes_are_junk_or_a_heartbeat(noise):
    assert decode(noise, strict=False).kind in {0, PacketKind.BEAT, PacketKind.BEAT_ANSWER}


def test_a_huge_claimed_length_takes_no_memory():
    packet = decode(encode(PacketKind.DATA, 1, 1, 0, 0, 0, 2**32 - 1, 2**32 - 1, b"x"))
    assert packet.raw_length == 2**32 - 1 and packet.body == b"x"


def test_a_heartbeat_is_handed_on_whole():
    frame = MAGIC.to_bytes(2, "little") + bytes([WIRE_VERSION, PacketKind.BEAT]) + b"its own layout"
    assert decode(frame).body == frame


@given(st.sampled_from(PacketKind), st.binary(max_size=200), U64, U64, st.integers(0, 255))
def test_the_native_packet_is_the_oracle_s(kind, body, seq, ack, flags):
    ours = encode(kind, flags, seq, ack, 0, 0, 3, len(body), body)
    assert ours == packet(kind, body, seq=seq, ack=ack, flags=flags, count=3)


@pytest.mark.parametrize("kind", PacketKind)
def test_of_another_wire_version_only_the_handshake_can_be_read(kind):
    known = {PacketKind.HELLO, PacketKind.WELCOME, PacketKind.REFUSED}
    known |= {PacketKind.BEAT, PacketKind.BEAT_ANSWER}
    read = decode(packet(kind, b"words", version=WIRE_VERSION + 1), strict=False)
    assert read.kind == (kind if kind in known else 0)
