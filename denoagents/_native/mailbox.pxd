from libc.stdint cimport int64_t

from denoagents._native.envelope cimport Envelope
from denoagents._native.spilled cimport Spilled


cdef class Mailbox:
    cdef object high, normal, low        # deque of Envelope, or None until needed
    cdef int high_left, normal_left, low_left   # turns left in this round: 8, 4, 1
    cdef readonly Py_ssize_t waiting     # messages inside, without cancelled ones
    cdef readonly Py_ssize_t held        # messages inside, cancelled ones too
    cdef readonly int64_t bytes          # of memory that they take; whoever puts in and takes out counts them
    cdef readonly Py_ssize_t runs        # Spilled among the queues' entries
    cdef object cell                     # Cell whose mailbox this is, once something was spilled

    cdef int push(self, Envelope envelope) except -1
    cdef int push_before(self, Envelope envelope) except -1
    cdef int push_front(self, Envelope envelope) except -1
    cdef object queue_of(self, Envelope envelope)
    cdef Envelope pop(self)
    cdef int best(self) noexcept
    cdef Envelope first(self)
    cdef int cancelled(self) except -1
    cdef int open_fronts(self) except -1
    cdef Spilled spill_newest(self, object cell, object store)
