"""Token bucket in integer time: grants per message, names the exact wait, never drifts.

Rules: the level is counted in parts of a token, `per_ns` parts each, so that a nanosecond adds
exactly `rate` parts and nothing is ever rounded. The bucket reads no clock; time is passed in.
A `now_ns` up to a second behind the newest one seen is disorder between callers: time stands still
until it is caught up. One further behind is a clock that jumped: the bucket goes on from there, its
level unchanged.
"""

from libc.stdint cimport int64_t

cdef int64_t SECOND = 1_000_000_000
cdef int64_t LIMIT = 9_000_000_000_000_000_000  # parts; below 2**63


cdef class TokenBucket:
    """Holds up to `burst` tokens, gains `rate` of them every `per_s` seconds, starts full."""

    def __cinit__(self, int64_t rate, int64_t burst, int64_t now_ns, *, int64_t per_s=1):
        if per_s < 1 or per_s > 86400:
            raise ValueError(f"per_s must be 1 to 86400 seconds, got {per_s}")
        self.per_ns = per_s * SECOND
        self.set_limits(rate, burst)
        self.level = self.burst * self.per_ns
        self.last_ns = now_ns

    cdef int set_limits(self, int64_t rate, int64_t burst) except -1:
        if rate < 1 or rate > SECOND:
            raise ValueError(f"rate must be 1 to 1000000000 tokens, got {rate}")
        if burst < 1 or burst > LIMIT // self.per_ns:
            raise ValueError(f"burst must be 1 to {LIMIT // self.per_ns} tokens, got {burst}")
        self.rate = rate
        self.burst = burst
        return 0

    cdef void refill(self, int64_t now) noexcept nogil:
        cdef int64_t elapsed = now - self.last_ns
        cdef int64_t capacity = self.burst * self.per_ns
        if elapsed <= 0:
            if elapsed < -SECOND:
                self.last_ns = now
            return
        self.last_ns = now
        if self.level >= capacity or elapsed > (capacity - self.level) // self.rate:
            self.level = capacity
        else:
            self.level += elapsed * self.rate

    cdef int64_t take_at(self, int64_t now, int64_t n) noexcept nogil:
        """Take n tokens (1 ≤ n ≤ burst) and return 0, or return the ns until n will be there."""
        cdef int64_t missing
        self.refill(now)
        missing = n * self.per_ns - self.level
        if missing <= 0:
            self.level -= n * self.per_ns
            return 0
        return (missing - 1) // self.rate + 1 + self.last_ns - now

    def take(self, int64_t now_ns, int64_t n=1) -> int:
        if n < 1 or n > self.burst:
            raise ValueError(f"n must be 1 to the burst of {self.burst}, got {n}; take it in parts")
        return self.take_at(now_ns, n)

    def available(self, int64_t now_ns) -> int:
        self.refill(now_ns)
        return self.level // self.per_ns

    def change(self, int64_t now_ns, int64_t rate, int64_t burst) -> None:
        self.refill(now_ns)
        self.set_limits(rate, burst)
        self.level = min(self.level, self.burst * self.per_ns)

    def __repr__(self) -> str:
        cdef int64_t per_s = self.per_ns // SECOND
        return (
            f"<TokenBucket {self.rate}/{per_s}s burst={self.burst}"
            f" level={self.level // self.per_ns}>"
        )
