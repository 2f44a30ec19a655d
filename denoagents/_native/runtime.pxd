from libc.stdint cimport int64_t, uint8_t, uint64_t

from denoagents._native.cell cimport NEW, READY, STARTING, STOPPED, STOPPING, Cell, CellState, Turn
from denoagents._native.envelope cimport Accounting, Envelope
from denoagents._native.ready cimport Ready
from denoagents._native.runner cimport Runners


cdef class Runtime(Runners):
    cdef readonly Accounting books
    cdef public object guardian          # GuardianProtocol of the actor room
    cdef readonly dict cells             # address -> Cell
    cdef Ready ready
    cdef Cell serving                    # the cell that run() is at
    cdef bint scheduled                  # a call of run() stands in the loop
    cdef int inline_left                 # turns inside their askers' awaits until the loop must come round
    cdef int64_t inline_ns               # time for them
    cdef readonly int64_t activations
    cdef public Py_ssize_t mailbox_limit, mailbox_reserve

    cdef bint can_inline(self, Cell cell) noexcept
    cdef int take(self, Cell cell, Envelope envelope, int64_t now) except -1
    cdef int deliver(self, Cell cell, Envelope envelope) except -1
    cdef int let_wait(self, Cell cell, Envelope envelope) except -1
    cdef int turn_away(self, Cell cell, Envelope envelope, object error) except -1
    cdef int refuse(self, Cell cell, Envelope envelope, object error) except -1
    cdef bint reenter(self, Cell cell, Envelope envelope) except -1
    cdef int enqueue(self, Cell cell) except -1
    cdef int consider(self, Cell cell) except -1
    cdef int serve(self, Cell cell) except -1
    cdef Envelope next_waiting(self, Cell cell)
    cdef int left(self, Cell cell) except -1
    cdef bint activate(self, Cell cell) except -1
    cdef bint begin(self, Cell cell, Envelope envelope) except -1
    cdef int settle(self, Turn turn, Envelope envelope, object value, object error) except -1
    cdef bint remove_waiting(self, Envelope envelope) except -1
    cpdef run(self)
    cpdef bint cancel(self, Envelope envelope)
    cpdef bint expire(self, Envelope envelope)
