"""Sets of slots as integers of 4096 bits: set algebra in nanoseconds, 512 bytes on the wire.

Rules: bit `n` stands for slot `n`; on the wire the bytes are little-endian, so slot `n` is bit
`n % 8` of byte `n // 8`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import Final

from denoagents.envelope import SLOTS
from denoagents.errors import ProtocolError

ALL: Final = (1 << SLOTS) - 1
SIZE: Final = SLOTS // 8
"""Bytes of a packed set."""

Assign = Callable[[list[bytes], list[int]], Sequence[int]]
"""Names and weights to the index of the owner of each slot (`_native.placement.assign`)."""

_BITS: Final = bytes.maketrans(b"01", b"\0\1")


def pack(slots: int) -> bytes:
    """The 512 bytes of a set."""
    return slots.to_bytes(SIZE, "little")


def unpack(packed: bytes) -> int:
    """The set of 512 bytes; another size is a `ProtocolError`."""
    if len(packed) != SIZE:
        raise ProtocolError(f"a set of slots has {SIZE} bytes, not {len(packed)}")
    return int.from_bytes(packed, "little")


def numbers(slots: int) -> array[int]:
    """The slots of a set in ascending order."""
    flags = format(slots, "b")[::-1].encode().translate(_BITS)
    return array("H", compress(range(len(flags)), flags))


def from_numbers(slots: Iterable[int]) -> int:
    """The set of these slots."""
    flags = bytearray(SIZE)
    for slot in slots:
        flags[slot >> 3] |= 1 << (slot & 7)
    return int.from_bytes(flags, "little")


def owners_of(members: Sequence[tuple[int, str, int]], assign: Assign) -> dict[int, int]:
    """Incarnation to owned slots, for (incarnation, name, weight) in any order."""
    ordered = sorted(members, key=lambda member: member[1])
    if not ordered:
        return {}
    table = assign([name.encode() for _, name, _ in ordered], [weight for *_, weight in ordered])
    flags = [bytearray(SIZE) for _ in ordered]
    for slot, index in enumerate(table):
        flags[index][slot >> 3] |= 1 << (slot & 7)
    return {
        member[0]: int.from_bytes(packed, "little")
        for member, packed in zip(ordered, flags, strict=True)
    }


def union(tables: Iterable[int]) -> int:
    """All slots of several sets."""
    result = 0
    for slots in tables:
        result |= slots
    return result
