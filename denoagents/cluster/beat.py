"""The heartbeat datagram and its answer: two fixed little-endian layouts.

Rules: `csrc/pulse.pyx` writes the first and reads the second with the same layouts; both begin with
magic, wire version and kind, as link packets do. Both are one ZeroMQ message part. A datagram of
another size is dropped. Beats are not numbered, retained or resent: the next one says it again.

    BEAT         offset  type  field
                  0      u16   magic
                  2      u8    wire version
                  3      u8    kind (BEAT)
                  4      u32   flags (BeatFlag)
                  8      u64   incarnation of the sender
                 16      i64   sent_ns, the sender's clock
                 24      u32   tick_age_us: since the loop's last tick (saturated at 2^32 - 1)
                 28      u32   loop_lag_us: how late that tick was (saturated)
                 32      u32   beat_late_us: how late this beat is (saturated)
                 36      u32   turn_us: how long a turn has held the loop, 0 = none (saturated)
                 40      u64   number: counts the beats of this incarnation from 1
    BEAT_ANSWER   0      u16   magic
                  2      u8    wire version
                  3      u8    kind (BEAT_ANSWER)
                  4      u8    status (BeatStatus)
                  5      u8[3] zero
                  8      u64   incarnation of the member that is answered
                 16      i64   sent_ns of the beat, as it came
                 24      u64   incarnation of the broker
                 32      u32   placement version of the broker
                 36      u32   zero
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

from denoagents.envelope import MAGIC, WIRE_VERSION, PacketKind
from denoagents.errors import ProtocolError

BEAT_LAYOUT: Final = "<HBBIQqIIIIQ"
BEAT_ANSWER_LAYOUT: Final = "<HBBB3xQqQI4x"
BEAT_SIZE: Final = struct.calcsize(BEAT_LAYOUT)
BEAT_ANSWER_SIZE: Final = struct.calcsize(BEAT_ANSWER_LAYOUT)

_beat = struct.Struct(BEAT_LAYOUT)
_answer = struct.Struct(BEAT_ANSWER_LAYOUT)
_U32 = 0xFFFF_FFFF


class BeatFlag(IntFlag):
    """What a member says about itself with each beat."""

    NONE = 0
    BLOCKED = 1
    """The loop has not ticked for longer than the member's own threshold."""
    NO_LEASE = 2
    """The member's lease has run out; it starts no turn."""
    LEAVING = 4
    """The member drains and will leave."""


class BeatStatus(IntEnum):
    """What the broker answers."""

    OK = 0
    UNKNOWN = 1
    """No such member here (a broker that lost its records): join again."""
    EVICTED = 2
    """This incarnation is over; it may start nothing more."""


class Beat(NamedTuple):
    """One heartbeat of one incarnation."""

    incarnation: int
    sent_ns: int
    tick_age_us: int = 0
    loop_lag_us: int = 0
    beat_late_us: int = 0
    turn_us: int = 0
    number: int = 0
    flags: int = 0


class BeatAnswer(NamedTuple):
    """The broker's answer to one heartbeat."""

    status: BeatStatus
    incarnation: int
    sent_ns: int
    broker_incarnation: int
    version: int


def encode_beat(beat: Beat) -> bytes:
    """The datagram for `beat`; times over 71 minutes are saturated."""
    return _beat.pack(
        MAGIC,
        WIRE_VERSION,
        PacketKind.BEAT,
        beat.flags,
        beat.incarnation,
        beat.sent_ns,
        min(beat.tick_age_us, _U32),
        min(beat.loop_lag_us, _U32),
        min(beat.beat_late_us, _U32),
        min(beat.turn_us, _U32),
        beat.number,
    )


def decode_beat(packet: bytes | memoryview) -> Beat:
    """The beat in `packet`; anything else is a `ProtocolError`."""
    if len(packet) != BEAT_SIZE:
        raise ProtocolError(f"a beat has {BEAT_SIZE} bytes, not {len(packet)}")
    magic, wire, kind, flags, incarnation, sent_ns, age, lag, late, turn, number = _beat.unpack(
        packet
    )
    if (magic, wire, kind) != (MAGIC, WIRE_VERSION, PacketKind.BEAT):
        raise ProtocolError("the packet is not a beat of this wire version")
    return Beat(incarnation, sent_ns, age, lag, late, turn, number, flags)


def encode_answer(answer: BeatAnswer) -> bytes:
    """The datagram for `answer`."""
    return _answer.pack(
        MAGIC,
        WIRE_VERSION,
        PacketKind.BEAT_ANSWER,
        answer.status,
        answer.incarnation,
        answer.sent_ns,
        answer.broker_incarnation,
        answer.version,
    )


def decode_answer(packet: bytes | memoryview) -> BeatAnswer:
    """The answer in `packet`; anything else is a `ProtocolError`."""
    if len(packet) != BEAT_ANSWER_SIZE:
        raise ProtocolError(f"an answer to a beat has {BEAT_ANSWER_SIZE} bytes, not {len(packet)}")
    magic, wire, kind, status, incarnation, sent_ns, broker, version = _answer.unpack(packet)
    if (magic, wire, kind) != (MAGIC, WIRE_VERSION, PacketKind.BEAT_ANSWER):
        raise ProtocolError("the packet is not an answer to a beat of this wire version")
    if status not in (0, 1, 2):
        raise ProtocolError(f"an answer to a beat has no status {status}")
    return BeatAnswer(BeatStatus(status), incarnation, sent_ns, broker, version)
