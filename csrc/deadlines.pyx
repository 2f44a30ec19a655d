"""Who waits until when: a hashed wheel of 512 ticks of 17 ms.

Rules: adding and discarding cost one set operation; `due` looks only at the ticks that have passed.
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

    cdef int add(self, ReplyTo reply) except -1:
        cdef Py_ssize_t index = (reply.deadline_ns >> TICK_BITS) & (SIZE - 1)
        bucket = self.buckets[index]
        if bucket is None:
            bucket = self.buckets[index] = set()
        (<set> bucket).add(reply)
        self.count += 1
        return 0

    cdef int discard(self, ReplyTo reply) except -1:
        bucket = self.buckets[(reply.deadline_ns >> TICK_BITS) & (SIZE - 1)]
        if bucket is not None and reply in <set> bucket:
            (<set> bucket).discard(reply)
            self.count -= 1
        return 0

    def due(self, int64_t now_ns) -> list:
        """Take out everything whose deadline has passed."""
        cdef int64_t last = now_ns >> TICK_BITS
        cdef int64_t tick = max(self.swept, last - SIZE)
        cdef ReplyTo reply
        over = []
        while tick <= last:
            bucket = self.buckets[tick & (SIZE - 1)]
            if bucket:
                passed = [reply for reply in <set> bucket if reply.deadline_ns <= now_ns]
                (<set> bucket).difference_update(passed)
                over.extend(passed)
            tick += 1
        self.swept = last
        self.count -= len(over)
        return over

    def __len__(self):
        return self.count
