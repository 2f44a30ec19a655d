from denoagents._native.cell cimport Cell, Turn
from denoagents._native.envelope cimport Accounting, Envelope
from denoagents._native.runner cimport Runners
from denoagents._native.window cimport Windows


cdef class Outcomes(Runners):
    cdef readonly Accounting books
    cdef public object guardian          # GuardianProtocol of the actor room
    cdef public Py_ssize_t mailbox_limit, mailbox_reserve
    cdef readonly Windows windows        # which reliable messages came already

    cdef bint repeats(self, Turn turn, Envelope envelope, object error) except -1
    cdef object answer(self, Turn turn, Envelope envelope, object value, object error)
    cdef int run_again(self, Cell cell, Envelope envelope) except -1
    cdef int let_wait(self, Cell cell, Envelope envelope) except -1
    cdef int turn_away(self, Cell cell, Envelope envelope, object error) except -1
    cdef int refuse(self, Cell cell, Envelope envelope, object error) except -1
    cdef int left(self, Cell cell) except -1
    cdef int settle(self, Turn turn, Envelope envelope, object value, object error) except -1
    cdef bint remove_waiting(self, Envelope envelope) except -1
    cpdef bint cancel(self, Envelope envelope)
    cpdef bint expire(self, Envelope envelope)
