from libc.stdint cimport int64_t, uint64_t

from denoagents._native.outbox cimport Outbox
from denoagents._native.records cimport Cursor
from denoagents._native.remote cimport RemoteReply
from denoagents._native.runtime cimport Cell


cdef class Peer(Outbox):
    cdef public uint64_t incarnation
    cdef list names_in                   # str, in order of their numbers
    cdef list cells_in                   # Cell or None, beside names_in
    cdef uint64_t stream_in              # of the last identity read in this session
    cdef set pausing                     # targets that we have told the peer to wait with

    cdef bint owns(self, Cell cell)
    cdef int read_identity(self, Cursor cursor, RemoteReply reply) except -1
    cdef int read_handled(self, Cursor cursor) except -1
    cdef int receive(self, int kind, Cursor cursor, int64_t shift) except -1
