from libc.stdint cimport int64_t


cdef class TokenBucket:
    cdef int64_t rate                   # tokens gained every per_ns
    cdef int64_t burst                  # tokens, the most that it holds
    cdef int64_t per_ns                 # nanoseconds; also the parts that make one token
    cdef int64_t level                  # parts in the bucket, at most burst * per_ns
    cdef int64_t last_ns                # the time up to which level is counted

    cdef int set_limits(self, int64_t rate, int64_t burst) except -1
    cdef void refill(self, int64_t now) noexcept nogil
    cdef int64_t take_at(self, int64_t now, int64_t n) noexcept nogil
