"""One segment of a log as bytes: a header, then records; and what a damaged one still says.

Rules:
    header   magic 4, layout u16, zero u16, log id u64, first sequence u64, safe u64, checksum u64
    record   magic 4, checksum u64, length u32, unsafe u32, sequence u64, then `length` bytes
    Little endian. A checksum is xxh3_64 of what follows it, seeded with the log's id: what another
    log says (or a payload that imitates a record) is not believed.
    `unsafe` is how many records before this one were not known to be safe when it was written.
    So a bad record is told apart: if a later one calls it safe, it is damage, and reported; if none
    does, it is the torn tail of a crash, and cut.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from xxhash import xxh3_64_intdigest

from denoagents.errors import CorruptError

LAYOUT: Final = 1
MAGIC: Final = b"dAsg"
MARK: Final = b"\xdaRec"
HEADER: Final = Struct("<4sHHQQQQ")
RECORD: Final = Struct("<4sQIIQ")
FROM_CHECKSUM: Final = 12
"""Bytes of a record that its checksum does not cover: magic and checksum."""
MOST_UNSAFE: Final = 0xFFFFFFFF
_REST: Final = Struct("<IIQ")
_HEADER_REST: Final = Struct("<4sHHQQQ")


class Header(NamedTuple):
    """Whose segment it is, and where it begins."""

    log: int
    first: int
    safe: int
    """Every record up to this one was safe when the segment was made."""


class Found(NamedTuple):
    """One good record: its sequence, and where its payload stands in the segment."""

    sequence: int
    offset: int
    size: int


class Damage(NamedTuple):
    """Safe records of a segment that cannot be read."""

    segment: str
    offset: int
    first: int
    last: int
    reason: str

    def covers(self, sequence: int) -> bool:
        """Whether the record `sequence` is among them."""
        return self.first <= sequence <= self.last

    def __str__(self) -> str:
        records = f"record {self.first}" if self.first == self.last else (
            f"records {self.first} to {self.last}"
        )  # fmt: skip
        return f"{self.segment} at byte {self.offset}: {records}: {self.reason}"


class Scan(NamedTuple):
    """What is in a segment: good records, damage, and the bytes after which nothing is sure."""

    header: Header | None
    found: list[Found]
    gaps: list[tuple[int, int, int]]
    """(offset, first sequence, the sequence of the next good record)"""
    end: int
    """Behind the last good record."""
    safe: int
    """Every record up to this sequence was safe, says the segment."""


def pack_header(header: Header) -> bytes:
    """The first bytes of a segment."""
    rest = _HEADER_REST.pack(MAGIC, LAYOUT, 0, *header)
    return rest + xxh3_64_intdigest(rest).to_bytes(8, "little")


def unpack_header(data: bytes | memoryview) -> Header | None:
    """What the first bytes say; None if they are not whole."""
    if len(data) < HEADER.size:
        return None
    magic, layout, zero, log, first, safe, checksum = HEADER.unpack_from(data)
    if checksum != xxh3_64_intdigest(data[: HEADER.size - 8]) or magic != MAGIC or zero:
        return None
    if layout != LAYOUT:
        raise CorruptError(f"the segment has layout {layout}, this version reads {LAYOUT}")
    return Header(log, first, safe)


def pack_record(log: int, sequence: int, unsafe: int, payload: bytes) -> bytes:
    """A record, ready to be written."""
    rest = _REST.pack(len(payload), min(unsafe, MOST_UNSAFE), sequence) + payload
    return MARK + xxh3_64_intdigest(rest, seed=log).to_bytes(8, "little") + rest


def is_whole(log: int, record: bytes | memoryview, sequence: int) -> bool:
    """Whether these bytes are the record that they should be."""
    if len(record) < RECORD.size:
        return False
    magic, checksum, length, _, number = RECORD.unpack_from(record)
    if magic != MARK or number != sequence or length != len(record) - RECORD.size:
        return False
    return bool(checksum == xxh3_64_intdigest(record[FROM_CHECKSUM:], seed=log))


def scan(data: bytes) -> Scan:
    """Read a whole segment; never raises for damage, and believes nothing without its checksum."""
    header = unpack_header(data)
    if header is None:
        return Scan(None, [], [], 0, 0)
    found: list[Found] = []
    gaps: list[tuple[int, int, int]] = []
    view, size, log = memoryview(data), len(data), header.log
    expected, safe, at, good = header.first, header.safe, HEADER.size, HEADER.size
    unpack, digest, head = RECORD.unpack_from, xxh3_64_intdigest, RECORD.size
    while at + head <= size:
        magic, checksum, length, unsafe, sequence = unpack(data, at)
        to = at + head + length
        if (
            magic == MARK
            and to <= size
            and sequence >= expected
            and digest(view[at + FROM_CHECKSUM : to], seed=log) == checksum
        ):
            if sequence > expected:
                gaps.append((good, expected, sequence))
            found.append(Found(sequence, at + head, length))
            if unsafe != MOST_UNSAFE:
                safe = max(safe, sequence - 1 - unsafe)
            expected, good, at = sequence + 1, to, to
        else:  # look for the next record that is whole
            at = data.find(MARK, at + 1)
            if at < 0:
                break
    return Scan(header, found, gaps, good, safe)
