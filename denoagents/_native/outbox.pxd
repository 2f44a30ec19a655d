from libc.stdint cimport int64_t, uint8_t, uint64_t

from denoagents._native.envelope cimport ReplyTo
from denoagents._native.records cimport Batch
from denoagents._native.router cimport Destination, Router


cdef class Outbox(Destination):
    cdef readonly Router router
    cdef public object link              # denoagents.link.link.Link, or None until it is dialed
    cdef public str node_name            # of the node at the other end
    cdef Batch batch                     # records under way
    cdef int count                       # accountable messages in `batch`
    cdef int records                     # records in `batch`
    cdef int again                       # messages in `batch` that are sent again if it is lost
    cdef list done                       # numbers of reliable tells to acknowledge
    cdef uint64_t stream_out             # of the last identity written in this session
    cdef bint marked                     # stands in router.dirty
    cdef object batches                  # deque of (records, messages, of them reliable): not yet accepted
    cdef Py_ssize_t in_flight            # records in them
    cdef public bint blocked             # the link's window is full
    cdef list credit_waiters             # Futures, one a sender that waits for the window
    cdef dict names_out                  # name -> number
    cdef dict pending                    # number -> ReplyTo: asks and streams sent
    cdef dict incoming                   # number -> RemoteReply: asks and streams received
    cdef dict paused                     # target -> Parking: the peer has told us to wait
    cdef readonly object held            # Parking while the link is down, or None
    cdef bint congested                  # `held` waits for room in the link's window
    cdef public bint over

    cdef int number_of(self, str name) except -1
    cdef int commit(self) except -1
    cdef int flush_with(self, object tail) except -1
    cdef int put_identity(self, ReplyTo reply) except -1
    cdef int acknowledge(self, uint64_t number) except -1
    cdef int put_handled(self) except -1
