from libc.stdint cimport int64_t

from denoagents._native.cell cimport Cell
from denoagents._native.envelope cimport Accounting, Envelope
from denoagents._native.runner cimport Runners


cdef class Waiting(Runners):
    cdef readonly Accounting books
    cdef public object guardian          # GuardianProtocol of the actor room
    cdef readonly dict cells             # address -> Cell
    cdef public Py_ssize_t mailbox_limit, mailbox_reserve
    cdef readonly int64_t queued_bytes   # of memory that waiting messages take
    cdef public int64_t queue_limit      # above it the newest messages of the longest queues go to the disk
    cdef readonly int64_t parked_bytes   # of them, payloads of messages without a destination
    cdef readonly int64_t spilled        # messages on the disk
    cdef public object disk              # Spill of the store room, or None
    cdef readonly bint choked            # over the limit, and the disk takes nothing: senders pause
    cdef int64_t relieve_at              # when to try the disk again
    cdef list longest                    # Cells with the most bytes, the longest last
    cdef set paused                      # Cells whose senders wait because of that

    cdef int let_wait(self, Cell cell, Envelope envelope) except -1
    cdef Envelope next_waiting(self, Cell cell)
    cdef int left(self, Cell cell, Envelope envelope) except -1
    cdef int weigh(self, Cell cell, Envelope envelope) except -1
    cdef bint is_stuffed(self) noexcept
    cdef int relieve(self) except -1
    cdef int choke(self) except -1
    cdef int unchoke(self) except -1
    cdef object park(self, object payload, bint must)
    cdef object no_room(self, object reason)
    cdef int unpark(self, object payload) except -1
    cdef object read_parked(self, object payload)
    cdef int forget_parked(self, object payload) except -1
    cdef Py_ssize_t spill_longest(self) except -1
    cdef int refuse(self, Cell cell, Envelope envelope, object error) except -1
