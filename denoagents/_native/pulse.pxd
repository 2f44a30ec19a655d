from libc.stdint cimport int64_t


cdef class Watch:
    cdef void* word                     # watch_t of csrc/watch.h; owned, freed in __dealloc__

    cdef void begin(self, object actor_text, object method_name, int64_t now) noexcept
    cdef void end(self) noexcept


cdef class Pulse:
    cdef void* state                    # pulse_t of csrc/pulse.h; owned, freed in __dealloc__
    cdef int64_t* lease                 # &lease_until_ns: the thread writes, valid while this lives
    cdef readonly Watch watch
    cdef readonly int report_fd         # reports of blocking turns; -1 until it has run

    cdef int tick_at(self, int64_t now) noexcept nogil
    cdef bint is_leased(self, int64_t now) noexcept nogil
    cdef int close_pipes(self) except -1
    cdef int aim(self, str endpoint, str library) except -1
