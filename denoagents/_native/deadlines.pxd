from libc.stdint cimport int64_t

from denoagents._native.envelope cimport ReplyTo


cdef class Deadlines:
    cdef list buckets                    # set of ReplyTo, or None
    cdef int64_t swept                   # the last tick looked at
    cdef readonly Py_ssize_t count

    cdef int add(self, ReplyTo reply) except -1
    cdef int discard(self, ReplyTo reply) except -1
