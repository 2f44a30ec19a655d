from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset


cdef extern from "packet.h" nogil:
    ctypedef struct header_t "denoagents_header":
        unsigned short magic
        uint8_t version
        uint8_t kind
        uint8_t flags
        uint64_t seq
        uint64_t ack
        int64_t now_ns
        uint32_t placement_version
        uint32_t count
        uint32_t raw_length
        uint32_t checksum
    uint32_t denoagents_checksum(const void *header, const void *body, size_t size)
    unsigned int MAGIC "DENOAGENTS_MAGIC"
    unsigned int WIRE_VERSION "DENOAGENTS_WIRE_VERSION"
    size_t HEADER "DENOAGENTS_HEADER"


cdef enum:
    LARGE = 32768           # bytes; a longer body stays where it was received


cdef class Packet:
    cdef readonly object route              # bytes: where it came from (ROUTER), else None
    cdef readonly object user               # str: the sender's public key, as ZAP let it in
    cdef readonly int fd                    # its connection, 0 where it is not asked for
    cdef readonly object body               # bytes, or a memoryview of a large one
    cdef readonly int kind
    cdef readonly int version               # of the wire
    cdef readonly int flags
    cdef readonly uint64_t seq
    cdef readonly uint64_t ack
    cdef readonly int64_t now_ns            # the sender's clock
    cdef readonly uint32_t placement_version
    cdef readonly uint32_t count            # messages in the body
    cdef readonly uint32_t raw_length       # of the body before compression


cdef Packet read_packet(object route, const unsigned char *data, size_t size, object frame)


cdef inline void write_packet(
    unsigned char *out, int kind, int flags, uint64_t seq, uint64_t ack, int64_t now_ns,
    uint32_t placement_version, uint32_t count, uint32_t raw_length,
    const unsigned char *body, size_t size,
) noexcept nogil:
    cdef header_t header
    memset(&header, 0, sizeof(header))
    header.magic = MAGIC
    header.version = WIRE_VERSION
    header.kind = kind
    header.flags = flags
    header.seq = seq
    header.ack = ack
    header.now_ns = now_ns
    header.placement_version = placement_version
    header.count = count
    header.raw_length = raw_length
    header.checksum = denoagents_checksum(&header, body, size)
    memcpy(out, &header, HEADER)
    if size:
        memcpy(out + HEADER, body, size)
