from cpython.object cimport PyObject
from libc.stdint cimport uint8_t

from denoagents._native.envelope cimport ReplyTo
from denoagents._native.ref cimport Ref, Target


cdef class BoundMethod(Target):
    pass


cdef class Call(ReplyTo):
    cdef BoundMethod method_of
    cdef Ref ref
    cdef tuple arguments
    cdef dict keywords
    cdef uint8_t state
    cdef bint is_repeated
    cdef object value                    # the result, or the error
    cdef object waiter                   # Future
    cdef object member                   # of a pool: whom to tell that the request is over

    cdef int step(self, PyObject** result) except -1
    cdef int settle(self, uint8_t state, object value) except -1
    cdef int abandon(self) except -1
    cdef int quarantine(self) except -1
    cdef int forget(self, object error) except -1
