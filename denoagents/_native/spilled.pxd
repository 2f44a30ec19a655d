from denoagents._native.envelope cimport Envelope


cdef class Spilled:
    """A run of messages of one queue whose contents are on the disk."""
    cdef readonly object place           # where the disk has them
    cdef readonly list parts             # of each: its Envelope, the method of a tell, or None (cancelled)
    cdef readonly Py_ssize_t freed       # bytes of memory that they had

    cdef list restore(self, object data)
    cdef Py_ssize_t prune(self) except -1
    cdef bint has_later(self, Envelope envelope) except -1


cdef class OnDisk:
    """The payload of one message, on the disk."""
    cdef readonly object place           # where the disk has it; None once it was read or dropped


cdef Py_ssize_t size_of(Envelope envelope) except -1
cdef bint is_later(Envelope envelope, Envelope other) noexcept
cdef Spilled spill_run(list run, object store)
