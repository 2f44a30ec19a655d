from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t

from denoagents._native.cell cimport Cell, Turn
from denoagents._native.clock cimport Clock
from denoagents._native.envelope cimport Envelope
from denoagents._native.pulse cimport Pulse, Watch


cdef class Runner:
    cdef Runners runners
    cdef readonly Turn turn              # what it runs; None for a spare
    cdef readonly object task            # None when it has ended
    cdef object waiter                   # Future that a spare waits for

    cdef int step(self, object error, PyObject** result) except -1
    cdef int advance(self, Turn turn, object error, PyObject** result) except -1


cdef class Runners:
    """What runs turns; the runtime, which says what comes of them, derives from it."""
    cdef readonly Clock clock
    cdef readonly Watch watch
    cdef readonly object loop
    cdef list spares                     # Runner; tasks with nothing to run
    cdef object base_context             # of which each turn gets a copy
    cdef int depth                       # turns on the stack
    cdef uint64_t turns                  # numbers given out
    cdef public uint64_t incarnation
    cdef unsigned long thread            # the loop's
    cdef public bint stopped
    cdef bint running                    # on the stack of Runtime.run, which the loop calls
    cdef int64_t* lease                  # the word that `pulse` writes: valid until (this clock); NULL: always
    cdef Pulse pulse
    cdef object lease_owner              # keeps a word that is not the pulse's alive

    cdef bint leased(self) noexcept
    cdef int check_thread(self) except -1
    cdef Turn make_turn(self, Cell cell, Envelope envelope, object label)
    cdef bint launch(self, Turn turn) except -1
    cdef bint is_on_loop(self, Turn turn, Runner runner) except -1
    cdef Runner take_spare(self)
    cdef int put_back_spare(self, Runner runner) except -1
    cdef int advance(self, Turn turn, object error) except -2
    cdef int finish(self, Turn turn, object value, object error) except -1
