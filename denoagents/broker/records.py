"""Control records inside a link's batch: the only kind of record that the broker writes and reads.

Rules: the layout is the node's (`csrc/peer.pyx`): one byte of kind, a varint (0), a varint of
length, the payload. A batch with anything else, or with another number of records than it says, is
a `ProtocolError`; lengths are checked against what is there.
"""

from __future__ import annotations

from typing import Final

from denoagents.errors import ProtocolError

CONTROL: Final = 17
"""The kind of a control record (`denoagents._native.router.RecordKind.CONTROL`)."""


def encode_record(payload: bytes) -> bytes:
    """One control record."""
    return bytes((CONTROL, 0)) + _varint(len(payload)) + payload


def decode_records(body: bytes | memoryview, count: int) -> list[bytes]:
    """The payloads of a batch of `count` control records."""
    view = memoryview(body)
    payloads: list[bytes] = []
    at = 0
    while at < len(view):
        if view[at] != CONTROL:
            raise ProtocolError(f"a broker takes control records only, not kind {view[at]}")
        _, at = _read_varint(view, at + 1)
        size, at = _read_varint(view, at)
        if size > len(view) - at:
            raise ProtocolError(f"a record says {size} bytes, {len(view) - at} are left")
        payloads.append(bytes(view[at : at + size]))
        at += size
    if len(payloads) != count:
        raise ProtocolError(f"a batch of {count} records has {len(payloads)}")
    return payloads


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(view) and shift < 64:
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ProtocolError("a number in a record does not end")
