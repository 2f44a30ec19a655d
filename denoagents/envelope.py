"""The numbers that every part of the wire agrees on: magic, version, kinds, priorities, slots.

Rules: a number is never reused for something else; a change of layout raises `WIRE_VERSION`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

MAGIC: Final = int.from_bytes(b"dA", "little")
"""The first two bytes of every packet, a little-endian u16."""

WIRE_VERSION: Final = 1
"""The third byte of every packet; another version is refused at the handshake."""

SLOTS: Final = 4096
"""Keys hash to this many slots, slots to the workers of a group."""


class PacketKind(IntEnum):
    """The fourth byte of every packet."""

    HELLO = 1
    WELCOME = 2
    REFUSED = 3
    DATA = 4
    ACK = 5
    PING = 6
    GOODBYE = 7
    WHO = 8
    BEAT = 9
    BEAT_ANSWER = 10


class Priority(IntEnum):
    """How urgent a message is; within one priority messages of one sender keep their order."""

    HIGH = 0
    NORMAL = 1
    LOW = 2
