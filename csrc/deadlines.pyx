"""Who waits until when: a hashed wheel of 512 ticks of 17 ms.

Rules: adding and discarding cost one look-up; `due` looks only at the ticks that have passed, and
gives what was added first first. Dictionaries, not sets: their order is the same in every run.
What is past its deadline when it is added is due at the next look.
Source: Varghese and Lauck, Hashed and Hierarchical Timing Wheels (1987), scheme 6.
"""

from libc.stdint cimport int64_t

from denoagents._native.envelope cimport ReplyTo

cdef int TICK_BITS = 24                  # 2^24 ns
cdef int SIZE = 512

TICK_S = (1 << 24) / 1e9


cdef class Deadlines:
    def __cinit__(self):
        self.buckets = [None] * SIZE
        self.late = {}

    cpdef bint add(self, ReplyTo reply) except -1:
        """Watch `reply`; false if that is done already."""
        cdef dict bucket = self.bucket_of(reply.deadline_ns >> TICK_BITS)
        if reply in bucket:
            return False
        bucket[reply] = None
        self.count += 1
        return True

    cpdef bint discard(self, ReplyTo reply) except -1:
        """Watch `reply` no more; false if it was not watched."""
        cdef int64_t tick = reply.deadline_ns >> TICK_BITS
        cdef dict bucket = self.buckets[tick & (SIZE - 1)]
        if bucket is None or reply not in bucket:
            bucket = self.late
            if reply not in bucket:
                return False
        del bucket[reply]
        self.count -= 1
        return True

    cdef dict bucket_of(self, int64_t tick):
        cdef Py_ssize_t index = tick & (SIZE - 1)
        if tick < self.swept:
            return self.late
        if self.buckets[index] is None:
            self.buckets[index] = {}
        return <dict> self.buckets[index]

    def due(self, int64_t now_ns) -> list:
        """Take out everything whose deadline has passed."""
        cdef int64_t last = now_ns >> TICK_BITS
        cdef int64_t tick = max(self.swept, last - SIZE)
        cdef ReplyTo reply
        over = list(self.late)
        self.late.clear()
        while tick <= last:
            bucket = self.buckets[tick & (SIZE - 1)]
            if bucket:
                passed = [reply for reply in <dict> bucket if reply.deadline_ns <= now_ns]
                for reply in passed:
                    del (<dict> bucket)[reply]
                over.extend(passed)
            tick += 1
        self.swept = last
        self.count -= len(over)
        return over

    def __len__(self):
        return self.count
