from libc.stdint cimport int64_t, uint64_t

from denoagents._native.envelope cimport Envelope


cdef class Window:
    """What one actor knows of one stream."""
    cdef dict entries                    # number -> Envelope here, or its answer
    cdef uint64_t highest                # number seen


cdef class Windows:
    """The duplicate windows of one node's actors."""
    cdef dict actors                     # address -> dict of stream -> Window
    cdef dict floors                     # stream -> [floor, when it was heard of last]
    cdef readonly Py_ssize_t count       # entries in all windows
    cdef readonly Py_ssize_t bytes       # of the answers in them
    cdef Py_ssize_t sweep_bytes_at       # bytes at which they are, too
    cdef Py_ssize_t sweep_at             # entries at which those below the floors are looked for
    cdef public int64_t forget_after_ns

    cdef object admit(self, str address, Envelope envelope, int64_t now)
    cdef int settle(self, str address, Envelope envelope, object answer) except -1
    cdef Window window_of(self, str address, uint64_t stream)
