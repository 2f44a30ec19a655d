from libc.stdint cimport int64_t


cdef class Clock:
    cdef int64_t virtual_ns             # nanoseconds; -1: real time

    cdef int64_t now(self) noexcept nogil
