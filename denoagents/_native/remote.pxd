from libc.stdint cimport uint64_t

from denoagents._native.envelope cimport Envelope, ReplyTo
from denoagents._native.outbox cimport Outbox


cdef class RemoteReply(ReplyTo):
    cdef readonly Outbox peer
    cdef readonly uint64_t origin        # the number at the asker; `number` is that of a request sent on
    cdef object method
    cdef Envelope envelope
    cdef object credit_waiter
