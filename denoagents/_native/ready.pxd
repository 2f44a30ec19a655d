from denoagents._native.cell cimport Cell


cdef class Ready:
    cdef object high, normal, low        # deques of Cell; see Cell.queued and .stands
    cdef int round_left                  # position in the 8:4:1 round

    cdef int add(self, Cell cell, int priority) except -1
    cdef bint some(self) noexcept
    cdef Cell pop(self)
    cdef Cell pop_from(self, object queue, int priority)
