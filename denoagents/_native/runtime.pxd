from libc.stdint cimport int64_t

from denoagents._native.cell cimport NEW, READY, STARTING, STOPPED, STOPPING, Cell, CellState, Turn
from denoagents._native.envelope cimport Envelope
from denoagents._native.outcome cimport Outcomes
from denoagents._native.ready cimport Ready


cdef class Runtime(Outcomes):
    cdef Ready ready
    cdef Cell serving                    # the cell that run() is at
    cdef bint scheduled                  # a call of run() stands in the loop
    cdef int inline_left                 # turns inside their askers' awaits until the loop must come round
    cdef int64_t inline_ns               # time for them
    cdef readonly int64_t activations

    cdef bint can_inline(self, Cell cell) noexcept
    cdef int take(self, Cell cell, Envelope envelope, int64_t now) except -1
    cdef int deliver(self, Cell cell, Envelope envelope) except -1
    cdef int arrive(self, Cell cell, Envelope envelope) except -1
    cdef bint reenter(self, Cell cell, Envelope envelope) except -1
    cdef int enqueue(self, Cell cell) except -1
    cdef int consider(self, Cell cell) except -1
    cdef int serve(self, Cell cell) except -1
    cdef bint activate(self, Cell cell) except -1
    cdef bint begin(self, Cell cell, Envelope envelope) except -1
    cpdef run(self)
