"""The one source of time: nanoseconds of the boot-time clock, or of a virtual clock in the simulator.

Rules: every native part that needs the time reads it here; wall-clock time is never used for
deadlines or leases. The boot-time clock goes on while the machine sleeps, so a lease cannot outlive
a suspended laptop; where a system has no such clock (macOS), its monotonic clock is the fallback.
"""

from libc.stdint cimport int64_t


cdef extern from *:
    """
    #include <time.h>
    #include <stdint.h>
    #if defined(CLOCK_BOOTTIME)
    #define DENOAGENTS_CLOCK CLOCK_BOOTTIME
    #else
    #define DENOAGENTS_CLOCK CLOCK_MONOTONIC
    #endif
    static int64_t denoagents_now_ns(void) {
        struct timespec ts;
        clock_gettime(DENOAGENTS_CLOCK, &ts);
        return (int64_t)ts.tv_sec * 1000000000LL + ts.tv_nsec;
    }
    """
    int64_t denoagents_now_ns() noexcept nogil


cdef class Clock:
    """Real time by default; `Clock.virtual(start_ns)` makes one that only `advance_to` moves."""

    def __cinit__(self):
        self.virtual_ns = -1

    @staticmethod
    def virtual(int64_t start_ns=0):
        cdef Clock clock = Clock()
        if start_ns < 0:
            raise ValueError(f"start_ns must not be negative, got {start_ns}")
        clock.virtual_ns = start_ns
        return clock

    cdef int64_t now(self) noexcept nogil:
        if self.virtual_ns >= 0:
            return self.virtual_ns
        return denoagents_now_ns()

    def now_ns(self) -> int:
        return self.now()

    def advance_to(self, int64_t now_ns) -> None:
        if self.virtual_ns < 0:
            raise RuntimeError("only a virtual clock can be moved")
        if now_ns > self.virtual_ns:
            self.virtual_ns = now_ns

    @property
    def is_virtual(self) -> bool:
        return self.virtual_ns >= 0
