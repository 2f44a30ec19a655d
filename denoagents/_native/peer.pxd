from libc.stdint cimport int64_t, uint64_t

from denoagents._native.envelope cimport Envelope, ReplyTo
from denoagents._native.outbox cimport Outbox
from denoagents._native.records cimport Cursor
from denoagents._native.runtime cimport Cell


cdef class Peer(Outbox):
    cdef public uint64_t incarnation
    cdef list names_in                   # str, in order of their numbers
    cdef list cells_in                   # Cell or None, beside names_in
    cdef dict incoming                   # number -> RemoteReply: asks and streams received
    cdef set pausing                     # targets that we have told the peer to wait with

    cdef bint owns(self, Cell cell)
    cdef int receive(self, int kind, Cursor cursor, int64_t shift) except -1


cdef class RemoteReply(ReplyTo):
    cdef readonly Peer peer
    cdef readonly uint64_t origin        # the number at the asker; `number` is that of a request sent on
    cdef object method
    cdef Envelope envelope
    cdef object credit_waiter
