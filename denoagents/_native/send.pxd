from libc.stdint cimport uint8_t

from denoagents._native.cell cimport Turn
from denoagents._native.envelope cimport ReplyTo
from denoagents._native.ref cimport Ref, Target
from denoagents._native.router cimport Destination, Router

cdef Turn turn_of_context()
cdef Destination begin(Target target, Ref ref, tuple args, dict kwargs, ReplyTo reply, uint8_t flags)
cdef Ref choose(Ref ref, object request)
cpdef object admit(Router router, Ref ref, ReplyTo reply)
cpdef object tell(target, args, kwargs)
