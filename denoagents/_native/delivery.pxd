from libc.stdint cimport int64_t, uint8_t, uint64_t

from denoagents._native.envelope cimport ReplyTo
from denoagents._native.router cimport Router

cdef enum Outcome:
    OUTSTANDING = 0
    HANDLED_WELL = 1
    REFUSED = 2
    EXPIRED = 3
    QUARANTINED = 4
    WITHDRAWN = 5


cdef class Stream:
    """Reliable messages of one origin, numbered from 1, each kept until it is settled."""
    cdef readonly Router router
    cdef readonly uint64_t id
    cdef public uint64_t sent            # the last number given out
    cdef readonly uint64_t floor         # all below it are settled
    cdef readonly dict outstanding       # number -> Delivery, or the Call of an ask
    cdef public object on_settled        # called with (number, Delivery or Call), or None

    cdef int register(self, ReplyTo reply, uint64_t number) except -1
    cdef bint settle(self, ReplyTo reply, uint8_t outcome) except -1


cdef class Delivery(ReplyTo):
    """A reliable tell, until it was handled."""
    cdef readonly str target
    cdef readonly object method          # MethodType, or its name
    cdef readonly bytes payload
    cdef readonly object trace
    cdef readonly uint8_t priority
    cdef readonly uint8_t outcome        # Outcome
    cdef readonly int64_t sent_ns
    cdef bint given_up                   # whoever keeps the quarantine has it

    cdef int send(self) except -1
    cdef int finish(self, uint8_t outcome) except -1
    cdef int quarantine(self, str reason) except -1


cdef int send_again(Router router, uint8_t kind, ReplyTo reply, str target, object method, uint8_t priority,
                    object chain, object trace, object payload) except -1
