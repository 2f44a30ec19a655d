from libc.stdint cimport int64_t, uint8_t, uint64_t

from denoagents._native.envelope cimport Envelope, ReplyTo
from denoagents._native.router cimport Destination, Router
from denoagents._native.runtime cimport Cell


cdef class Batch:
    """A growing C buffer of records."""
    cdef char* data                      # malloc'ed here, freed in __dealloc__
    cdef Py_ssize_t size, room

    cdef int reserve(self, Py_ssize_t more) except -1
    cdef int put_byte(self, uint8_t value) except -1
    cdef int put_varint(self, uint64_t value) except -1
    cdef int put_u64(self, uint64_t value) except -1
    cdef int put_bytes(self, object data) except -1
    cdef int put_sized(self, object data) except -1


cdef class Peer(Destination):
    cdef readonly Router router
    cdef public object link              # denoagents.link.link.Link, or None until it is dialed
    cdef object batches                  # deque of (records, messages): sent, not yet accepted
    cdef public str node_name            # of the node at the other end
    cdef public uint64_t incarnation
    cdef Batch batch
    cdef int count                       # accountable messages in `batch`
    cdef int records                     # records in `batch`
    cdef bint marked                     # stands in router.dirty
    cdef public bint blocked             # the link's window is full
    cdef list credit_waiters             # Futures, one a sender that waits for the window
    cdef dict names_out                  # name -> number
    cdef list names_in                   # str, in order of their numbers
    cdef list cells_in                   # Cell or None, beside names_in
    cdef dict pending                    # number -> ReplyTo: asks and streams sent
    cdef dict incoming                   # number -> RemoteReply: asks and streams received
    cdef dict paused                     # target -> Parking: the peer has told us to wait
    cdef set pausing                     # targets that we have told the peer to wait with
    cdef readonly object held            # Parking while the link is down, or None
    cdef public bint over
    cdef readonly uint64_t items_in, items_out

    cdef int number_of(self, str name) except -1
    cdef int commit(self) except -1
    cdef bint owns(self, Cell cell)
    cdef int receive(self, int kind, Cursor cursor, int64_t shift) except -1


cdef class RemoteReply(ReplyTo):
    cdef readonly Peer peer
    cdef readonly uint64_t origin        # the number at the asker; `number` is that of a request sent on
    cdef object method
    cdef Envelope envelope
    cdef object credit_waiter


cdef class Cursor:
    cdef const unsigned char* data
    cdef Py_ssize_t at, size

    cdef uint64_t varint(self) except? 0xFFFFFFFFFFFFFFFF
    cdef uint64_t u64(self) except? 0xFFFFFFFFFFFFFFFF
    cdef int byte(self) except -1
    cdef bytes take(self, Py_ssize_t size)
    cdef bytes sized(self)
