"""The packet layout in plain Python, so that tests can write what the product never would."""

import struct

HEADER = struct.Struct("<HBBB3xQQqIII")
_M64 = 2**64 - 1


def _mix(lane: int, word: int) -> int:
    lane = ((lane ^ word) * 0x9E3779B97F4A7C15) & _M64
    return lane ^ (lane >> 29)


def checksum(header: bytes, body: bytes) -> int:
    """The checksum of the 44 bytes `header` and of `body`."""
    lanes = [0x243F6A8885A308D3, 0x13198A2E03707344, len(body), 0xA4093822299F31D0]
    words = struct.unpack("<4Q", header[:32])
    lanes = [_mix(lane, word) for lane, word in zip(lanes, words, strict=True)]
    first, second = struct.unpack("<QI", header[32:44])
    lanes[0], lanes[1] = _mix(lanes[0], first), _mix(lanes[1], second)
    for at in range(0, len(body), 32):
        words = struct.unpack("<4Q", body[at : at + 32].ljust(32, b"\0"))
        lanes = [_mix(lane, word) for lane, word in zip(lanes, words, strict=True)]
    result = lanes[0]
    for lane in lanes[1:]:
        result = _mix(result, lane)
    return (result ^ (result >> 32)) & 0xFFFFFFFF


def packet(
    kind: int, body: bytes = b"", *, version: int = 1, flags: int = 0, seq: int = 0, ack: int = 0,
    count: int = 0, raw_length: int | None = None,
) -> bytes:  # fmt: skip
    """An intact packet of any wire version."""
    raw = len(body) if raw_length is None else raw_length
    header = HEADER.pack(0x4164, version, kind, flags, seq, ack, 0, 0, count, raw)
    return header + checksum(header, body).to_bytes(4, "little") + body
