"""Packets: the fixed header, the checksum, and what counts as junk.

Rules: pure. Every byte is hostile until the checksum fits. Magic, version and kind stay in place
in every wire version; heartbeats are handed on whole, with their own layout.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cimport cython

from denoagents.envelope import MAGIC as _MAGIC
from denoagents.envelope import WIRE_VERSION as _WIRE_VERSION
from denoagents.errors import ProtocolError

cdef enum:
    KIND_JUNK = 0
    KIND_REFUSED = 3
    KIND_BEAT = 9
    KIND_BEAT_ANSWER = 10

if (MAGIC, WIRE_VERSION) != (_MAGIC, _WIRE_VERSION):
    raise ImportError("the native parts have another wire version; type: tools/build packet socket")


@cython.final
@cython.freelist(64)
cdef class Packet:
    """One decoded packet. Kind 0 is junk; BEAT kinds carry the whole datagram as their body.

    A listening socket adds who sent it (`user`, with keys) and over which connection (`fd`).
    """

    def __repr__(self) -> str:
        return (f"<Packet kind={self.kind} seq={self.seq} ack={self.ack} count={self.count} "
                f"flags={self.flags} body={len(self.body)} bytes>")


cdef Packet read_packet(object route, const unsigned char *data, size_t size, object frame):
    """The packet in `data`; a `frame` given is a buffer over the same memory, and stays valid."""
    cdef Packet packet = Packet.__new__(Packet)
    cdef header_t header
    packet.route = route
    packet.kind = KIND_JUNK
    packet.body = b""
    if size < 4 or size > 0xFFFFFFFF:
        return packet
    memset(&header, 0, sizeof(header))
    memcpy(&header, data, min(size, HEADER))
    if header.magic != MAGIC:
        return packet
    packet.version = header.version
    if header.kind == KIND_BEAT or header.kind == KIND_BEAT_ANSWER:
        packet.kind = header.kind
        packet.body = PyBytes_FromStringAndSize(<const char *>data, size)
        return packet
    if size < HEADER or header.kind == 0 or header.kind > KIND_BEAT_ANSWER:
        return packet
    if header.checksum != denoagents_checksum(data, data + HEADER, size - HEADER):
        return packet
    if header.version != WIRE_VERSION and header.kind > KIND_REFUSED:
        return packet
    packet.kind = header.kind
    packet.flags = header.flags
    packet.seq = header.seq
    packet.ack = header.ack
    packet.now_ns = header.now_ns
    packet.placement_version = header.placement_version
    packet.count = header.count
    packet.raw_length = header.raw_length
    if frame is None or size < LARGE:
        packet.body = PyBytes_FromStringAndSize(<const char *>data + HEADER, size - HEADER)
    else:
        packet.body = memoryview(frame)[HEADER:]
    return packet


def encode(
    int kind, int flags=0, uint64_t seq=0, uint64_t ack=0, int64_t now_ns=0,
    uint32_t placement_version=0, uint32_t count=0, uint32_t raw_length=0, bytes body=b"",
) -> bytes:
    """The bytes of one packet, as `Socket.send` would send them."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
    cdef bytes out = PyBytes_FromStringAndSize(NULL, HEADER + size)
    write_packet(
        <unsigned char *>PyBytes_AS_STRING(out), kind, flags, seq, ack, now_ns, placement_version,
        count, raw_length, <const unsigned char *>PyBytes_AS_STRING(body), size,
    )
    return out


def decode(bytes frame not None, route=None, bint strict=True) -> Packet:
    """The packet in `frame`; what is none is a `ProtocolError`, or of kind 0 when not `strict`."""
    cdef Packet packet = read_packet(
        route, <const unsigned char *>PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame), None
    )
    if strict and packet.kind == KIND_JUNK:
        raise ProtocolError(f"{len(frame)} bytes that are no intact packet")
    return packet
