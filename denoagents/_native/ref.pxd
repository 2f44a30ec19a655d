from libc.stdint cimport int64_t

from denoagents._native.cell cimport Cell
from denoagents._native.router cimport Destination, Router


cdef class Ref:
    cdef readonly str address
    cdef readonly object type            # ActorType, or None for an untyped ref
    cdef readonly Router router
    cdef readonly int slot
    cdef readonly bint is_child
    cdef readonly str type_name
    cdef readonly str pinned             # worker, for members of pools
    cdef readonly int64_t timeout_ns     # 0: the default of the priority
    cdef readonly int priority           # -1: the asking turn's, or normal
    cdef readonly int reliable           # 1: whatever the method says; -1: as the method says
    cdef object chooser                  # of a pool: gives the member for one request; else None
    cdef Cell cell                       # in this process, once known

    cdef Destination route(self)
    cdef Cell local(self)


cdef class Target:
    cdef readonly Ref ref
    cdef readonly object method          # MethodType
    cdef bint is_reliable                # the method says
