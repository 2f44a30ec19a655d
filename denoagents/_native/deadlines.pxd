from libc.stdint cimport int64_t

from denoagents._native.envelope cimport ReplyTo


cdef class Deadlines:
    cdef list buckets                    # dict of ReplyTo to None, or None
    cdef dict late                       # their deadline had passed when they were added
    cdef int64_t swept                   # the last tick looked at
    cdef readonly Py_ssize_t count

    cpdef bint add(self, ReplyTo reply) except -1
    cpdef bint discard(self, ReplyTo reply) except -1
    cdef dict bucket_of(self, int64_t tick)
