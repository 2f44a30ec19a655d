from libc.stdint cimport int64_t

from denoagents._native.envelope cimport ReplyTo


cdef class Deadlines:
    cdef list buckets                    # set of ReplyTo, or None
    cdef set late                        # their deadline had passed when they were added
    cdef int64_t swept                   # the last tick looked at
    cdef readonly Py_ssize_t count

    cpdef bint add(self, ReplyTo reply) except -1
    cpdef bint discard(self, ReplyTo reply) except -1
    cdef set bucket_of(self, int64_t tick)
