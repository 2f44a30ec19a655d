from libc.stdint cimport int64_t, uint8_t

from denoagents._native.cell cimport Turn
from denoagents._native.envelope cimport ReplyTo
from denoagents._native.ref cimport Ref, Target
from denoagents._native.router cimport Destination, Router

cdef Turn turn_of_context()
cdef Destination begin(
    Target target, Ref ref, tuple args, dict kwargs, ReplyTo reply, uint8_t flags, Turn turn,
)
cdef Destination begin_reliably(
    Target target, Ref ref, tuple args, dict kwargs, ReplyTo reply, uint8_t flags, Turn turn,
    Destination destination, int priority, int64_t deadline,
)
cdef Ref choose(Ref ref, object request)
cpdef object admit(Router router, Ref ref, ReplyTo reply)
cpdef object tell(target, args, kwargs)
