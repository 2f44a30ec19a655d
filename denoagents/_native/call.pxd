from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t

from denoagents._native.envelope cimport Envelope, ReplyTo
from denoagents._native.router cimport Destination, Router
from denoagents._native.runtime cimport Cell


cdef class Ref:
    cdef readonly str address
    cdef readonly object type            # ActorType, or None for an untyped ref
    cdef readonly Router router
    cdef readonly int slot
    cdef readonly str type_name
    cdef readonly str pinned             # worker, for members of pools
    cdef readonly int64_t timeout_ns     # 0: the default of the priority
    cdef readonly int priority           # -1: the asking turn's, or normal
    cdef object chooser                  # of a pool: gives the member for one request; else None
    cdef Cell cell                       # in this process, once known

    cdef Destination route(self)
    cdef Cell local(self)


cdef class BoundMethod:
    cdef readonly Ref ref
    cdef readonly object method


cdef class Call(ReplyTo):
    cdef BoundMethod target
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


cpdef object admit(Router router, Ref ref, ReplyTo reply)
cpdef object tell(target, args, kwargs)
