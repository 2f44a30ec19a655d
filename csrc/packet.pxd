"""What csrc/packet.h declares: the header of every packet and its checksum."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


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
    size_t HEADER "DENOAGENTS_HEADER"
