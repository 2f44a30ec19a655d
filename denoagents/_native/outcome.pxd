from denoagents._native.cell cimport Cell, Turn
from denoagents._native.envelope cimport Envelope
from denoagents._native.waiting cimport Waiting
from denoagents._native.window cimport Windows


cdef class Outcomes(Waiting):
    cdef readonly Windows windows        # which reliable messages came already

    cdef bint repeats(self, Turn turn, Envelope envelope, object error) except -1
    cdef object answer(self, Turn turn, Envelope envelope, object value, object error)
    cdef int run_again(self, Cell cell, Envelope envelope) except -1
    cdef int turn_away(self, Cell cell, Envelope envelope, object error) except -1
    cdef int settle(self, Turn turn, Envelope envelope, object value, object error) except -1
    cdef bint outlives(self, Cell cell, Envelope envelope)
    cdef bint remove_waiting(self, Envelope envelope) except -1
    cpdef bint cancel(self, Envelope envelope)
    cpdef bint expire(self, Envelope envelope)
